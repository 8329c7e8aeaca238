"""The relay's own epoll: who is told, and what a connection takes of it."""

import asyncio
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from relaying import Relay, Target, connect, echo, read_all
from sendfile_server.relay.readiness import Readiness, Side
from tools import need

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Make one that looks exactly once in a turn, as a worker's does not."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Connect two pairs of sockets."""
    pairs = [socket.socketpair() for _ in range(2)]
    yield pairs
    for each in (sock for pair in pairs for sock in pair):
        each.close()


def turn(loop: asyncio.AbstractEventLoop) -> None:
    """Let it look once at all that there is."""
    loop.call_soon(loop.stop)
    loop.run_forever()


def test_those_who_wait_are_told_for_as_long_as_it_holds(
    loop: asyncio.AbstractEventLoop, pairs: list[Pair]
) -> None:
    """And of nothing else; nobody needs to have taken all that there was."""
    peer, sock = pairs[0]
    told: list[str] = []
    side = Side(sock, Readiness(loop))
    side.when_readable(lambda: told.append("read"))
    turn(loop)
    peer.send(b"x")
    for _ in range(2):
        turn(loop)
    side.when_writable(lambda: told.append("write"))
    turn(loop)
    side.when_readable(None)
    turn(loop)
    assert told == ["read", "read", "read", "write", "write"]


def test_nobody_is_woken_where_nobody_waits(
    loop: asyncio.AbstractEventLoop, pairs: list[Pair]
) -> None:
    """Not even by the end of both directions, which the kernel always tells."""
    peer, sock = pairs[0]
    readiness = Readiness(loop)
    side = Side(sock, readiness)
    side.when_readable(lambda: None)
    side.when_readable(None)
    peer.close()
    assert readiness.epoll.poll(0) == []


def test_who_was_closed_by_another_is_told_nothing(
    loop: asyncio.AbstractEventLoop, pairs: list[Pair]
) -> None:
    """Even if both were ready, and whoever has the same number now waits for it."""
    readiness = Readiness(loop)
    sides = [Side(sock, readiness) for _, sock in pairs]
    told: list[int] = []

    def tell(number: int) -> None:
        told.append(number)
        sides[1 - number].leave()
        pairs[1 - number][1].close()

    for number, side in enumerate(sides):
        side.when_readable(partial(tell, number))
        pairs[number][0].send(b"x")
    turn(loop)
    assert len(told) == 1


def test_a_short_connection_is_registered_once_on_each_side(
    relay: Relay, target: Target, tmp_path: Path
) -> None:
    """Closing removes it; the end of one side takes one call more."""
    need("strace")
    log = tmp_path / "strace"
    trace = ("strace", "-f", "-qq", "-o", str(log), "-e", "trace=epoll_ctl,accept4")
    server = relay(target(echo), "--workers", "1", prefix=trace)
    for _ in range(100):
        with connect(server) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b""
    server.stop()
    calls = log.read_text().partition("accept4(")[2]
    assert calls.count("epoll_ctl(") <= 350
