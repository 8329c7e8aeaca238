"""Reload and upgrade of a relay, whose connections may last for days."""

import os
import signal

from relaying import Relay, Target, connect, echo, read_all
from running import DEADLINE_S, Server, end, wait_until


def tell(server: Server, number: signal.Signals, words: str) -> None:
    """Send a signal, and wait until its log says so."""
    os.kill(server.pid, number)
    wait_until(lambda: words in server.log.read_text(), words)


def test_connections_outlive_their_configuration(relay: Relay, target: Target) -> None:
    """Old ones go on both ways, and new ones are other workers'."""
    server = relay(target(echo), "--workers", "1")
    former = server.worker
    with connect(server) as old:
        old.sendall(b"a")
        assert old.recv(1) == b"a"
        tell(server, signal.SIGHUP, "reloaded: ")
        with connect(server) as new:
            for each in (old, new):
                each.sendall(b"b")
                assert each.recv(1) == b"b"
        assert former in server.children()
        old.shutdown(1)
        assert read_all(old) == b""
    wait_until(lambda: former not in server.children(), "the former to leave")


def test_connections_outlive_their_program(relay: Relay, target: Target) -> None:
    """The former process stays for them only, and then ends well."""
    server = relay(target(echo), "--workers", "1")
    with connect(server) as old:
        old.sendall(b"a")
        assert old.recv(1) == b"a"
        tell(server, signal.SIGUSR2, " has taken over")
        successor = int(server.log.read_text().partition("process ")[2].split(" ")[0])
        try:
            with connect(server) as new:
                for each in (old, new):
                    each.sendall(b"b")
                    assert each.recv(1) == b"b"
            assert server.process.poll() is None
        finally:
            end(successor)
    assert server.process.wait(DEADLINE_S) == 0
