"""Pipes between sockets: what is in them, what is refused, and who has them."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from sendfile_server.transport.pipes import Pipe, Pipes, SpliceRefusedError
from wire import Pair, fill

SIZE = 65536
DATA = os.urandom(50_000)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(SIZE)
    yield pipe
    pipe.close()


@pytest.fixture
def sink() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname(), 20)
        ours, _ = listener.accept()
    ours.setblocking(False)
    with ours, peer:
        yield ours, peer


def test_bytes_go_through(pipe: Pipe, pair: Pair, sink: Pair) -> None:
    """All that came in goes out, in its order."""
    source, peer = pair
    peer.sendall(DATA)
    received = b""
    while len(received) < len(DATA):
        count = pipe.fill(source.fileno())
        assert count == pipe.held > 0
        while pipe.held:
            pipe.empty(sink[0].fileno())
        received += sink[1].recv(count, socket.MSG_WAITALL)
    assert received == DATA


def test_empty_source_would_block(pipe: Pipe, pair: Pair) -> None:
    """And its end is no bytes."""
    source, peer = pair
    with pytest.raises(BlockingIOError):
        pipe.fill(source.fileno())
    peer.close()
    assert pipe.fill(source.fileno()) == 0
    assert not pipe.held


def test_full_sink_would_block(pipe: Pipe, pair: Pair, sink: Pair) -> None:
    """What it did not take is still held, and can be taken out."""
    source, peer = pair
    peer.sendall(DATA)
    fill(sink[0])
    count = pipe.fill(source.fileno())
    with pytest.raises(BlockingIOError):
        pipe.empty(sink[0].fileno())
    assert pipe.held == count
    assert pipe.take() == DATA[:count]
    assert not pipe.held


def test_carrying_moves_all_that_there_is(pipe: Pipe, pair: Pair, sink: Pair) -> None:
    """In its order, but no further than it may, and after it comes the end."""
    source, peer = pair
    peer.sendall(DATA)
    pipe.carry(source.fileno(), sink[0].fileno(), 1)
    assert 0 < pipe.carried == pipe.taken <= SIZE
    carried = pipe.carried
    while carried < len(DATA):
        pipe.carry(source.fileno(), sink[0].fileno(), SIZE)
        assert not pipe.held
        carried += pipe.carried
    assert sink[1].recv(carried, socket.MSG_WAITALL) == DATA
    with pytest.raises(BlockingIOError):
        pipe.carry(source.fileno(), sink[0].fileno(), SIZE)
    peer.close()
    pipe.carry(source.fileno(), sink[0].fileno(), SIZE)
    assert pipe.taken == pipe.carried == 0


def test_carrying_holds_what_has_no_room(pipe: Pipe, pair: Pair, sink: Pair) -> None:
    """A full sink is no error: it has been taken from the source."""
    source, peer = pair
    peer.sendall(DATA)
    fill(sink[0])
    pipe.carry(source.fileno(), sink[0].fileno(), SIZE)
    assert pipe.carried == 0
    assert 0 < pipe.held == pipe.taken
    assert pipe.take() == DATA[: pipe.taken]


def test_carrying_tells_who_is_broken(pipe: Pipe, pair: Pair, sink: Pair) -> None:
    """Not as if there were nothing, nor no room."""
    source, peer = pair
    peer.sendall(DATA)
    sink[0].shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        pipe.carry(source.fileno(), sink[0].fileno(), SIZE)
    assert pipe.held


def test_what_has_no_splice_refuses(pipe: Pipe) -> None:
    """That is another error than those of a socket."""
    directory = os.open("/", os.O_RDONLY)
    for move in (pipe.fill, lambda source: pipe.carry(source, source, SIZE)):
        with pytest.raises(SpliceRefusedError):
            move(directory)
    os.close(directory)
    assert not pipe.held


def test_twin_holds_the_same(pipe: Pipe, pair: Pair, sink: Pair) -> None:
    """It goes its own way, and the first goes on as before."""
    source, peer = pair
    peer.sendall(DATA)
    count = pipe.fill(source.fileno())
    twin = Pipe(SIZE)
    assert pipe.tee(twin)
    assert pipe.held == twin.held == count
    assert twin.take() == DATA[:count]
    twin.close()
    pipe.empty(sink[0].fileno())
    assert sink[1].recv(count, socket.MSG_WAITALL) == DATA[:count]


def test_twin_that_is_too_small_is_told(pipe: Pipe, pair: Pair) -> None:
    """It holds a part, and the first still holds all."""
    source, peer = pair
    peer.sendall(DATA)
    count = pipe.fill(source.fileno())
    twin = Pipe(4096)
    assert not pipe.tee(twin)
    assert 0 < twin.held < count
    twin.close()
    assert pipe.take() == DATA[:count]


def test_pipe_that_is_given_back_is_lent_again() -> None:
    """But never with something in it."""
    pipes = Pipes(SIZE, 200)
    first = pipes.borrow()
    assert first is not None
    pipes.give_back(first)
    assert pipes.borrow() is first
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"not for others")
        ours.setblocking(False)
        first.fill(ours.fileno())
    pipes.give_back(first)
    second = pipes.borrow()
    assert second is not None
    assert second is not first
    assert not second.held
    second.close()


def test_no_more_are_lent_than_there_may_be() -> None:
    """One that was closed makes room for another."""
    pipes = Pipes(SIZE, 2)
    first, second = pipes.borrow(), pipes.borrow()
    assert first is not None
    assert second is not None
    assert pipes.borrow() is None
    first.held = 1  # and so it is closed
    pipes.give_back(first)
    third = pipes.borrow()
    assert third is not None
    assert pipes.borrow() is None
    second.close()
    third.close()


def test_quota_of_the_user_is_kept() -> None:
    """Beyond it nothing is lent, and what was lent is no smaller than is of use.

    Nor is the kernel asked each time, which would cost more than copying.

    The system's own user has no quota (pipe(7)), so another one asks.
    """
    code = f"""
import os, sys
from sendfile_server.transport.pipes import Pipes
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
pipes, lent = Pipes(1 << 20, 1000), []
while pipe := pipes.borrow():
    lent.append(pipe.size)
asked, pipe2 = [], os.pipe2
os.pipe2 = lambda flags: asked.append(flags) or pipe2(flags)
assert not any(pipes.borrow() for _ in range(1000))
print(len(lent), min(lent) >= {SIZE}, len(asked))
"""
    command = (
        "sh",
        "-c",
        'ulimit -n 4000; exec "$@"',
        "sh",
        sys.executable,
        "-c",
        code,
    )
    count, is_of_use, asked = subprocess.check_output(command, text=True).split()
    assert 0 < int(count) < 1000
    assert is_of_use == "True"
    assert 0 < int(asked) < 20


def test_only_some_idle_pipes_are_kept() -> None:
    """A burst does not hold its pipes for ever."""
    before = len(os.listdir("/proc/self/fd"))
    pipes = Pipes(SIZE, 200)
    lent = [pipes.borrow() for _ in range(100)]
    assert len(os.listdir("/proc/self/fd")) == before + 200
    for pipe in lent:
        assert pipe is not None
        pipes.give_back(pipe)
    assert len(os.listdir("/proc/self/fd")) < before + 50
    with ExitStack() as stack:
        while (pipe := pipes.borrow()) and pipe in lent:
            stack.callback(pipe.close)
        assert pipe is not None
        pipe.close()


def test_closed_ones_are_no_more() -> None:
    """What is lent meanwhile is its borrower's to close."""
    before = len(os.listdir("/proc/self/fd"))
    pipes = Pipes(SIZE, 200)
    kept, lent = pipes.borrow(), pipes.borrow()
    assert kept is not None
    assert lent is not None
    pipes.give_back(kept)
    pipes.close()
    assert len(os.listdir("/proc/self/fd")) == before + 2
    lent.close()
