"""With and without memory, the same bytes; and at the default, never old ones.

Three servers of one tree are told the same: one that remembers nothing, one that
remembers and looks at the disk each time, and one with the default freshness.
Their wall clock is ahead, so that no file was changed a moment ago for them: of
such a file nothing is remembered for long, and nothing would be compared.
"""

import hashlib
import itertools
import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from running import Serve, clock_ahead, wait_until
from sendfile_server.semantics.etags import (
    derive_entity_tag,
    hash_content,
    tag_content,
)
from sendfile_server.server.responder import SMALL_BODY
from wire import converse

CORPUS = Path(__file__).parents[1] / "protocol" / "corpus"
HOST = b"\r\nHost: localhost"
END = b"\r\n\r\n"
BIG = 200 * 1024
FILES = {
    "small": b"0123456789",
    "name %": b"percent",
    "empty": b"",
    "dir/index.html": b"index",
    ".hidden": b"hidden",
    "most.bin": bytes(range(256)) * (SMALL_BODY // 256),
    "big.bin": hashlib.shake_128(b"big").digest(BIG),
}
MTIME = 1_700_000_000  # Tue, 14 Nov 2023 22:13:20 GMT
TIME = re.compile(rb"\[[^]\n]*\]")
DATE = re.compile(rb"\r\nDate: [^\r\n]{29}\r\n")


class Servers(NamedTuple):
    """Where the three are, by Unix sockets."""

    forgetful: str
    looking: str
    default: str

    def answers(self, pieces: list[bytes]) -> list[bytes]:
        """Return what each answers to *pieces*, but for the time of day."""
        return [DATE.sub(b"\r\n", converse(place, pieces)) for place in self]

    def agree(self, *pieces: bytes) -> None:
        """Assert that they do, when it is new to them and when it is known."""
        for _ in range(3):
            expected, *others = self.answers(list(pieces))
            for answer in others:
                assert answer == expected


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make some of each thing that a target may lead to."""
    root = tmp_path / "root"
    (root / "dir").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    for name, content in FILES.items():
        (root / name).write_bytes(content)
        os.utime(root / name, (MTIME, MTIME))
    (root / "link").symlink_to("small")
    (root / "out").symlink_to("../secret")
    return root


@pytest.fixture
def servers(serve: Serve, tree: Path, tmp_path: Path) -> Servers:
    """Run the three of them."""
    return start(serve, tree, tmp_path)


def start(serve: Serve, tree: Path, folder: Path, *options: str) -> Servers:
    """Run the three of them with sockets and logs in *folder*."""
    prefix = clock_ahead(folder)
    kinds = (("--no-memory", "--freshness", "0"), ("--freshness", "0"), ())
    places = [str(folder / name) for name in Servers._fields]
    for place, kind in zip(places, kinds, strict=True):
        listen = ("--listen", f"unix:{place}", "--workers", "1")
        log = ("--access-log", f"{place}.log")
        serve(tree, *listen, *log, *kind, *options, prefix=prefix)
    return Servers(*places)


# What may look like a known head, and is none.


def head(line: bytes = b"GET /small HTTP/1.1", lines: bytes = HOST) -> bytes:
    return line + lines + END


def long_line(size: int) -> bytes:
    """Return a request line of *size* bytes."""
    start, stop = b"GET /small?", b" HTTP/1.1"
    return start + b"q" * (size - len(start) - len(stop)) + stop


def sized(size: int, line: bytes = b"GET /small HTTP/1.1", lines: bytes = b"") -> bytes:
    """Return a head of *size* bytes."""
    lines += HOST + b"\r\nCookie: "
    return head(line, lines + b"c" * (size - len(line) - len(lines) - len(END)))


def with_lines(count: int, lines: bytes = b"") -> bytes:
    """Return a head of *count* lines with the request line."""
    count -= 2 + lines.count(b"\r\n")
    return head(lines=HOST + lines + b"\r\nA: b" * count)


RANGE = b"\r\nRange: bytes=2-5"
KNOWN = head()
ODD = {
    "line and rest apart": [b"GET /small HTTP/1.1", HOST + END],
    "line only": [b"GET /small HTTP/1.1"],
    "rest only": [HOST + END],
    "byte by byte": [bytes((byte,)) for byte in KNOWN],
    "end apart": [KNOWN[:-1], KNOWN[-1:]],
    "two": [KNOWN + KNOWN],
    "one and a half": [KNOWN + KNOWN[:20], KNOWN[20:]],
    "an empty line before": [b"\r\n" + KNOWN],
    "an empty line after": [KNOWN + b"\r\n"],
    "a field in the next message": [KNOWN + b"Cookie: a\r\n", KNOWN],
    "a range in the next message": [KNOWN + RANGE[2:] + END],
    "range apart": [b"GET /small HTTP/1.1" + RANGE, HOST + END],
    "known parts, request line too long": [
        *(sized(9000), head(long_line(8192)), head(long_line(8193))),
    ],
    "known parts, head too large": [
        *(head(long_line(8000)), sized(10_000)),
        long_line(8000) + sized(10_000).removeprefix(b"GET /small HTTP/1.1"),
    ],
    "longest head": [sized(16_384), sized(16_384)],
    "longest head, with a range": [sized(16_384, lines=RANGE)] * 2,
    "head too large": [sized(16_384), sized(16_385)],
    "head too large, with a range": [sized(16_384), sized(16_385, lines=RANGE)],
    "head too large by its range": [
        sized(16_384),
        head(lines=RANGE + sized(16_384).removeprefix(b"GET /small HTTP/1.1")[:-4]),
    ],
    "most lines": [with_lines(100)] * 2,
    "most lines, with a range": [with_lines(100, RANGE)] * 2,
    "too many lines": [with_lines(100), with_lines(101)],
    "too many lines, with a range": [with_lines(100, RANGE), with_lines(101, RANGE)],
    "too many lines by the range": [with_lines(100), with_lines(101, RANGE)],
    "close, and more": [head(lines=HOST + b"\r\nConnection: close") + KNOWN],
    "close, then more": [head(lines=HOST + b"\r\nConnection: close"), KNOWN],
}


def test_odd_ones_are_answered_the_same(
    servers: Servers, subtests: pytest.Subtests
) -> None:
    """At the limits, and cut where a known part ends, after the like was known."""
    for name, pieces in ODD.items():
        with subtests.test(name):
            for piece in pieces:
                servers.agree(piece)
            servers.agree(KNOWN, KNOWN, *pieces)
            servers.agree(*pieces, *pieces)


def test_last_answer_of_a_connection_is_the_same(
    serve: Serve, tree: Path, tmp_path: Path
) -> None:
    """Whatever is asked last, it is told of the close, and nothing comes after it."""
    servers = start(serve, tree, tmp_path, "--keepalive-requests", "3")
    big = head(b"GET /big.bin HTTP/1.1")
    part = head(b"GET /big.bin HTTP/1.1", HOST + RANGE)
    missing = head(b"GET /missing HTTP/1.1")
    odd = head(lines=HOST + b"\r\nExpect: 100-continue")
    for messages in itertools.product((KNOWN, big, part, missing, odd), repeat=3):
        servers.agree(*messages, KNOWN, part)
        servers.agree(b"".join(messages) + KNOWN)


def test_log_is_the_same(servers: Servers) -> None:
    """What is told of an answer is not told by whether it was remembered."""
    for pieces in ODD.values():
        servers.agree(*pieces, KNOWN, head(b"GET /big.bin HTTP/1.1", HOST + RANGE))
    names = [f"{place}.log" for place in servers]

    def have_all_told() -> bool:
        logs = [TIME.sub(b"", Path(name).read_bytes()) for name in names]
        return logs[0].count(b"\n") > 3 * len(ODD) and len(set(logs)) == 1

    wait_until(have_all_told, "the same lines in all logs")


def test_corpus_is_answered_the_same(
    servers: Servers, subtests: pytest.Subtests
) -> None:
    """So are the raw requests that the parser is tested with, among known ones."""
    for path in sorted(CORPUS.glob("*/*.http")):
        with subtests.test(path.stem):
            data = path.read_bytes()
            servers.agree(data)
            servers.agree(KNOWN, KNOWN, data, KNOWN)


# What anyone may ask for.

CONTENTS = [FILES[name] for name in ("empty", "small", "most.bin", "big.bin")]
TAGS = [
    *(derive_entity_tag(MTIME * 10**9, len(each)).opaque for each in CONTENTS),
    *(tag_content(hash_content(each)).opaque for each in CONTENTS),
]
DATES = [
    b"Tue, 14 Nov 2023 22:13:20 GMT",
    b"Tue, 14 Nov 2023 22:13:19 GMT",
    b"Tue, 14 Nov 2023 22:13:21 GMT",
    b"Tuesday, 14-Nov-23 22:13:20 GMT",
    b"Tue Nov 14 22:13:20 2023",
    b"Fri, 01 Jan 2100 00:00:00 GMT",
    b"yesterday",
]
SERVED = [b"/small", b"/big.bin", b"/most.bin", b"/empty", b"/dir", b"/dir/", b"/link"]
BASE = b"/static"
TARGETS = [
    *(b"/missing", b"/missing/", b"/small/", b"/small/x", b"/out", b"/.hidden", b"/"),
    *(b"/%73mall", b"/name%20%25", b"//small", b"/dir/..//small", b"/dir/%2e%2e/small"),
    *(
        b"/small?q=1",
        b"/small?q=2",
        b"http://localhost/small",
        b"/dir?a=b",
        b"http://x/",
    ),
    *(b"/static", b"/static?q=1", b"/static/../small", b"http://x/static/small"),
    *(b"*", b"/%zz", b"/%00", b"/..", b"/\xff", b"/a b", b"/%2e%2e/secret"),
]
RARELY = st.sampled_from([False] * 7 + [True])
POSITIONS = st.one_of(
    st.sampled_from(
        [b"", b"0", b"1", b"9", b"10", b"007"]
        + [b"%d" % (size + d) for size in (SMALL_BODY, BIG) for d in (-1, 0, 1)]
        + [b"9" * digits for digits in (17, 18, 19, 20, 5000)]
    ),
    st.integers(0, BIG + 9).map(lambda n: b"%d" % n),
)
PARTS = st.one_of(
    st.builds(b"%b-%b".__mod__, st.tuples(POSITIONS, POSITIONS)),
    st.lists(st.integers(0, BIG), min_size=2, max_size=2).map(
        lambda ends: b"%d-%d" % (min(ends), max(ends))
    ),
)
RANGES = st.one_of(
    PARTS.map(b"bytes=".__add__),
    st.lists(PARTS, max_size=4).map(b", ".join).map(b"bytes=".__add__),
    st.sampled_from([b"lines=0-1", b"Bytes=0-1", b"bytes=a-b", b"bytes=", b"0-1", b""]),
)
TAG_LISTS = st.one_of(
    st.sampled_from([*TAGS, *(b"W/" + tag for tag in TAGS), b"*", b'"other"', b"odd"]),
    st.lists(st.sampled_from([*TAGS, b'"a"', b'W/"b"', b""]), max_size=3).map(
        b", ".join
    ),
)
CONDITIONS = st.one_of(
    st.tuples(st.sampled_from([b"If-None-Match", b"If-Match", b"If-Range"]), TAG_LISTS),
    st.tuples(
        st.sampled_from([b"If-Modified-Since", b"If-Unmodified-Since", b"If-Range"]),
        st.sampled_from(DATES),
    ),
)
FIELDS = st.sampled_from(
    [
        *(b"Cookie: a=b", b"Cookie: c=d", b"User-Agent: x", b"X-Empty:", b"Via:\tx \t"),
        *(b"Accept: a", b"accept:b", b"Accept-Encoding: gzip", b"Authorization: x"),
        *(b"Connection: keep-alive", b"Connection: Keep-Alive, x", b"Origin: null"),
        *(b"Range: bytes=1-3", b"If-None-Match: *", b"X-Range: bytes=1-3"),
    ]
)
# Most of them end the connection.
ODD_FIELDS = st.sampled_from(
    [
        *(b"Connection: close", b"connection: x, Close", b"Host: localhost", b"Host:"),
        *(b"Content-Length: 0", b"Content-Length: 3", b"Content-Length: x"),
        *(b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Expect: else"),
        *(b"Upgrade: h2c", b"Bad Name: x", b"Cookie : a", b" folded: x", b"no colon"),
        *(b"Cookie: a\0", b"Cookie: a\x7f", b"Cookie: a\xff", b"Cookie: a\nb"),
    ]
)


def as_line(field: tuple[bytes, bytes]) -> bytes:
    return b"%b: %b" % field


ORDINARY = st.one_of(
    FIELDS, CONDITIONS.map(as_line), RANGES.map(lambda value: b"Range: " + value)
)


@st.composite
def heads(draw: st.DrawFn, base: bytes = b"") -> bytes:
    """Draw a head whose every part may be known from another one.

    Most often it asks for something below *base*.
    """
    lines = [b"Host: localhost", *draw(st.lists(ORDINARY, max_size=3))]
    method, target, version = b"GET", draw(st.sampled_from(SERVED)), b"HTTP/1.1"
    if draw(RARELY):
        lines.append(draw(ODD_FIELDS))
    if draw(RARELY):
        lines = draw(st.permutations(lines))
    if draw(RARELY):
        target = draw(st.sampled_from(TARGETS))
    if not draw(RARELY):
        target = base + target
    if draw(RARELY):
        method = draw(st.sampled_from([b"HEAD"] * 4 + [b"POST", b"OPTIONS", b"get"]))
    if draw(RARELY) and draw(RARELY):
        version = draw(st.sampled_from([b"HTTP/1.0", b"HTTP/2.0", b"http/1.1"]))
    if draw(RARELY) and draw(RARELY):
        lines.remove(b"Host: localhost")
    return b"\r\n".join((b" ".join((method, target, version)), *lines, b"", b""))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut *data* at *places*."""
    ends = sorted({place for place in places if 0 < place < len(data)})
    pairs = zip([0, *ends], [*ends, len(data)], strict=True)
    return [data[start:stop] for start, stop in pairs]


@st.composite
def conversations(draw: st.DrawFn, base: bytes = b"") -> list[bytes]:
    """Draw what is sent on one connection, in which everything comes twice."""
    messages = draw(st.lists(heads(base), min_size=1, max_size=4))
    if not draw(RARELY):
        return messages * 2
    data = b"".join(messages * 2)
    ends = [match.start() for match in re.finditer(b"\r\n", data)]
    places = st.builds(int.__add__, st.sampled_from(ends), st.integers(-1, 4))
    return cut(data, draw(st.lists(places, max_size=4)))


def test_whatever_is_asked_is_answered_the_same(servers: Servers) -> None:
    """In any order of any lines, one by one, together, or in pieces."""

    @given(conversations())
    @settings(max_examples=200, deadline=None)
    def agree(pieces: list[bytes]) -> None:
        servers.agree(*pieces)

    agree()


@st.composite
def heads_of_parts(draw: st.DrawFn, base: bytes = b"") -> bytes:
    """Draw a head that asks for a part, most often one that there is."""
    lines = [b"Host: localhost", b"Range: bytes=" + draw(PARTS)]
    if draw(RARELY):
        lines.append(as_line(draw(CONDITIONS)))
    if draw(RARELY):
        lines.append(draw(ORDINARY))
    if draw(RARELY):
        lines.append(b"Connection: close")
    method = b"HEAD" if draw(RARELY) else b"GET"
    target = base + draw(st.sampled_from([b"/big.bin"] * 3 + [b"/most.bin", b"/small"]))
    return b"\r\n".join((b"%b %b HTTP/1.1" % (method, target), *lines, b"", b""))


def test_parts_are_answered_the_same(servers: Servers) -> None:
    """Of a big file that is open, of others, and on all conditions."""

    @given(st.lists(heads_of_parts(), min_size=1, max_size=5))
    @settings(max_examples=200, deadline=None)
    def agree(messages: list[bytes]) -> None:
        servers.agree(*messages, *messages)

    agree()


def test_options_are_no_difference(serve: Serve, tree: Path, tmp_path: Path) -> None:
    """Nor does anything else depend on memory that a server may be told to do."""
    options = ("--base-path", f"{BASE.decode()}/", "--etag", "content")
    servers = start(serve, tree, tmp_path, *options)

    @given(conversations(BASE) | st.lists(heads_of_parts(BASE), min_size=1, max_size=5))
    @settings(max_examples=200, deadline=None)
    def agree(pieces: list[bytes]) -> None:
        servers.agree(*pieces)

    agree()


SPLINTERS = st.one_of(
    st.binary(max_size=3),
    st.sampled_from(
        [
            *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\0", b"\xff"),
            *(b"GET ", b"GET / HTTP/1.1", b" HTTP/1.1", HOST, b"\r\nRange: bytes=0-0"),
            *(b"\r\nContent-Length: 5", b"\r\n Folded", b"\r\nCookie: x", b"-", b","),
        ]
    ),
)


@st.composite
def mutants(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Draw a head, and the same with some bytes put in, taken out or replaced."""
    original = mutant = draw(heads())
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(mutant)))
        stop = start + draw(st.sampled_from([0, 0, 0, 1, 1, 2, 4, 30]))
        mutant = mutant[:start] + draw(SPLINTERS) + mutant[stop:]
    return original, mutant


def test_mutants_are_answered_the_same(servers: Servers) -> None:
    """What is nearly a known head is taken for none, nor does it shift the next."""

    @given(mutants())
    @settings(max_examples=200, deadline=None)
    def agree(pair: tuple[bytes, bytes]) -> None:
        original, mutant = pair
        servers.agree(original, original, mutant, original)

    agree()
