"""The gate: one head at a time off a buffer, however it arrived (RFC 9112)."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.errors import ProtocolError
from sendfile_server.protocol.gate import (
    MAX_HEAD,
    MAX_LINES,
    MAX_REQUEST_LINE,
    Gate,
)

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = b"HEAD /b HTTP/1.0\r\n\r\n"

WHOLE = 1 << 20
CHUNKINGS = [
    pytest.param(WHOLE, id="whole"),
    pytest.param(1, id="1 byte at a time"),
    pytest.param(7, id="7 bytes at a time"),
]


class Outcome(NamedTuple):
    """What came through a gate, and what of the input did not."""

    heads: list[bytes]
    status: int | None
    left: int
    """Bytes."""


def cut(raw: bytes, step: int) -> Iterator[bytes]:
    return (raw[start : start + step] for start in range(0, len(raw), step))


def pass_gate(pieces: Iterable[bytes]) -> Outcome:
    """Feed *pieces*, and take what can be taken after each of them."""
    gate, heads, left = Gate(), list[bytes](), list(pieces)
    while left:
        gate.feed(left.pop(0))
        try:
            while (head := gate.take_head()) is not None:
                heads.append(head)
        except ProtocolError as error:
            return Outcome(heads, error.status, len(gate) + sum(map(len, left)))
    return Outcome(heads, None, len(gate))


def request_line(size: int) -> bytes:
    """Return a head with a request line of *size* bytes without its end."""
    return b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * (size - 14))


def head(size: int) -> bytes:
    """Return a head of *size* bytes."""
    return b"GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n" % (b"a" * (size - 32))


def lines(count: int) -> bytes:
    """Return a head of *count* lines, its empty line apart."""
    return b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * (count - 1) + b"\r\n"


@pytest.mark.parametrize("step", CHUNKINGS)
@pytest.mark.parametrize(
    ("raw", "heads", "left"),
    [
        pytest.param(b"", [], 0, id="nothing"),
        pytest.param(b"\r", [], 1, id="half a line end"),
        pytest.param(b"\r\n", [], 0, id="an empty line"),
        pytest.param(b"\r\n\r\n", [], 2, id="two empty lines wait for a third"),
        pytest.param(GET, [GET], 0, id="one head"),
        pytest.param(GET[:-1], [], len(GET) - 1, id="a head that lacks a byte"),
        pytest.param(GET + b"\r", [GET], 1, id="half a line end after a head"),
        pytest.param(b"\r\n" + GET, [GET], 0, id="an empty line before"),
        pytest.param(GET + HEAD, [GET, HEAD], 0, id="two heads"),
        pytest.param(GET + b"\r\n" + HEAD, [GET, HEAD], 0, id="an empty line between"),
        pytest.param(GET + b"HEAD", [GET], 4, id="a head and the start of another"),
        pytest.param(HEAD, [HEAD], 0, id="no field lines"),
        pytest.param(
            request_line(MAX_REQUEST_LINE),
            [request_line(MAX_REQUEST_LINE)],
            0,
            id="a request line at its limit",
        ),
        pytest.param(head(MAX_HEAD), [head(MAX_HEAD)], 0, id="a head at its limit"),
        pytest.param(
            lines(MAX_LINES), [lines(MAX_LINES)], 0, id="lines at their limit"
        ),
        pytest.param(
            head(MAX_HEAD) + head(MAX_HEAD),
            [head(MAX_HEAD), head(MAX_HEAD)],
            0,
            id="two heads at their limit",
        ),
    ],
)
def test_lets_pass(raw: bytes, heads: list[bytes], left: int, step: int) -> None:
    """Whole heads come out byte for byte; the rest waits."""
    assert pass_gate(cut(raw, step)) == (heads, None, left)


@pytest.mark.parametrize("step", CHUNKINGS)
@pytest.mark.parametrize(
    ("raw", "heads", "status"),
    [
        pytest.param(b"\n", 0, 400, id="a bare LF at once"),
        pytest.param(b"GET /\0", 0, 400, id="NUL before the end of the line"),
        pytest.param(b"GET / HTTP/1.1\rx", 0, 400, id="a bare CR"),
        pytest.param(b"\x16\x03\x01\x02\0", 0, 400, id="TLS"),
        pytest.param(b"\r\n\r\n" + GET, 0, 400, id="two empty lines before"),
        pytest.param(GET + b"\n", 1, 400, id="a bare LF after a head"),
        pytest.param(GET + b"x\r\n\r\n", 1, 400, id="a second head that is none"),
        pytest.param(GET + b"\r\n\r\n\r\n", 1, 400, id="two empty lines after a head"),
        pytest.param(
            b"GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n", 0, 400, id="a folded line"
        ),
        pytest.param(b"GET / HTTP/2.0\r\n\r\n", 0, 505, id="version 2.0"),
        pytest.param(b"GET / HTTP/1.2\r\n\r\n", 0, 505, id="version 1.2"),
        pytest.param(b"GET / HTTP/1.x\r\n\r\n", 0, 400, id="no version"),
        pytest.param(
            request_line(MAX_REQUEST_LINE + 1), 0, 414, id="a request line too long"
        ),
        pytest.param(
            b"\r\n" + request_line(MAX_REQUEST_LINE + 1),
            0,
            414,
            id="a request line too long after an empty line",
        ),
        pytest.param(b"a" * (MAX_REQUEST_LINE + 2), 0, 414, id="no end of a line"),
        pytest.param(head(MAX_HEAD + 1), 0, 431, id="a head too large"),
        pytest.param(head(MAX_HEAD * 2)[:-4], 0, 431, id="no end of a head"),
        pytest.param(lines(MAX_LINES + 1), 0, 431, id="a line too many"),
        pytest.param(lines(MAX_LINES + 2)[:-2], 0, 431, id="no end of the lines"),
        pytest.param(
            head(MAX_HEAD + 5)[:-4] + b"\0", 0, 431, id="NUL after the limit of a head"
        ),
        pytest.param(
            head(MAX_HEAD + 3)[:-4] + b"\0", 0, 400, id="NUL before the limit of a head"
        ),
        pytest.param(
            b"a" * (MAX_REQUEST_LINE + 2) + b"\n", 0, 414, id="LF after a line too long"
        ),
        pytest.param(GET + head(MAX_HEAD + 1), 1, 431, id="a second head too large"),
    ],
)
def test_refuses(raw: bytes, heads: int, status: int, step: int) -> None:
    """What cannot become a head is refused, for the same reason at every chunking."""
    outcome = pass_gate(cut(raw, step))

    assert (len(outcome.heads), outcome.status) == (heads, status)


@pytest.mark.parametrize(
    ("raw", "refused_at"),
    [
        pytest.param(b"GET /\0aaa", 6, id="NUL"),
        pytest.param(b"GET /\naaa", 6, id="a bare LF"),
        pytest.param(b"GET /\raaa", 7, id="a bare CR, by the byte after it"),
        pytest.param(b"a" * 9000, MAX_REQUEST_LINE + 2, id="a line without end"),
        pytest.param(head(MAX_HEAD * 2), MAX_HEAD + 1, id="a head without end"),
    ],
)
def test_refuses_as_soon_as_can_be(raw: bytes, refused_at: int) -> None:
    """Nothing more is read, or held, of what is lost already."""
    gate = Gate()
    for each in cut(raw[: refused_at - 1], 1):
        gate.feed(each)
        assert gate.take_head() is None
    gate.feed(raw[refused_at - 1 : refused_at])

    with pytest.raises(ProtocolError):
        gate.take_head()


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(GET, b"GET / HTTP/1.1", id="a whole head"),
        pytest.param(b"GET /a", b"GET /a", id="half a line"),
        pytest.param(b"\r\n\r\nGET /", b"GET /", id="empty lines before"),
        pytest.param(b"GET /\0\r\nx", b"GET /\0", id="what was refused"),
        pytest.param(b"a" * 9000, b"a" * MAX_REQUEST_LINE, id="a line without end"),
    ],
)
def test_first_line_is_there_for_the_log(raw: bytes, line: bytes) -> None:
    """Whatever was sent, one line of it can be told, and nothing is taken."""
    gate = Gate()
    gate.feed(raw)

    assert gate.first_line() == line
    assert len(gate) == len(raw)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"GET / HTTP/2.0", id="another version"),
        pytest.param(b"GET /", id="no version"),
        pytest.param(b"GET / HTTP/1.1\0", id="NUL"),
    ],
)
def test_refused_line_stays_there_for_the_log(line: bytes) -> None:
    """What was refused can be told afterwards, and not what follows it."""
    gate = Gate()
    gate.feed(line + b"\r\n\r\n" + GET)

    with pytest.raises(ProtocolError):
        gate.take_head()
    assert gate.first_line() == line


FRAGMENTS = st.sampled_from(
    (
        *(b"\r\n", b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b"\0", b"\xff", b"a"),
        *(b"GET / HTTP/1.1\r\n", b"GET / HTTP/2.0\r\n", b"Host: x", b"Host: x\r\n\r\n"),
        *(b"GET ", b"/", b" HTTP/1.0\r\n", b"\r\n\r\n", b"X: " + b"x" * 6000),
        *(b"b: c\r\n" * 60, b"Content-Length: 1\r\n"),
    )
)


@given(st.lists(FRAGMENTS, max_size=12), st.integers(1, 40))
@settings(deadline=None, max_examples=150)
def test_any_bytes_come_to_the_same_at_every_chunking(
    fragments: list[bytes], step: int
) -> None:
    """Where the network cuts a stream decides nothing, and only one error escapes."""
    raw = b"".join(fragments)
    whole = pass_gate([raw])

    assert pass_gate(fragments) == whole
    assert pass_gate(cut(raw, step)) == whole
    if len(raw) < 500:
        assert pass_gate(cut(raw, 1)) == whole
    # Nothing is lost, added or taken twice: but for one empty line before each
    # head, the heads and what is left are the input.
    position = 0
    for taken in whole.heads:
        if raw.startswith(b"\r\n", position):
            position += 2
        assert raw.startswith(taken, position)
        assert taken.index(b"\r\n\r\n") == len(taken) - 4
        position += len(taken)
    skipped = len(raw) - position - whole.left
    assert raw[position : position + skipped] in (b"", b"\r\n")


HEADS = st.lists(
    st.tuples(
        st.sampled_from((b"", b"\r\n")),
        st.sampled_from((GET, HEAD, lines(9), head(200), request_line(300))),
    ),
    max_size=5,
)


@given(HEADS, st.sampled_from((b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n")))
@settings(deadline=None, max_examples=100)
def test_pipelined_heads_come_out_one_by_one(
    pairs: list[tuple[bytes, bytes]], rest: bytes
) -> None:
    """Each of several heads comes out as it went in, and the last part stays."""
    raw = b"".join(before + each for before, each in pairs) + rest

    for step in (1, 7, WHOLE):
        outcome = pass_gate(cut(raw, step))
        assert outcome == ([each for _, each in pairs], None, len(rest))
