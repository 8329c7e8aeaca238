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
    reduce_head,
)
from sendfile_server.semantics.ranges import Positions, format_range, parse_ranges
from sendfile_server.semantics.requests import KEPT_FIELDS, Request

HOST = b"\r\nHost: x"
END = b"\r\n\r\n"


LINE = b"GET / HTTP/1.1"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(LINE + HOST + END, (LINE, HOST + END), id="whole"),
        pytest.param(LINE + END, (LINE, END), id="no fields"),
        pytest.param(
            *(b"HEAD /a?b HTTP/1.1" + END, (b"HEAD /a?b HTTP/1.1", END)), id="HEAD"
        ),
        pytest.param(b"\r\n" + LINE + END, None, id="an empty line before"),
        pytest.param(b"POST / HTTP/1.1" + END, None, id="another method"),
        pytest.param(b"GET / HTTP/1.0" + END, None, id="another version"),
        pytest.param(b"GET /\xff HTTP/1.1" + END, None, id="target is not ASCII"),
        pytest.param(b"GET  / HTTP/1.1" + END, None, id="two blanks"),
        pytest.param(LINE + b"\r\nA: " + b"b" * 16361 + END, (LINE, END), id="longest"),
        pytest.param(LINE + b"\r\nA: " + b"b" * 16362 + END, None, id="too long"),
        pytest.param(LINE + HOST + b"\r\n", None, id="not yet whole"),
        pytest.param(LINE + END + b"G", None, id="more than one"),
        pytest.param(LINE + END + b"\r\n", None, id="an empty line after"),
        pytest.param(LINE + END + LINE + END, None, id="two"),
        pytest.param(b"\r\n\r", None, id="too short"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_only_one_whole_head_is_reduced(
    data: bytes, expected: tuple[bytes, bytes] | None
) -> None:
    """Anything but the head of one GET or HEAD is left to the gate."""
    assert reduce_head(data) == expected


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"Cookie: a", id="cookie"),
        pytest.param(b"cookie:a", id="no blank"),
        pytest.param(b"Cookie:", id="empty value"),
        pytest.param(b"Cookie: a\tb \xff", id="every byte of a value"),
        pytest.param(b"If-Nothing: a", id="begins as a kept one"),
        pytest.param(b"X-Host: a", id="ends as a kept one"),
        pytest.param(b"Hosts: a", id="longer than a kept one"),
        pytest.param(b"Accept: a", id="not kept"),
    ],
)
def test_lines_that_change_nothing_are_cut_out(line: bytes) -> None:
    """Wherever they are."""
    for lines in ((line, b"Host: x"), (b"Host: x", line), (line, b"Host: x", line)):
        head = b"\r\n".join((LINE, *lines)) + END
        assert reduce_head(head) == (LINE, HOST + END)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"Cookie : a", id="blank before colon"),
        pytest.param(b"Cookie", id="no colon"),
        pytest.param(b": a", id="no name"),
        pytest.param(b"Cookie: a\0", id="NUL"),
        pytest.param(b"Cookie: a\x7f", id="DEL"),
        pytest.param(b"Cookie: a\x0b", id="VT"),
        pytest.param(b"Cookie: a\nb", id="bare LF"),
        pytest.param(b"Cookie: a\n", id="bare LF at the end"),
        pytest.param(b"Cookie: a\rb", id="bare CR"),
        pytest.param(b"Cookie: a\rb\nc", id="bare CR, then bare LF"),
        pytest.param(b"Cookie: a\r\n b", id="fold"),
        pytest.param(b"Cookie: a\r\n\tb", id="tab fold"),
        pytest.param(b" Cookie: a", id="blank before"),
        pytest.param(b"Range : bytes=0-", id="blank before the colon of a kept one"),
        pytest.param(b"If-Match: a\0", id="NUL in a kept one"),
    ],
)
def test_malformed_line_is_left_to_the_parser(lines: bytes) -> None:
    """Nothing goes, and nothing is found, where h11 would not accept a line."""
    assert reduce_head(LINE + HOST + b"\r\n" + lines + END) is None
    assert reduce_head(LINE + b"\r\n" + lines + HOST + END) is None


def test_kept_lines_stay() -> None:
    """Every field that a request exposes is left as it came, to a sane number."""
    names = sorted(KEPT_FIELDS)
    for write in (bytes.title, bytes.lower, bytes.upper):
        for begin in range(0, len(names), 7):
            kept = b"".join(b"\r\n%s: v" % write(each) for each in names[begin:][:7])
            head = LINE + b"\r\nVia: a" + kept + b"\r\nVia: a" + END
            assert reduce_head(head) == (LINE, kept + END)
    assert reduce_head(LINE + HOST * 8 + END) is None


def test_no_more_lines_than_the_gate_lets_pass() -> None:
    """With a range, which is cut out before."""
    part = b"\r\nRange: bytes=0-1"
    for count, is_reduced in ((97, True), (98, False)):
        lines = HOST + b"\r\nA: b" * count + END
        assert (_request(LINE + part + lines) is not None) is is_reduced
        assert (reduce_head(LINE + lines) is not None) is is_reduced


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
        (b"GET /" + b"a" * 8178 + b" HTTP/1.1", (b"GET", b"/" + b"a" * 8178)),
        (b"GET /" + b"a" * 8179 + b" HTTP/1.1", None),
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
    reduced = reduce_head(head)
    request = _request(b"".join(reduced)) if reduced else None
    if request:
        assert _request(head) == request


@given(heads())
@example(b"GET / HTTP/1.1\r\nHost: x\r\nIf-Range: a\r\n\r\n")
def test_holes_put_back_are_the_same_request(head: bytes) -> None:
    """If the form without holes is accepted, the values complete its fields."""
    reduced = reduce_head(head)
    holes = cut_holes(reduced[1]) if reduced else None
    if reduced is None or holes is None:
        return
    shape, values = holes
    base = _request(LINE + shape)
    if base and not any(name in base.fields for name in values):
        request = _request(LINE + reduced[1])
        assert request is not None
        assert request.fields == {**base.fields, **values}
        assert request.keeps_alive == base.keeps_alive


@given(heads())
@example(b"GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\nRange: a\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nRange: bytes=0-1\r\nA: b\r\n\r\n")
def test_range_put_back_is_the_same_request(head: bytes) -> None:
    """If a head without its range is accepted, the range completes its fields."""
    cut = cut_range(head)
    base = _request(cut[0]) if cut and reduce_head(cut[0]) else None
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
