"""Byte ranges (RFC 9110 section 14)."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sendfile_server.semantics.ranges import (
    MAX_RANGES,
    Positions,
    Span,
    format_content_range,
    format_range,
    format_unsatisfied_range,
    parse_ranges,
)

SIZE = 10
WHOLE = ((0, 10),)


def parse(value: bytes, size: int = SIZE) -> tuple[tuple[int, int], ...] | None:
    spans = parse_ranges(value, size)
    return None if spans is None else tuple((each.start, each.stop) for each in spans)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"bytes=0-0", ((0, 1),), id="the first byte"),
        pytest.param(b"bytes=9-9", ((9, 10),), id="the last byte"),
        pytest.param(b"bytes=9-", ((9, 10),), id="the last byte as an open range"),
        pytest.param(b"bytes=-1", ((9, 10),), id="the last byte as a suffix"),
        pytest.param(b"bytes=2-4", ((2, 5),), id="a last position is inclusive"),
        pytest.param(b"bytes=0-9", WHOLE, id="all of it"),
        pytest.param(b"bytes=0-", WHOLE, id="all of it as an open range"),
        pytest.param(b"bytes=-10", WHOLE, id="all of it as a suffix"),
        pytest.param(b"bytes=0-10", WHOLE, id="a last position just past the end"),
        pytest.param(b"bytes=-11", WHOLE, id="a suffix just longer than the file"),
        pytest.param(b"bytes=-20", WHOLE, id="a suffix longer than the file"),
        pytest.param(b"bytes=007-08", ((7, 9),), id="leading zeros"),
        pytest.param(b"bytes=3-" + b"9" * 60, ((3, 10),), id="60 digits"),
        pytest.param(b"bytes=3-" + b"9" * 5000, ((3, 10),), id="5000 digits"),
        pytest.param(b"bytes=-" + b"9" * 5000, WHOLE, id="a suffix of 5000 digits"),
        pytest.param(
            b"bytes=" + b"0" * 5000 + b"3-4", ((3, 5),), id="5000 leading zeros"
        ),
        pytest.param(b"bytes=0-18446744073709551616", WHOLE, id="no wrap at 64 bits"),
        pytest.param(b"BYTES=1-2", ((1, 3),), id="the unit in capitals"),
        pytest.param(b"Bytes=1-2", ((1, 3),), id="the unit in both cases"),
        pytest.param(b"bytes=1-2,", ((1, 3),), id="a trailing comma"),
        pytest.param(b"bytes=,1-2", ((1, 3),), id="a leading comma"),
        pytest.param(b"bytes=,\t, 1-2 ,,", ((1, 3),), id="empty elements and blanks"),
        pytest.param(b"bytes=0-0,-1", ((0, 1), (9, 10)), id="first and last"),
        pytest.param(b"bytes=0-1 \t,\t 4-5", ((0, 2), (4, 6)), id="blanks around"),
        pytest.param(b"bytes=8-8,0-0,4-4", ((8, 9), (0, 1), (4, 5)), id="order kept"),
        pytest.param(b"bytes=0-5,3-7", ((0, 8),), id="overlapping are one"),
        pytest.param(b"bytes=3-7,0-5", ((0, 8),), id="overlapping backwards are one"),
        pytest.param(b"bytes=0-2,3-5", ((0, 6),), id="touching are one"),
        pytest.param(b"bytes=3-5,0-2", ((0, 6),), id="touching backwards are one"),
        pytest.param(b"bytes=0-2,4-5", ((0, 3), (4, 6)), id="a gap of one stays"),
        pytest.param(b"bytes=1-1,1-1", ((1, 2),), id="one asked for twice"),
        pytest.param(b"bytes=0-9,4-5", WHOLE, id="one inside another"),
        pytest.param(b"bytes=0-1,4-5,2-3", ((0, 6),), id="a bridge joins its banks"),
        pytest.param(
            b"bytes=9-9,0-1,5-5,1-2", ((9, 10), (0, 3), (5, 6)), id="first asked, first"
        ),
        pytest.param(
            b"bytes=6-6,0-0,5-5", ((5, 7), (0, 1)), id="a union comes by its eldest"
        ),
        pytest.param(b"bytes=10-,0-0", ((0, 1),), id="what cannot be met is left out"),
        pytest.param(b"bytes=-0,0-0", ((0, 1),), id="the empty suffix is left out"),
    ],
)
def test_satisfiable(value: bytes, expected: tuple[tuple[int, int], ...]) -> None:
    """These select bytes of a file of ten."""
    assert parse(value) == expected


@pytest.mark.parametrize(
    ("value", "size"),
    [
        pytest.param(b"bytes=-0", SIZE, id="an empty suffix"),
        pytest.param(b"bytes=-000", SIZE, id="an empty suffix of three zeros"),
        pytest.param(b"bytes=10-", SIZE, id="from just past the end"),
        pytest.param(b"bytes=10-10", SIZE, id="the byte past the end"),
        pytest.param(b"bytes=10-,20-30,-0", SIZE, id="several, none of them met"),
        pytest.param(b"bytes=" + b"9" * 60 + b"-", SIZE, id="from a 60-digit position"),
        pytest.param(b"bytes=" + b"9" * 5000 + b"-", SIZE, id="from a 5000-digit one"),
        pytest.param(b"bytes=0-", 0, id="an empty file from its start"),
        pytest.param(b"bytes=0-0", 0, id="the first byte of an empty file"),
        pytest.param(b"bytes=-0", 0, id="an empty suffix of an empty file"),
    ],
)
def test_unsatisfiable(value: bytes, size: int) -> None:
    """These are well formed and select nothing."""
    assert parse(value, size) == ()


@pytest.mark.parametrize(
    ("value", "size"),
    [
        pytest.param(b"", SIZE, id="nothing"),
        pytest.param(b"bytes", SIZE, id="the unit alone"),
        pytest.param(b"bytes=", SIZE, id="no range"),
        pytest.param(b"bytes=,", SIZE, id="a comma alone"),
        pytest.param(b"bytes=-", SIZE, id="a dash alone"),
        pytest.param(b"bytes=5", SIZE, id="no dash"),
        pytest.param(b"bytes=5-4", SIZE, id="last before first"),
        pytest.param(b"bytes=0-1,5-4", SIZE, id="last before first in a list"),
        pytest.param(b"bytes=11-10", SIZE, id="last before first past the end"),
        pytest.param(b"bytes=" + b"9" * 60 + b"-5", SIZE, id="60 digits before 5"),
        pytest.param(b"bytes=+1-2", SIZE, id="a sign"),
        pytest.param(b"bytes=1-+2", SIZE, id="a sign on the last"),
        pytest.param(b"bytes=1_0-", SIZE, id="an underscore"),
        pytest.param("bytes=\u0661-\u0662".encode(), SIZE, id="other digits"),
        pytest.param(b"bytes=0x1-2", SIZE, id="hex digits"),
        pytest.param(b"bytes=--1", SIZE, id="two dashes"),
        pytest.param(b"bytes=1-2-3", SIZE, id="three numbers"),
        pytest.param(b"bytes=1 - 2", SIZE, id="spaces around the dash"),
        pytest.param(b"bytes= 1-2", SIZE, id="a space after the equals sign"),
        pytest.param(b"bytes =1-2", SIZE, id="a space before the equals sign"),
        pytest.param(b" bytes=1-2", SIZE, id="a space before the unit"),
        pytest.param(b"bytes:1-2", SIZE, id="a colon"),
        pytest.param(b"bytes 1-2/10", SIZE, id="a value of Content-Range"),
        pytest.param(b"items=0-1", SIZE, id="an unknown unit"),
        pytest.param(b"xbytes=0-1", SIZE, id="a unit that ends in bytes"),
        pytest.param(b"bytes=0-1;2-3", SIZE, id="a semicolon"),
        pytest.param(b"bytes=0-1,x", SIZE, id="one malformed range spoils all"),
        pytest.param(b"bytes=0-1\n", SIZE, id="a line end"),
        pytest.param(b"bytes=0-0, bytes=1-1", SIZE, id="two fields joined"),
        pytest.param(b"bytes=-5", 0, id="a suffix of an empty file"),
    ],
)
def test_ignored(value: bytes, size: int) -> None:
    """These are answered as if there were no Range."""
    assert parse(value, size) is None


def test_too_many_ranges_are_ignored() -> None:
    """The limit is met exactly; empty elements do not count."""
    at_limit = b",,".join(b"%d-%d" % (n * 2, n * 2) for n in range(MAX_RANGES))

    assert len(parse(b"bytes=" + at_limit, 10**6) or ()) == MAX_RANGES
    assert parse(b"bytes=" + at_limit + b",-1", 10**6) is None


def test_content_range_is_inclusive() -> None:
    """Half-open inside, inclusive on the wire."""
    assert format_content_range(Span(2, 5), 10) == b"bytes 2-4/10"
    assert format_content_range(Span(0, 1), 1) == b"bytes 0-0/1"
    assert format_unsatisfied_range(10) == b"bytes */10"
    assert len(Span(2, 5)) == 3


SPEC = st.one_of(
    st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted).map(tuple),
    st.tuples(st.integers(0, 40), st.none()),
    st.tuples(st.none(), st.integers(0, 40)),
)
Spec = tuple[int | None, int | None]


def format_spec(spec: Spec) -> bytes:
    first, last = ("" if number is None else str(number) for number in spec)
    return f"{first}-{last}".encode()


def positions(spec: Spec, size: int) -> set[int]:
    """Return what slicing the whole file would select."""
    file = list(range(size))
    first, last = spec
    if first is None:
        return set(file[-last:] if last else ())
    return set(file[first:] if last is None else file[first : last + 1])


@given(st.lists(SPEC, min_size=1, max_size=8), st.integers(1, 40))
@example([(3, 7), (0, 5)], 10)
@example([(0, 1), (4, 5), (2, 3)], 10)
@settings(deadline=None, max_examples=300)
def test_agrees_with_slicing(specs: list[Spec], size: int) -> None:
    """Spans select exactly the bytes that slicing the whole file would, once each.

    They keep a gap between them, and come in the order in which their bytes were
    first asked for.
    """
    spans = parse_ranges(b"bytes=" + b", ".join(map(format_spec, specs)), size)

    assert spans is not None
    selected = [position for each in spans for position in range(each.start, each.stop)]
    asked = [positions(spec, size) for spec in specs]
    assert len(selected) == len(set(selected))
    assert set(selected) == set().union(*asked)
    edges = sorted((each.start, each.stop) for each in spans)
    assert all(start < stop <= size for start, stop in edges)
    assert all(one[1] < other[0] for one, other in pairwise(edges))
    ranks = [
        min(
            order
            for order, wanted in enumerate(asked)
            if not wanted.isdisjoint(range(each.start, each.stop))
        )
        for each in spans
    ]
    assert ranks == sorted(ranks)


PIECES = st.sampled_from(
    (b"bytes", b"=", b"-", b",", b" ", b"\t", b"0", b"9", b"7" * 30, b"+", b"x")
)


@given(st.lists(PIECES, max_size=10).map(b"".join), st.integers(0, 2**63))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_ignored_or_stay_inside_the_file(value: bytes, size: int) -> None:
    """No value whatever fails, or leads past the end of the file."""
    for each in (
        parse_ranges(b"bytes=" + value, size) or parse_ranges(value, size) or ()
    ):
        assert 0 <= each.start < each.stop <= size


@pytest.mark.parametrize(
    ("positions", "expected"),
    [((0, 9), b"bytes=0-9"), ((7, None), b"bytes=7-"), ((None, 3), b"bytes=-3")],
)
def test_positions_are_asked_for(positions: Positions, expected: bytes) -> None:
    """As a client would, with either end left out."""
    assert format_range(positions) == expected
