"""The network that is measured on, and what is left of the machine's."""

import subprocess
import sys
from pathlib import Path

from tools import give_up

SETTING = Path("/proc/sys/net/ipv4/tcp_congestion_control")
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
PROGRAM = f"""
import socket
from pathlib import Path

from benchmarks.network import enter

print(enter())
print(Path("{SETTING}").read_text(), end="")
listener = socket.create_server(("127.0.0.1", 0))
print(socket.create_connection(listener.getsockname(), 5).getpeername()[0])
"""


def test_it_is_our_own_as_the_kernel_makes_it() -> None:
    """Loopback works there, with the default; the machine's network stays as it was."""
    before = SETTING.read_text(), ALLOWED.read_text()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    )
    reason, congestion_control, peer = done.stdout.splitlines()
    if reason:
        give_up(reason)

    assert (congestion_control, peer) == ("cubic", "127.0.0.1")
    assert (SETTING.read_text(), ALLOWED.read_text()) == before
