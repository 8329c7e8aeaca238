"""A server of our own as a process, and a wait that has an end."""

import os
import select
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

DEADLINE_S = 20.0
HAS_IPV6 = Path("/proc/net/if_inet6").exists()


@dataclass
class Server:
    """A ``sendfile-serve`` of our own, as a process."""

    process: subprocess.Popen[bytes]
    port: int
    """0 if it listens on a Unix socket only."""
    log: Path
    """What it writes to stderr."""

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id: that of what strace runs, if it runs under strace."""
        pid = self.process.pid
        is_traced = Path(f"/proc/{pid}/comm").read_text() == "strace\n"
        return children(pid)[0] if is_traced else pid

    def children(self) -> list[int]:
        """Return the process ids of its workers."""
        return children(self.pid)

    @property
    def worker(self) -> int:
        """The process id of its only worker."""
        (worker,) = self.children()
        return worker

    def processes(self) -> list[int]:
        """Return all its process ids."""
        return [self.pid, *self.children()]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        os.kill(self.pid, number)
        return self.process.wait(DEADLINE_S)


def children(pid: int) -> list[int]:
    """Return the process ids of the children of a process."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in found.split()]


def opened(pid: int) -> list[str]:
    """Return what the descriptors of a process lead to, but for what is closed now."""
    targets = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            targets.append(os.readlink(link))
    return targets


def sockets(pid: int) -> int:
    """Count the open sockets of a process."""
    return sum(target.startswith("socket:") for target in opened(pid))


def end(pid: int) -> None:
    """End a process that is nobody's child here, and wait until it has ended."""
    process = os.pidfd_open(pid)
    signal.pidfd_send_signal(process, signal.SIGTERM)
    assert select.select([process], [], [], DEADLINE_S)[0]
    os.close(process)


class Serve(Protocol):
    """Starts a server; see `serve`."""

    def __call__(
        self, directory: Path | str, *options: str, prefix: tuple[str, ...] = ()
    ) -> Server: ...


@contextmanager
def free_port() -> Iterator[int]:
    """Keep a port, of all addresses, for whoever is told of it.

    The kernel gives it to nobody who asks for any; and who names it is not kept off
    by what never listens (socket(7), SO_REUSEADDR).
    """
    with socket.socket(socket.AF_INET6 if HAS_IPV6 else socket.AF_INET) as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if HAS_IPV6:
            keeper.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        keeper.bind(("", 0))
        port: int = keeper.getsockname()[1]
        yield port


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Poll *condition* until it holds, or fail with *what* was waited for."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        selectors.SelectSelector().select(0.01)  # a pause that a signal may end


def pass_time(seconds: float) -> None:
    """Let time pass, of which the server may make what use it likes."""
    end = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= end, "time to pass")


def cpu_ticks(server: Server) -> int:
    """Return the user and system time that *server* has used so far (proc(5), stat)."""
    stats = (Path(f"/proc/{pid}/stat").read_text() for pid in server.processes())
    times = (stat.rpartition(") ")[2].split(" ")[11:13] for stat in stats)
    return sum(int(user) + int(system) for user, system in times)


def cpu_seconds(server: Server) -> float:
    """Return the same in seconds."""
    return cpu_ticks(server) / os.sysconf("SC_CLK_TCK")


def launch(log: Path, command: list[str]) -> subprocess.Popen[bytes]:
    """Start *command* without our own options in its environment."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("SENDFILE_SERVE_")
    }
    with log.open("wb") as stderr:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=stderr, env=environment
        )


def clock_ahead(folder: Path) -> tuple[str, ...]:
    """Return the prefix of a Python command whose wall clock is 10 seconds ahead.

    To it, no file was changed just now. *folder* gets a file of its own for it.
    """
    ahead = folder / "clock-ahead"
    ahead.mkdir()
    (ahead / "sitecustomize.py").write_text(
        "import time\nreal = time.time\ntime.time = lambda: real() + 10\n"
    )
    return ("env", f"PYTHONPATH={ahead}")
