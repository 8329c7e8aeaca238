"""What a service manager is told, by the protocol of systemd."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from running import Serve, Server, end, wait_until
from wire import fetch

MANY_S = 20.0


class Manager:
    """Whoever started a server, and hears how it is."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.settimeout(MANY_S)
        self.environment = (f"NOTIFY_SOCKET={path.replace(chr(0), '@')}",)

    def close(self) -> None:
        self._socket.close()

    def be_deaf(self) -> None:
        """Fill the queue that nobody reads any more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    sender.sendto(b"", self._socket.getsockname())

    def hear(self) -> dict[str, str]:
        """Return the next message."""
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """Listen, at either kind of address."""
    is_path = request.param == "a path"
    heard = Manager(f"{tmp_path}/notify" if is_path else f"\0{tmp_path}")
    yield heard
    heard.close()


def run(serve: Serve, site: Path, manager: Manager, *more: str) -> Server:
    """Run a server that is to tell *manager*."""
    prefix = ("env", *manager.environment, *more)
    return serve(site, "--workers", "1", prefix=prefix)


def test_each_step_is_told(serve: Serve, site: Path, manager: Manager) -> None:
    """Ready when it serves; reloading and ready again; stopping."""
    server = run(serve, site, manager)
    assert manager.hear() == {"READY": "1"}

    os.kill(server.pid, signal.SIGHUP)
    told = manager.hear()
    assert told.pop("RELOADING") == "1"
    assert int(told.pop("MONOTONIC_USEC")) > 0
    assert not told
    assert manager.hear() == {"READY": "1"}

    assert server.stop() == 0
    assert manager.hear() == {"STOPPING": "1"}


def test_deaf_manager_holds_up_nobody(
    serve: Serve, site: Path, manager: Manager
) -> None:
    """What it can't be told is not told, and all goes on."""
    manager.be_deaf()
    server = run(serve, site, manager, "WATCHDOG_USEC=2000000")
    assert fetch(server.port, "/digits.txt").body == b"0123456789"
    assert server.stop() == 0


def test_main_process_changes(serve: Serve, site: Path, manager: Manager) -> None:
    """The former tells which one it is now, and that goes on telling."""
    server = run(serve, site, manager)
    assert manager.hear() == {"READY": "1"}
    os.kill(server.pid, signal.SIGUSR2)

    heard = [manager.hear(), manager.hear()]
    assert {"READY": "1"} in heard
    heard.remove({"READY": "1"})
    successor = int(heard[0]["MAINPID"])
    assert server.process.wait(MANY_S) == 0
    try:
        assert fetch(server.port, "/digits.txt").body == b"0123456789"
    finally:
        end(successor)
    assert manager.hear() == {"STOPPING": "1"}


def test_watchdog_hears_of_a_live_supervisor(
    serve: Serve, site: Path, manager: Manager
) -> None:
    """As often as it asks for, unless it is another process that is to be watched."""
    run(serve, site, manager, "WATCHDOG_USEC=2000000")
    signs = 0
    while signs < 2:
        signs += manager.hear() == {"WATCHDOG": "1"}

    server = run(serve, site, manager, "WATCHDOG_USEC=1000", "WATCHDOG_PID=1")
    wait_until(lambda: "Serving" in server.log.read_text(), "another to serve")
    server.stop()
