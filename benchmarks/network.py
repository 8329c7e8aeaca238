"""A network of the benchmark's own: loopback, as the kernel makes it by default.

How TCP paces what it sends decides who does the work on loopback, the server or the
client; so it must not be a setting of the machine that measures.
"""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.peers import find_program

CONGESTION_CONTROL = "cubic"
"""The default of the kernel (tcp(7))."""

_CLONE_NEWNET = 0x40000000
_SETTING = Path("/proc/sys/net/ipv4/tcp_congestion_control")
_ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")


def enter() -> str:
    """Move this process and its children to it, and return why not, or nothing.

    As unshare(1) does with --net; that takes root.
    """
    ip = find_program("ip")
    if ip is None:
        return "ip is missing: apt-get install iproute2"
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        with _allowed():
            if libc.unshare(_CLONE_NEWNET):
                return f"no network of its own: {os.strerror(ctypes.get_errno())}"
            _SETTING.write_text(CONGESTION_CONTROL)
    except OSError as error:
        return f"no {CONGESTION_CONTROL}: {error.strerror}"
    subprocess.run([ip, "link", "set", "lo", "up"], check=True)  # noqa: S603 - fixed
    return ""


@contextlib.contextmanager
def _allowed() -> Iterator[None]:
    """Within a ``with`` block, let other networks than the machine's choose it.

    The kernel holds back for that one what is neither reno nor its own default.
    """
    before = _ALLOWED.read_text()
    if CONGESTION_CONTROL in before.split():
        yield
        return
    # A descriptor stays with the network that it was opened in.
    with _ALLOWED.open("w") as file:
        try:
            print(before.strip(), CONGESTION_CONTROL, file=file, flush=True)
            yield
        finally:
            file.seek(0)
            file.write(before)
