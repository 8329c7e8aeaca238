"""Byte ranges (RFC 9110 section 14).

Inside, a range is half-open like `range` and slices; the inclusive numbers of
the protocol exist only in this file.
"""

import re
from dataclasses import dataclass

Positions = tuple[int | None, int | None]
"""The first and the last position of one range, as it is asked for.

One may be missing: the last is that of the file, or the last *n* bytes are meant.
"""

MAX_RANGES = 100
"""A request for more ranges than this is answered with the whole file."""

# Any number of digits is a number, but int() refuses the longest of them
# (sys.get_int_max_str_digits) and no file is as long as this.
_BEYOND_ANY_FILE = 10**19
_UNIT = re.compile(rb"(?i:bytes)=(?![ \t])")
_RANGE_SPEC = re.compile(rb"(?P<first>[0-9]+)-(?P<last>[0-9]*)|-(?P<suffix>[0-9]+)")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes *start* up to, not including, *stop* of a file; never empty."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def parse_ranges(value: bytes, size: int) -> tuple[Span, ...] | None:
    """Return the spans of a *size*-byte file that a Range field asks for.

    None means that the field is to be ignored: another unit, a broken grammar,
    a last position before its first, too many ranges. No span at all means that
    none is satisfiable. Spans that overlap or touch are one; they come in the
    order in which they were first asked for.
    """
    unit = _UNIT.match(value)
    if not unit:
        return None
    specs = [spec.strip(b" \t") for spec in value[unit.end() :].split(b",")]
    specs = [spec for spec in specs if spec]
    if not specs or len(specs) > MAX_RANGES:
        return None
    spans = []
    for spec in specs:
        match = _RANGE_SPEC.fullmatch(spec)
        if not match:
            return None
        if match["suffix"] is not None:
            count = _number(match["suffix"])
            if count and not size:
                # Satisfiable by the letter, yet no Content-Range can say so.
                return None
            start, stop = max(0, size - count), size
        else:
            start = _number(match["first"])
            stop = _number(match["last"]) + 1 if match["last"] else _BEYOND_ANY_FILE
            if match["last"] and stop <= start:
                return None
        if start < min(stop, size):
            spans.append(Span(start, min(stop, size)))
    return _merge(spans)


def format_range(positions: Positions) -> bytes:
    """Return the Range value that asks for *positions*."""
    ends = [b"" if end is None else b"%d" % end for end in positions]
    return b"bytes=" + b"-".join(ends)


def format_content_range(span: Span, size: int) -> bytes:
    """Return the Content-Range value of *span* in a *size*-byte file."""
    return b"bytes %d-%d/%d" % (span.start, span.stop - 1, size)


def format_unsatisfied_range(size: int) -> bytes:
    """Return the Content-Range value of a 416 for a *size*-byte file."""
    return b"bytes */%d" % size


def _number(digits: bytes) -> int:
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) < 20 else _BEYOND_ANY_FILE


def _merge(spans: list[Span]) -> tuple[Span, ...]:
    merged: list[tuple[int, Span]] = []
    for order, span in sorted(enumerate(spans), key=lambda item: item[1].start):
        if merged and span.start <= merged[-1][1].stop:
            first, last = merged[-1]
            union = Span(last.start, max(last.stop, span.stop))
            merged[-1] = (min(first, order), union)
        else:
            merged.append((order, span))
    return tuple(span for _, span in sorted(merged, key=lambda item: item[0]))
