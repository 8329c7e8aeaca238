"""What of a head can change its answer: the request line, and a few field lines.

A `Request` exposes the fields of `KEPT_FIELDS` and no other, so heads that differ
in other lines only are the same request. Here such lines are cut out, and the
values that vary most, so that what is left can be looked up instead of parsed.

Every expression here is narrower than the gate and h11: what it does not match
stays, is not found, and is parsed. A line is cut out only if h11 would accept it.
"""

import re
from itertools import groupby

from sendfile_server.protocol.gate import MAX_HEAD, MAX_LINES, MAX_REQUEST_LINE
from sendfile_server.semantics.ranges import Positions
from sendfile_server.semantics.requests import KEPT_FIELDS

_HOLES = (b"if-none-match", b"if-modified-since", b"if-range")
# More are in no head of a browser; whatever has more is parsed.
_MOST_KEPT_LINES = 7

_REQUEST_LINE = rb"(?:GET|HEAD) [\x21-\x7e]++ HTTP/1\.1"
_NAME = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]++"
# Whatever is no line end; `_TEXT` is what it may be, looked at in one go.
_VALUE = rb"[^\r]*+"
_TEXT = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
# As often as it matches, or once, and never given back. Before Python 3.11.5, what is
# possessive also takes what an attempt that failed has matched (gh-100061, gh-106052);
# atomic groups are right there, too, and slower.
_POSSESSIVE, _ATOMIC = (b"(?:%s)*+", b"(?:%s)?+"), (b"(?>(?:%s)*)", b"(?>(?:%s)?)")
_ANY, _ONCE = _ATOMIC if re.fullmatch(b"(?:ab?c)*+", b"aca") else _POSSESSIVE
# What is left of a head without its text. The gate lets one more pass; that may be
# the line of a range, which was cut out.
_LINE_ENDS = frozenset(b"\r\n" * count for count in range(MAX_LINES + 1))


def _compile_head() -> re.Pattern[bytes]:
    """Return what matches a whole head; its groups are all that is left of it.

    As every repetition is possessive, each byte is looked at once or twice.
    """
    # By initials, because most names that aren't kept differ in those.
    by_initial = [
        (initial, b"|".join(name[1:] for name in names))
        for initial, names in groupby(sorted(KEPT_FIELDS), lambda name: name[:1])
    ]
    kept = b"|".join(
        b"[%s%s](?i:%s)" % (each.upper(), each, rests) for each, rests in by_initial
    )
    initials = b"".join(each.upper() + each for each, _ in by_initial)
    dropped_line = rb"\r\n(?!(?=[%s])(?:%s):)%s:%s" % (initials, kept, _NAME, _VALUE)
    line = rb"\r\n%s:%s" % (_NAME, _VALUE)
    # After dropped lines, the next is kept; if there is one.
    dropped, lines = _ANY % dropped_line, b""
    for _ in range(_MOST_KEPT_LINES):
        lines = _ONCE % (b"(%s)%s%s" % (line, dropped, lines))
    return re.compile(b"(%s)%s%s(\r\n\r\n)" % (_REQUEST_LINE, dropped, lines))


_HEAD = _compile_head()
_HOLE_LINE = re.compile(
    rb"\r\n(?i:(%s)):[\t ]*+([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)[\t ]*+(?=\r\n)"
    % b"|".join(_HOLES)
)
# Neither folded, nor after the empty line, which would make it a line of the next
# message. (To look behind first would make the search three times as slow.)
_RANGE_LINE = re.compile(
    rb"\r\n(?<!\n\r\n)(?i:range):[\t ]*+bytes=([0-9]{0,18})-([0-9]{0,18})[\t ]*+"
    rb"(?=\r\n[^\t ])"
)
_METHOD_AND_TARGET = re.compile(rb"(GET|HEAD) ([\x21-\x7e]+) HTTP/1\.1")


def reduce_head(data: bytes) -> tuple[bytes, bytes] | None:
    """Return the request line and the reduced tail of *data*, if it is one head.

    The tail is what follows the request line, from its line end to the empty line;
    reduced, without the lines that change no answer. None as well if h11 would not
    accept a line, or if no request like this is ever remembered.
    """
    if len(data) > MAX_HEAD:
        return None
    match = _HEAD.fullmatch(data)
    if match is None or data.translate(None, _TEXT) not in _LINE_ENDS:
        return None
    left = match.groups(b"")
    return left[0], b"".join(left[1:])


def cut_range(head: bytes) -> tuple[bytes, Positions] | None:
    """Return *head* without its one range, and the positions of that.

    None if there is no range of this plain form. *head* may be anything, but is
    one whole head if what is left of it is.
    """
    match = _RANGE_LINE.search(head)
    if match is None or len(head) > MAX_HEAD:
        return None
    first, last = match.groups()
    if not (first or last):
        return None
    start, stop = match.span()
    positions = (int(first) if first else None, int(last) if last else None)
    return head[:start] + head[stop:], positions


def cut_holes(reduced: bytes) -> tuple[bytes, dict[bytes, bytes]] | None:
    """Return a reduced tail without its conditions, and their values by field name.

    None if there is none, or one twice.
    """
    lines = _HOLE_LINE.findall(reduced)
    values = {name.lower(): value for name, value in lines}
    if not lines or len(values) != len(lines):
        return None
    return _HOLE_LINE.sub(b"", reduced), values


def parse_request_line(line: bytes) -> tuple[bytes, bytes] | None:
    """Return method and target of a GET or HEAD in HTTP/1.1, or None."""
    match = _METHOD_AND_TARGET.fullmatch(line)
    return (match[1], match[2]) if match and len(line) <= MAX_REQUEST_LINE else None
