"""Flows that let much come together: when they do, and what a pause costs them."""

import asyncio
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from relaying import MIB, Relay, Target, both_ways, exchange
from sendfile_server.relay.flow import Flow, Means, Moved
from sendfile_server.relay.gathering import Gathering
from tools import need

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Pair]:
    """Connect two sockets by TCP: a peer, and the source of a flow."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as peer,
        listener.accept()[0] as source,
    ):
        yield peer, source


def is_readable(sock: socket.socket) -> bool:
    """Tell whether there is as much to read as it is to be woken for."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def test_a_pause_is_waited_for_once(
    loop: asyncio.AbstractEventLoop, ends: Pair
) -> None:
    """What is there is told of soon, and from then on all that comes, at once."""
    peer, source = ends
    flow = Flow(source, source, Means(None), Moved())
    Gathering(loop).begin(flow)
    peer.send(b"x")
    assert not is_readable(source)
    while not is_readable(source):
        loop.call_soon(loop.stop)
        loop.run_forever()
    assert source.recv(2) == b"x"
    peer.send(b"y")
    assert is_readable(source)
    assert flow.gathers_from > 0


def test_the_end_is_told_at_once(loop: asyncio.AbstractEventLoop, ends: Pair) -> None:
    """However little there is before it."""
    peer, source = ends
    Gathering(loop).begin(Flow(source, source, Means(None), Moved()))
    peer.shutdown(socket.SHUT_WR)
    assert is_readable(source)


def test_who_is_closed_is_not_looked_at(
    loop: asyncio.AbstractEventLoop, ends: Pair
) -> None:
    """Its socket is no more."""
    _, source = ends
    failed: list[object] = []
    loop.set_exception_handler(lambda _, context: failed.append(context))
    gathering = Gathering(loop)
    flow = Flow(source, source, Means(None), Moved())
    gathering.begin(flow)
    gathering.end(flow)
    source.close()
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    assert failed == []


def test_much_is_gathered_and_little_is_not(
    relay: Relay, target: Target, tmp_path: Path
) -> None:
    """Only who has moved much already is made to wait."""
    need("strace")
    log = tmp_path / "strace"
    trace = ("strace", "-f", "-qq", "-o", str(log), "-e", "trace=setsockopt")
    for size, is_gathered in ((16, False), (96, True)):
        results: list[bytes] = []
        place = target(both_ways(results, size * MIB))
        server = relay(place, "--workers", "1", prefix=trace)
        exchange(server, results, size * MIB)
        server.stop()
        assert ("SO_RCVLOWAT" in log.read_text()) is is_gathered
