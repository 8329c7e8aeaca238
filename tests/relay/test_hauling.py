"""Threads that move what comes in bulk: what ends their turn, and what comes after."""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import pytest

from relaying import (
    MIB,
    Relay,
    Target,
    both_ways,
    connect,
    descriptors,
    echo,
    exchange,
    fate,
    hash_all,
    read_exactly,
    reset,
    send_much,
)
from running import Server, pass_time, wait_until
from sendfile_server.relay.flow import Flow, Means, Moved, Shared
from sendfile_server.relay.hauling import Haul, prepare
from sendfile_server.transport.pipes import Pipe, Pipes
from tools import need
from wire import fill

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pairs() -> Iterator[tuple[Pair, Pair]]:
    """Connect a peer to a source, and a sink to another peer, by TCP."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(2):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            address = listener.getsockname()
            peer = stack.enter_context(socket.create_connection(address, 60))
            ours = stack.enter_context(listener.accept()[0])
            prepare(ours)
            made.append((peer, ours))
        yield made[0], made[1]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Make a pipe as flows have it."""
    made = Pipe(MIB)
    yield made
    made.close()


def least(sock: socket.socket) -> int:
    """Return how much must have come for anyone to be told."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)


def threads(server: Server) -> int:
    """Count the threads of a server's worker."""
    return len(os.listdir(f"/proc/{server.worker}/task"))


# What ends it.


def test_pause_ends_it(pairs: tuple[Pair, Pair], pipe: Pipe) -> None:
    """What is there is moved, little as it is, and what comes later is told at once."""
    (peer, source), (other, sink) = pairs
    peer.send(b"x")
    haul = Haul(source, sink, pipe)
    haul.run()
    assert haul.moved == 1
    assert other.recv(2) == b"x"
    assert least(source) == 1


def test_end_ends_it(pairs: tuple[Pair, Pair], pipe: Pipe) -> None:
    """All that came before it is moved, byte for byte."""
    (peer, source), (other, sink) = pairs
    with ThreadPoolExecutor() as pool:
        sent = pool.submit(send_much, peer, 96 * MIB, b"x")
        received = pool.submit(hash_all, other)
        moved, pipe.taken = 0, 1
        while pipe.taken:
            haul = Haul(source, sink, pipe)
            haul.run()
            moved += haul.moved
        sink.shutdown(socket.SHUT_WR)
        assert moved == 96 * MIB
        assert received.result(60) == sent.result(60)


def test_lack_of_room_ends_it(pairs: tuple[Pair, Pair], pipe: Pipe) -> None:
    """What the sink did not take is in the pipe."""
    (peer, source), (other, sink) = pairs
    with ThreadPoolExecutor() as pool:
        sending = pool.submit(send_much, peer, 64 * MIB, b"x")
        moved = 0
        while not pipe.held:
            haul = Haul(source, sink, pipe)
            haul.run()
            moved += haul.moved
        assert read_exactly(other, moved)[:8] == bytes(8)
        held = pipe.held
        assert pipe.empty(sink.fileno()) == held
        assert len(read_exactly(other, held)) == held
        reset(source)
        with pytest.raises(ConnectionError):
            sending.result(60)


def test_reset_ends_it(pairs: tuple[Pair, Pair], pipe: Pipe) -> None:
    """It is told as the error that it is."""
    (peer, source), (_, sink) = pairs
    reset(peer)
    with pytest.raises(ConnectionResetError):
        Haul(source, sink, pipe).run()


def test_what_is_left_is_copied_beside_another_thread(
    pairs: tuple[Pair, Pair],
) -> None:
    """To empty a pipe would wait for the sink, and with it the loop."""
    (peer, source), (_, sink) = pairs
    flow = Flow(source, sink, Means(Pipes(MIB, 1)), Moved(), Shared())
    peer.sendall(bytes(65536))
    flow.turn()
    os.set_blocking(sink.fileno(), False)
    fill(sink)
    prepare(sink)
    peer.sendall(bytes(65536))
    haul = flow.begin_haul()
    assert haul
    haul.run()
    assert haul.pipe.held
    flow.must_copy = True
    flow.end_haul(haul)
    assert flow.is_holding
    assert not flow.holds_pipe
    flow.close()


# In a relay.


def test_much_is_hauled_and_little_is_not(
    relay: Relay, target: Target, tmp_path: Path
) -> None:
    """Only who has moved much already is made to wait for more."""
    need("strace")
    log = tmp_path / "strace"
    trace = ("strace", "-f", "-qq", "-o", str(log), "-e", "trace=setsockopt")
    for size, is_hauled in ((16, False), (96, True)):
        results: list[bytes] = []
        place = target(both_ways(results, size * MIB))
        server = relay(place, "--workers", "1", prefix=trace)
        exchange(server, results, size * MIB)
        server.stop()
        assert ("SO_RCVLOWAT" in log.read_text()) is is_hauled


@pytest.mark.parametrize("where", ["127.0.0.1", "unix:{folder}/target"])
def test_messages_are_relayed_after_bulk(
    relay: Relay, target: Target, tmp_path: Path, where: str
) -> None:
    """And bulk after messages, on one connection; and all of it is counted."""
    server = relay(target(echo, where.format(folder=tmp_path)), "--workers", "1")
    before = threads(server)
    block = bytes(range(256)) * 256 * 16
    with connect(server) as client, ThreadPoolExecutor() as pool:
        for _ in range(2):
            sending = pool.submit(client.sendall, block * 128)
            for _ in range(128):
                assert read_exactly(client, len(block)) == block
            sending.result(60)
            for _ in range(100):
                client.sendall(b"ping")
                assert read_exactly(client, 4) == b"ping"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert threads(server) > before
    server.stop()
    spliced, copied = re.findall(
        "([0-9]+) (?:bytes spliced|copied)", server.log.read_text()
    )
    assert int(spliced) + int(copied) == 2 * 2 * (128 * MIB + 400)


def send_until_broken(sock: socket.socket) -> str:
    """Send without an end of its own, and return how that ended.

    A reset that comes behind an end is a broken pipe (EPIPE).
    """
    try:
        while True:
            sock.sendall(bytes(MIB))
    except ConnectionResetError:
        return "reset"
    except BrokenPipeError:
        return "end"


def test_reset_under_way_resets_the_other_side(relay: Relay, target: Target) -> None:
    """Whoever breaks off, and of whatever is moving: it never looks like an end."""
    fates: SimpleQueue[str] = SimpleQueue()

    def take_part(client: socket.socket) -> None:
        match client.recv(1):
            case b"<":
                read_exactly(client, 96 * MIB)
                reset(client)
            case b">":
                fates.put(send_until_broken(client))
            case _:
                fates.put(fate(client))

    server = relay(target(take_part), "--workers", "1")
    before = descriptors(server, "socket")
    for _ in range(5):
        with connect(server) as client:
            client.sendall(b"<")
            assert send_until_broken(client) == "reset"
        client = connect(server)
        client.sendall(b">")
        read_exactly(client, 96 * MIB)
        reset(client)
        assert fates.get(timeout=60) == "reset"
        client = connect(server)
        client.sendall(b"-" * 96 * MIB)
        reset(client)
        assert fates.get(timeout=60) == "reset"
    wait_until(lambda: descriptors(server, "socket") == before, "no socket to be kept")


def test_stalled_reader_is_waited_for_in_bulk(relay: Relay, target: Target) -> None:
    """A thread is not held by it, and nothing is lost."""
    results: list[bytes] = []

    def stall(client: socket.socket) -> None:
        client.recv(128 * MIB, socket.MSG_WAITALL | socket.MSG_PEEK)
        pass_time(1)
        results.append(hash_all(client))

    server = relay(target(stall), "--workers", "1")
    with connect(server) as client:
        sent = send_much(client, 256 * MIB, b"x")
        assert fate(client) == "end"
    assert results == [sent]


def test_idle_time_begins_after_bulk(relay: Relay, target: Target) -> None:
    """Whoever moves nothing any more is cut off, whoever moved it."""
    fates: list[str] = []
    server = relay(
        target(lambda client: fates.append(fate(client))),
        "--workers",
        "1",
        "--idle-timeout",
        "1",
    )
    with connect(server) as client:
        client.sendall(bytes(128 * MIB))
        assert fate(client) == "end"
    wait_until(lambda: fates == ["end"], "the end")


def test_more_bulk_than_threads(relay: Relay, target: Target) -> None:
    """The others take turns on the loop, and all arrive whole."""
    results: list[bytes] = []
    server = relay(
        target(lambda client: results.append(hash_all(client))), "--workers", "1"
    )

    def send(number: int) -> bytes:
        with connect(server) as client:
            sent = send_much(client, 48 * MIB, number.to_bytes())
            assert fate(client) == "end"
            return sent

    with ThreadPoolExecutor(40) as pool:
        sent = list(pool.map(send, range(40)))
    assert sorted(results) == sorted(sent)
