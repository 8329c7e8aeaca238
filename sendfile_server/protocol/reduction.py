"""What of a head can change its answer: the request line, and a few field lines.

A `Request` exposes the fields of `KEPT_FIELDS` and no other, so heads that differ
in other lines only are the same request. Here such lines are cut out, and the
values that vary most, so that what is left can be looked up instead of parsed.

Every expression here is narrower than the gate and h11: what it does not match
stays, is not found, and is parsed. A line is cut out only if h11 would accept it.
"""

import re

from sendfile_server.protocol.gate import MAX_HEAD, MAX_LINES, MAX_REQUEST_LINE
from sendfile_server.semantics.ranges import Positions
from sendfile_server.semantics.requests import KEPT_FIELDS

_HOLES = (b"if-none-match", b"if-modified-since", b"if-range")

# The first letters of the kept names come first: most other names have others.
_KEPT = b"|".join(sorted(KEPT_FIELDS))
_INITIALS = bytes(
    {ord(c) for name in KEPT_FIELDS for c in (name[:1], name[:1].upper())}
)
_TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]++"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
# Neither what is folded nor the empty line at the end.
_LINE_GOES_ON = rb"(?=\r\n[^\t ])"
_DROPPED_LINE = re.compile(
    rb"\r\n(?:(?![%s])|(?!(?i:%s):))%s:%s%s"
    % (_INITIALS, _KEPT, _TOKEN, _VALUE, _LINE_GOES_ON)
)
_HOLE_LINE = re.compile(
    rb"\r\n(?i:(%s)):[\t ]*+([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)[\t ]*+%s"
    % (b"|".join(_HOLES), _LINE_GOES_ON)
)
# Not after the empty line, which would make it a line of the next message. (To
# look behind first would make the search three times as slow.)
_RANGE_LINE = re.compile(
    rb"\r\n(?<!\n\r\n)(?i:range):[\t ]*+bytes=([0-9]{0,18})-([0-9]{0,18})[\t ]*+"
    + _LINE_GOES_ON
)
_REQUEST_LINE = re.compile(rb"(GET|HEAD) ([\x21-\x7e]+) HTTP/1\.1")


def split_head(data: bytes) -> tuple[bytes, bytes] | None:
    """Return the request line and the rest, if *data* is one whole head.

    The rest is the tail: it begins with the line end of the request line and
    ends with the empty line.
    """
    if data.find(b"\r\n\r\n") != len(data) - 4 or not 4 <= len(data) <= MAX_HEAD:
        return None
    end = data.find(b"\r\n")
    return (data[:end], data[end:]) if end <= MAX_REQUEST_LINE else None


def reduce_tail(tail: bytes) -> tuple[bytes, int]:
    """Return *tail* without the lines that change no answer, and their number."""
    return _DROPPED_LINE.subn(b"", tail)


def room_for_lines(reduced: bytes) -> int:
    """Return how many dropped lines a head may have had beside those left.

    One place is kept for its range.
    """
    # The line ends of the request line and of the empty line count as in the gate.
    return MAX_LINES - reduced.count(b"\r\n")


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
    match = _REQUEST_LINE.fullmatch(line)
    return (match[1], match[2]) if match else None
