"""Chunks in order and in bounded turns, to peers that read well or badly."""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.errors import ClientDisconnectedError, FileTruncatedError
from sendfile_server.semantics.ranges import Span
from sendfile_server.transport.sendfile import Ways
from sendfile_server.transport.sending import Progress, Sending
from wire import Pair

MIB = 1024 * 1024
CONTENT = os.urandom(2 * MIB)


@dataclass
class OpenedFile:
    """The least that a source must be."""

    number: int


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenedFile]:
    path = tmp_path_factory.mktemp("sending") / "file"
    path.write_bytes(CONTENT)
    descriptor = os.open(path, os.O_RDONLY)
    yield OpenedFile(descriptor)
    os.close(descriptor)


@pytest.fixture
def pair(pair: Pair) -> Pair:
    """Connect them so that what is sent leaves at once."""
    pair[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return pair


def test_small_response_takes_one_turn(pair: Pair, file: OpenedFile) -> None:
    """Head and span within the quantum are done at once, in order."""
    client, peer = pair
    sending = Sending(client, (b"head", Span(10, 20)), file, Ways())
    assert sending.advance(1000, is_warm=True) is Progress.DONE
    assert sending.sent == 14
    assert sending.next_span() is None
    client.close()
    assert peer.recv(100, socket.MSG_WAITALL) == b"head" + CONTENT[10:20]


def test_bytes_need_no_file(pair: Pair) -> None:
    """A response without spans has no source."""
    client, peer = pair
    sending = Sending(client, (b"head", b"body"), None, Ways())
    assert sending.next_span() is None
    assert sending.advance(0, is_warm=False) is Progress.DONE
    client.close()
    assert peer.recv(100, socket.MSG_WAITALL) == b"headbody"


def test_turn_ends_at_the_quantum(pair: Pair, file: OpenedFile) -> None:
    """A turn takes at most the quantum from the file, whatever the bytes before."""
    client, _ = pair
    sending = Sending(client, (b"head", Span(0, 2500)), file, Ways())
    turns = []
    for _ in range(3):
        progress = sending.advance(1000, is_warm=True)
        turns.append((progress, sending.sent - 4))
    assert turns == [
        (Progress.SPENT, 1000),
        (Progress.SPENT, 2000),
        (Progress.DONE, 2500),
    ]


def test_turn_that_fills_its_quantum_exactly_is_done(
    pair: Pair, file: OpenedFile
) -> None:
    """No empty turn follows."""
    sending = Sending(pair[0], (Span(0, 1000),), file, Ways())
    assert sending.advance(1000, is_warm=True) is Progress.DONE


def test_turn_ends_where_a_span_does(pair: Pair, file: OpenedFile) -> None:
    """Whether the next span is warm is asked for each; so each has its turn."""
    chunks = (b"one", Span(0, 10), b"two", Span(50, 60), b"end")
    sending = Sending(pair[0], chunks, file, Ways())
    seen = []
    for _ in range(3):
        span = sending.next_span()
        seen.append((span, sending.advance(1000, is_warm=True), sending.sent))
    assert seen == [
        ((0, 10), Progress.SPENT, 13),
        ((50, 60), Progress.SPENT, 26),
        (None, Progress.DONE, 29),
    ]


def test_next_span_begins_where_the_last_turn_ended(
    pair: Pair, file: OpenedFile
) -> None:
    """And it ends where it always did."""
    sending = Sending(pair[0], (b"head", Span(100, 2000)), file, Ways())
    assert sending.next_span() == (100, 2000)
    sending.advance(500, is_warm=True)
    assert sending.next_span() == (600, 2000)


def test_stalled_peer_blocks(pair: Pair, file: OpenedFile) -> None:
    """When the socket has no room the turn ends, and goes on where it ended."""
    client, peer = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 50_000)
    ways = Ways()
    big = b"h" * MIB
    sending = Sending(client, (big, Span(0, 2 * MIB)), file, ways)
    assert sending.advance(4 * MIB, is_warm=True) is Progress.BLOCKED
    before = sending.sent
    assert 0 < before < MIB
    assert sending.advance(4 * MIB, is_warm=True) is Progress.BLOCKED
    assert sending.sent - before < MIB
    received = bytearray()
    progress = Progress.BLOCKED
    while progress is not Progress.DONE:
        received += peer.recv(MIB)
        progress = sending.advance(4 * MIB, is_warm=True)
        assert progress is not Progress.SPENT
    client.close()
    while piece := peer.recv(MIB):
        received += piece
    assert received == big + CONTENT
    assert ways == Ways(sendfile=2 * MIB)


@pytest.mark.parametrize("chunk", [b"bytes", Span(0, 10)], ids=["bytes", "span"])
def test_gone_peer_is_a_disconnection(file: OpenedFile, chunk: bytes | Span) -> None:
    """Bytes and spans alike."""
    client, peer = socket.socketpair()
    peer.close()
    sending = Sending(client, (chunk,), file, Ways())
    with client, pytest.raises(ClientDisconnectedError):
        sending.advance(1000, is_warm=True)
    assert sending.sent == 0


def test_file_that_shrinks_under_way_is_noticed(pair: Pair, tmp_path: Path) -> None:
    """After what is left of it, the error counts what its span misses."""
    client, peer = pair
    path = tmp_path / "file"
    path.write_bytes(CONTENT[:5000])
    with path.open("rb") as opened:
        source = OpenedFile(opened.fileno())
        sending = Sending(client, (b"head", Span(1000, 5000)), source, Ways())
        assert sending.advance(500, is_warm=True) is Progress.SPENT
        os.truncate(path, 2000)
        with pytest.raises(FileTruncatedError) as truncated:
            sending.advance(9000, is_warm=True)
    assert truncated.value.missing == 3000
    assert sending.sent == 4 + 1000
    client.close()
    assert peer.recv(9000, socket.MSG_WAITALL) == b"head" + CONTENT[1000:2000]


@pytest.mark.parametrize(
    ("chunks", "is_warm", "segments"),
    [
        ((b"head", Span(0, 100)), True, 1),
        ((b"head", Span(0, 100)), False, 2),
        ((b"head",), True, 1),
        ((b"head", b"body"), True, 1),
    ],
    ids=["warm", "cold", "alone", "bytes"],
)
def test_head_waits_only_for_what_follows_at_once(
    pair: Pair,
    file: OpenedFile,
    chunks: tuple[bytes | Span, ...],
    is_warm: bool,
    segments: int,
) -> None:
    """A head leaves in one segment with a warm span; alone, it leaves at once."""
    sending = Sending(pair[0], chunks, file, Ways())
    assert sending.advance(1000, is_warm=is_warm) is Progress.DONE
    assert _data_segments(pair[0]) == segments


def test_last_bytes_of_a_turn_are_not_held_back(pair: Pair, file: OpenedFile) -> None:
    """The end of a turn, mid-span, leaves at once and not 200 ms later."""
    sending = Sending(pair[0], (b"head", Span(0, 200)), file, Ways())
    assert sending.advance(100, is_warm=True) is Progress.SPENT
    assert _data_segments(pair[0]) == 1


_SPANS = st.builds(
    lambda start, size: Span(start, min(start + size, len(CONTENT))),
    st.integers(0, len(CONTENT) - 1),
    st.one_of(st.integers(1, 300), st.integers(1, 300_000)),
)
_BYTES = st.one_of(
    st.binary(min_size=1, max_size=50),
    st.integers(1, 300_000).map(lambda size: bytes(range(256)) * (size // 256 + 1)),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(_SPANS, _BYTES), max_size=8),
    st.lists(
        st.tuples(st.integers(2_000, 300_000), st.booleans()), min_size=1, max_size=9
    ),
    st.integers(5_000, 400_000),
)
def test_any_chunks_arrive_whole(
    file: OpenedFile,
    chunks: list[bytes | Span],
    turns: list[tuple[int, bool]],
    appetite: int,
) -> None:
    """Whatever the chunks, the quanta and the peer's appetite."""
    client, peer = socket.socketpair()
    client.setblocking(False)
    received, ways = bytearray(), Ways()
    with client, peer:
        sending = Sending(client, chunks, file, ways)
        count, progress = 0, Progress.SPENT
        while progress is not Progress.DONE:
            quantum, is_warm = turns[count % len(turns)]
            before = ways.sendfile
            progress = sending.advance(quantum, is_warm=is_warm)
            assert ways.sendfile - before <= quantum
            if progress is Progress.BLOCKED:
                received += peer.recv(appetite)
            count += 1
        client.close()
        while piece := peer.recv(MIB):
            received += piece
    assert received == _expected(chunks)
    assert sending.sent == len(received)
    assert ways.sendfile == sum(len(each) for each in chunks if isinstance(each, Span))


def _expected(chunks: Iterable[bytes | Span]) -> bytes:
    return b"".join(
        CONTENT[chunk.start : chunk.stop] if isinstance(chunk, Span) else chunk
        for chunk in chunks
    )


def _data_segments(client: socket.socket) -> int:
    """Count the segments with data that were sent (tcpi_data_segs_out)."""
    info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
    (count,) = struct.unpack_from("I", info, 156)
    assert isinstance(count, int)
    return count
