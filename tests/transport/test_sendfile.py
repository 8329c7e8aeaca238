"""Spans of real files to real sockets, by sendfile(2) and by copying."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from running import wait_until
from sendfile_server.errors import (
    ClientDisconnectedError,
    FileTruncatedError,
    FileUnreadableError,
)
from sendfile_server.semantics.ranges import Span
from sendfile_server.transport.sendfile import COPY_SIZE, Ways, send_span
from wire import Pair

MIB = 1024 * 1024
CONTENT = os.urandom(MIB)
MUCH = 1 << 40


@pytest.fixture(params=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Connect a non-blocking socket, ours, to a peer."""
    if request.param == "tcp":
        with socket.create_server(("127.0.0.1", 0)) as listener:
            peer = socket.create_connection(listener.getsockname(), 20)
            client, _ = listener.accept()
    else:
        client, peer = socket.socketpair()
        peer.settimeout(20)
    client.setblocking(False)
    with client, peer:
        yield client, peer


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """Open a file with the content, for reading and writing."""
    (tmp_path / "file").write_bytes(CONTENT)
    descriptor = os.open(tmp_path / "file", os.O_RDWR)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def refusing() -> Iterator[tuple[int, bytes]]:
    """Open a file that can be read but has no pages to lend, with its content."""
    # The environment of a process is such a file; so here is one with much of it.
    environment = {f"N{number}": "x" * 100_000 for number in range(4)}
    pipe = subprocess.PIPE
    with subprocess.Popen("cat", stdin=pipe, stdout=pipe, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # Only when the program runs is its environment there.
        os.write(process.stdin.fileno(), b"?")
        os.read(process.stdout.fileno(), 1)
        path = Path(f"/proc/{process.pid}/environ")
        descriptor = os.open(path, os.O_RDONLY)
        yield descriptor, path.read_bytes()
        os.close(descriptor)
        process.kill()


@pytest.mark.parametrize(
    ("span", "limit"),
    [
        (Span(0, 1), MUCH),
        (Span(0, 10_000), MUCH),
        (Span(4095, 4097), MUCH),
        (Span(MIB - 1, MIB), MUCH),
        (Span(MIB - 5000, MIB), MUCH),
        (Span(0, MIB), 10_000),
        (Span(77, MIB), 1),
    ],
    ids=["first", "start", "across pages", "last", "end", "limited", "one of many"],
)
def test_exactly_the_span_is_sent(
    pair: Pair, file: int, span: Span, limit: int
) -> None:
    """Not a byte before it, after it, or above the limit."""
    client, peer = pair
    ways = Ways()
    sent = send_span(client, file, (span.start, span.stop), limit, ways)
    client.close()
    assert sent == min(len(span), limit)
    assert _read_all(peer) == CONTENT[span.start : span.start + sent]
    assert ways == Ways(sendfile=sent, copied=0)


def test_offset_of_the_file_is_left_alone(pair: Pair, file: int) -> None:
    """Transfers that share a descriptor don't disturb one another."""
    send_span(pair[0], file, (100, 200), MUCH, Ways())
    assert os.lseek(file, 0, os.SEEK_CUR) == 0


def test_stalled_peer_gets_short_writes_then_nothing(pair: Pair, file: int) -> None:
    """What fits is sent and counted; then 0 says that there is no room."""
    client, peer = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50_000)
    ways, sent = Ways(), []
    while count := send_span(client, file, (0, MIB), MUCH, ways):
        sent.append(count)
        assert len(sent) < 1000
    assert ways.sendfile == sum(sent)
    client.close()
    received = _read_all(peer)
    assert received == b"".join(CONTENT[:count] for count in sent)


@pytest.mark.parametrize("size", [500_000, 1, 0])
def test_shrunken_file_is_noticed(pair: Pair, file: int, size: int) -> None:
    """What is left of the file is sent; then the error tells what is missing."""
    client, peer = pair
    peer.settimeout(0)
    os.ftruncate(file, size)
    start, ways = 0, Ways()
    while start < size:
        start += send_span(client, file, (start, MIB), MUCH, ways)
        _receive(peer)
    with pytest.raises(FileTruncatedError) as truncated:
        send_span(client, file, (start, MIB), MUCH, ways)
    assert start == size == ways.sendfile
    assert truncated.value.missing == MIB - size


def test_gone_peer_is_a_disconnection(pair: Pair, file: int) -> None:
    """Whether its kernel said so before or says so now."""
    client, peer = pair
    client.send(b"something unread, so that the close resets")
    peer.close()

    def has_noticed() -> bool:
        try:
            send_span(client, file, (0, MIB), MUCH, Ways())
        except ClientDisconnectedError:
            return True
        return False

    wait_until(has_noticed, "the disconnection")


def test_unconnected_socket_is_a_disconnection(file: int) -> None:
    """A connection that was shut down meanwhile counts as gone."""
    client, peer = socket.socketpair()
    with client, peer:
        client.shutdown(socket.SHUT_RDWR)
        with pytest.raises(ClientDisconnectedError):
            send_span(client, file, (0, 10), MUCH, Ways())


def test_refusing_file_is_copied(pair: Pair, refusing: tuple[int, bytes]) -> None:
    """Where sendfile(2) has no pages to lend, the span arrives all the same."""
    client, peer = pair
    peer.settimeout(0)
    descriptor, content = refusing
    span, ways, received = Span(1234, len(content) - 77), Ways(), b""
    start = span.start
    while start < span.stop:
        sent = send_span(client, descriptor, (start, span.stop), MUCH, ways)
        assert sent <= COPY_SIZE
        start += sent
        received += _receive(peer)
    peer.settimeout(20)
    client.close()
    received += _read_all(peer)
    assert received == content[span.start : span.stop]
    assert ways == Ways(sendfile=0, copied=len(span))


def test_copy_keeps_the_limit(pair: Pair, refusing: tuple[int, bytes]) -> None:
    """A turn of copying is as bounded as one of sendfile."""
    client, peer = pair
    descriptor, content = refusing
    assert send_span(client, descriptor, (5, 10_000), 10, Ways()) == 10
    assert send_span(client, descriptor, (0, 300_000), MUCH, Ways()) <= COPY_SIZE
    assert peer.recv(10) == content[5:15]


def test_copy_to_a_stalled_peer_waits_for_room(
    pair: Pair, refusing: tuple[int, bytes]
) -> None:
    """No room is 0, and what did not fit is not counted as sent."""
    client, peer = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50_000)
    descriptor, content = refusing
    ways, sent = Ways(), []
    while count := send_span(client, descriptor, (0, 100_000), MUCH, ways):
        sent.append(count)
        assert len(sent) < 1000
    client.close()
    received = _read_all(peer)
    assert received == b"".join(content[:count] for count in sent)
    assert ways == Ways(sendfile=0, copied=len(received))


def test_copy_to_a_gone_peer_is_a_disconnection(refusing: tuple[int, bytes]) -> None:
    """As it is with sendfile."""
    client, peer = socket.socketpair()
    client.setblocking(False)
    peer.close()
    with client, pytest.raises(ClientDisconnectedError):
        send_span(client, refusing[0], (0, 100), MUCH, Ways())


def test_copy_notices_the_end_of_file(pair: Pair, refusing: tuple[int, bytes]) -> None:
    """A file that refuses sendfile and ends early misses what was promised."""
    descriptor, content = refusing
    end = len(content)
    with pytest.raises(FileTruncatedError) as truncated:
        send_span(pair[0], descriptor, (end, end + 50), 10, Ways())
    assert truncated.value.missing == 50


@pytest.mark.parametrize(
    ("path", "flags"),
    [
        ("/proc/self/mem", os.O_RDONLY),
        ("/", os.O_RDONLY),
        ("/proc/self/exe", os.O_PATH),
    ],
    ids=["nothing mapped", "directory", "no reading"],
)
def test_failing_file_is_no_disconnection(pair: Pair, path: str, flags: int) -> None:
    """What the file system refuses is not blamed on the client."""
    descriptor, ways = os.open(path, flags), Ways()
    with pytest.raises(FileUnreadableError):
        send_span(pair[0], descriptor, (0, 10), MUCH, ways)
    os.close(descriptor)
    assert ways == Ways(0, 0)


def _read_all(peer: socket.socket) -> bytes:
    pieces = []
    while piece := peer.recv(MIB):
        pieces.append(piece)
    return b"".join(pieces)


def _receive(peer: socket.socket) -> bytes:
    """Return what has arrived, if anything."""
    try:
        return peer.recv(MIB)
    except BlockingIOError:
        return b""
