"""Reduction: what it cuts out changes no request, and it cuts out no more."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sendfile_server.errors import ProtocolError
from sendfile_server.protocol.gate import Gate
from sendfile_server.protocol.parser import parse_head
from sendfile_server.protocol.reduction import (
    cut_holes,
    cut_range,
    parse_request_line,
    reduce_tail,
    room_for_lines,
    split_head,
)
from sendfile_server.semantics.ranges import Positions, format_range, parse_ranges
from sendfile_server.semantics.requests import KEPT_FIELDS, Request

HOST = b"\r\nHost: x"
END = b"\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nA: b\r\n\r\n", b"GET / HTTP/1.1", id="whole"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1", id="no fields"),
        pytest.param(b"\r\nGET / HTTP/1.1\r\n\r\n", b"", id="an empty line before"),
        pytest.param(b"G" * 8192 + END, b"G" * 8192, id="longest line"),
        pytest.param(b"G" * 8193 + END, None, id="line too long"),
        pytest.param(b"G\r\nA: " + b"b" * 16374 + END, b"G", id="longest head"),
        pytest.param(b"G\r\nA: " + b"b" * 16375 + END, None, id="head too long"),
        pytest.param(b"GET / HTTP/1.1\r\n", None, id="not yet whole"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\nG", None, id="more than one"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n\r\n", None, id="an empty line after"),
        pytest.param(b"a\r\n\r\nb\r\n\r\n", None, id="two"),
        pytest.param(b"\r\n\r", None, id="too short"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_only_one_whole_head_is_split(data: bytes, expected: bytes | None) -> None:
    """Line and tail are the head; anything else is left to the gate."""
    parts = split_head(data)
    if expected is None:
        assert parts is None
    else:
        assert parts == (expected, data[len(expected) :])


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        pytest.param(b"\r\nCookie: a", b"", id="cookie"),
        pytest.param(b"\r\ncookie:a", b"", id="no blank"),
        pytest.param(b"\r\nCookie:", b"", id="empty value"),
        pytest.param(b"\r\nCookie: a\tb \xff", b"", id="every byte of a value"),
        pytest.param(b"\r\nIf-Nothing: a", b"", id="begins as a kept one"),
        pytest.param(b"\r\nX-Host: a", b"", id="ends as a kept one"),
        pytest.param(b"\r\nHosts: a", b"", id="longer than a kept one"),
        pytest.param(b"\r\nrAnGe: bytes=0-", b"\r\nrAnGe: bytes=0-", id="any case"),
        pytest.param(b"\r\nCookie : a", b"\r\nCookie : a", id="blank before colon"),
        pytest.param(b"\r\nCookie", b"\r\nCookie", id="no colon"),
        pytest.param(b"\r\n: a", b"\r\n: a", id="no name"),
        pytest.param(b"\r\nCookie: a\0", b"\r\nCookie: a\0", id="NUL"),
        pytest.param(b"\r\nCookie: a\x7f", b"\r\nCookie: a\x7f", id="DEL"),
        pytest.param(b"\r\nCookie: a\nb", b"\r\nCookie: a\nb", id="bare LF"),
        pytest.param(b"\r\nCookie: a\rb", b"\r\nCookie: a\rb", id="bare CR"),
        pytest.param(b"\r\nCookie: a\r\n b", b"\r\nCookie: a\r\n b", id="fold"),
        pytest.param(b"\r\nCookie: a\r\n\tb", b"\r\nCookie: a\r\n\tb", id="tab fold"),
        pytest.param(b"\r\n Cookie: a", b"\r\n Cookie: a", id="blank before"),
    ],
)
def test_lines_that_change_nothing_are_cut_out(lines: bytes, left: bytes) -> None:
    """Only a line that h11 accepts, and that no `Request` shows, goes."""
    reduced, dropped = reduce_tail(HOST + lines + END)
    assert reduced == HOST + left + END
    assert dropped == (0 if left else 1)


def test_kept_lines_stay() -> None:
    """Every field that a request exposes is left as it came."""
    kept = b"".join(b"\r\n%s: v" % name.title() for name in sorted(KEPT_FIELDS))
    assert reduce_tail(kept + b"\r\nVia: a" + END) == (kept + END, 1)


def test_room_is_what_the_gate_leaves() -> None:
    """As many lines may have been dropped as the gate lets pass beside a range."""
    room = room_for_lines(HOST + END)
    for count, is_accepted in ((room, True), (room + 1, False)):
        lines = b"\r\nRange: bytes=0-1" + b"\r\nA: b" * count
        head = b"GET / HTTP/1.1" + HOST + lines + END
        assert (_request(head) is not None) is is_accepted


@pytest.mark.parametrize(
    ("reduced", "expected"),
    [
        pytest.param(HOST + END, None, id="none"),
        pytest.param(
            HOST + b"\r\nRange: bytes=0-1" + END, None, id="a range, cut elsewhere"
        ),
        pytest.param(
            b'\r\nif-none-match:\t"a", W/"b" \t' + HOST + END,
            (HOST + END, {b"if-none-match": b'"a", W/"b"'}),
            id="blanks around the value",
        ),
        pytest.param(
            b'\r\nIf-Range: "a"\r\nIf-None-Match: "b"' + HOST + END,
            (HOST + END, {b"if-range": b'"a"', b"if-none-match": b'"b"'}),
            id="two",
        ),
        pytest.param(
            b'\r\nIf-Range: "a"\r\nIf-Range: "b"' + HOST + END, None, id="twice"
        ),
        pytest.param(HOST + b"\r\nIf-Range:" + END, None, id="empty"),
        pytest.param(HOST + b"\r\nIf-Range: \xff" + END, None, id="not ASCII"),
        pytest.param(HOST + b"\r\nIf-Range: a\r\n b" + END, None, id="folded"),
    ],
)
def test_holes_are_cut_out(
    reduced: bytes, expected: tuple[bytes, dict[bytes, bytes]] | None
) -> None:
    """Values of one line of printable ASCII each, without the blanks around."""
    assert cut_holes(reduced) == expected


@pytest.mark.parametrize(
    ("lines", "left", "positions"),
    [
        pytest.param(b"\r\nRange: bytes=0-1", b"", (0, 1), id="first and last"),
        pytest.param(b"\r\nrANGE:bytes=7-", b"", (7, None), id="to the end"),
        pytest.param(b"\r\nRange: \tbytes=-3 \t", b"", (None, 3), id="last bytes"),
        pytest.param(b"\r\nRange: bytes=007-3", b"", (7, 3), id="backwards"),
        pytest.param(
            *(b"\r\nRange: bytes=0-1\r\nRange: bytes=2-3",),
            *(b"\r\nRange: bytes=2-3", (0, 1)),
            id="only the first of two",
        ),
        pytest.param(b"", b"", None, id="none"),
        pytest.param(b"\r\nRange: bytes=-", b"", None, id="no number"),
        pytest.param(b"\r\nRange: bytes=0-1,3-4", b"", None, id="several"),
        pytest.param(b"\r\nRange: bytes=0 -1", b"", None, id="blank"),
        pytest.param(b"\r\nRange: Bytes=0-1", b"", None, id="unit in capitals"),
        pytest.param(b"\r\nRange: lines=0-1", b"", None, id="another unit"),
        pytest.param(b"\r\nRange : bytes=0-1", b"", None, id="blank before colon"),
        pytest.param(b"\r\nRange: bytes=0-1\r\n 2", b"", None, id="folded"),
        pytest.param(END + b"Range: bytes=0-1", b"", None, id="in the next message"),
        pytest.param(
            b"\r\nRange: bytes=0-1\r\nA: " + b"b" * 16335, b"", None, id="too large"
        ),
        pytest.param(
            b"\r\nRange: bytes=0-" + b"9" * 18, b"", (0, 10**18 - 1), id="18 digits"
        ),
        pytest.param(b"\r\nRange: bytes=0-" + b"9" * 19, b"", None, id="19 digits"),
    ],
)
def test_one_plain_range_is_cut_out(
    lines: bytes, left: bytes, positions: Positions | None
) -> None:
    """A line of its own within the head, whose numbers fit a file; else none."""
    head = b"GET / HTTP/1.1" + lines + HOST + END
    expected = positions and (b"GET / HTTP/1.1" + left + HOST + END, positions)
    assert cut_range(head) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET / HTTP/1.1", (b"GET", b"/")),
        (b"HEAD /a?b HTTP/1.1", (b"HEAD", b"/a?b")),
        (b"GET http://x/ HTTP/1.1", (b"GET", b"http://x/")),
        (b"POST / HTTP/1.1", None),
        (b"get / HTTP/1.1", None),
        (b"GET / HTTP/1.0", None),
        (b"GET  / HTTP/1.1", None),
        (b"GET /\xff HTTP/1.1", None),
        (b"GET / HTTP/1.1 ", None),
        (b"GET / HTTP/1.1\n", None),
        (b"GET /a b HTTP/1.1", None),
    ],
)
def test_request_line_is_parsed(
    line: bytes, expected: tuple[bytes, bytes] | None
) -> None:
    """GET and HEAD in HTTP/1.1 only; the rest goes the whole way."""
    assert parse_request_line(line) == expected


VALID = st.sampled_from(
    [
        *(b"Cookie: a", b"X-Y: 1", b"user-agent:u", b"Accept: b", b"Accept: c"),
        *(b"Range: bytes=0-1", b"range:bytes=2-", b'If-None-Match: "a"', b"Via: "),
        *(b'if-none-match: "b" ', b"If-Modified-Since: \xff", b'If-Range: "a"'),
        *(b"Connection: close", b"Connection: keep-alive", b"Authorization: d"),
    ]
)
FRAGMENTS = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b" ",
            b"\t",
            b":",
            b"\0",
            b"\x01",
            b"\xff",
        ),
        *(b"Cookie", b" evil", b"hOsT: y", b"GET /b HTTP/1.1", b"\r\nX: 1\r\n 2"),
        *(b"Transfer-Encoding: chunked", b"Content-Length: 3", b"\r\nRange:"),
    ]
)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Draw a head that is valid but for some strange bytes, often at a line's end."""
    lines = [b"Host: x", *draw(st.lists(VALID, max_size=6))]
    head = b"\r\n".join([b"GET / HTTP/1.1", *draw(st.permutations(lines)), b"", b""])
    for fragment in draw(st.lists(FRAGMENTS, max_size=2)):
        ends = [match.end() for match in re.finditer(b"\r\n", head)]
        places = st.one_of(st.sampled_from(ends), st.integers(0, len(head)))
        place = draw(places)
        head = head[:place] + fragment + head[place:]
    return head


@given(heads())
@example(b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nCookie: a\r\n")
def test_reduced_head_is_the_same_request(head: bytes) -> None:
    """If the reduced form is accepted, so is the head, as the same request."""
    parts = split_head(head)
    if parts is None:
        return
    reduced, dropped = reduce_tail(parts[1])
    request = _request(parts[0] + reduced)
    if request and dropped <= room_for_lines(reduced):
        assert _request(head) == request


@given(heads())
@example(b"GET / HTTP/1.1\r\nHost: x\r\nRange: a\r\n\r\n")
def test_holes_put_back_are_the_same_request(head: bytes) -> None:
    """If the form without holes is accepted, the values complete its fields."""
    parts = split_head(head)
    holes = cut_holes(reduce_tail(parts[1])[0]) if parts else None
    if parts is None or holes is None:
        return
    shape, values = holes
    base = _request(b"GET / HTTP/1.1" + shape)
    if base and not any(name in base.fields for name in values):
        request = _request(b"GET / HTTP/1.1" + parts[1])
        assert request is not None
        assert request.fields == {**base.fields, **values}
        assert request.keeps_alive == base.keeps_alive


@given(heads())
@example(b"GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nRange: a\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nRange: bytes=0-1\r\nA: b\r\n\r\n")
def test_range_put_back_is_the_same_request(head: bytes) -> None:
    """If a head without its range is accepted, the range completes its fields."""
    cut = cut_range(head)
    base = _request(cut[0]) if cut and split_head(cut[0]) else None
    if cut is None or base is None or b"range" in base.fields:
        return
    request = _request(head)
    assert request is not None
    asked = parse_ranges(request.fields[b"range"], 10)
    assert parse_ranges(format_range(cut[1]), 10) == asked
    assert {**request.fields, b"range": b""} == {**base.fields, b"range": b""}
    assert request.keeps_alive == base.keeps_alive


def _request(head: bytes) -> Request | None:
    """Return what the gate and h11 make of *head*; None if they refuse it."""
    gate = Gate()
    gate.feed(head)
    try:
        taken = gate.take_head()
        assert taken is None or taken == head
        return parse_head(taken) if taken else None
    except ProtocolError:
        return None
