"""With and without memory, the same bytes; and at the default, never old ones.

Three servers of one tree are told the same: one that remembers nothing, one that
remembers and looks at the disk each time, and one with the default freshness.
Their wall clock is ahead, so that no file was changed a moment ago for them: of
such a file nothing is remembered for long, and nothing would be compared.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from running import Serve
from wire import converse

CORPUS = Path(__file__).parents[1] / "protocol" / "corpus"
HOST = b"\r\nHost: localhost"
END = b"\r\n\r\n"
BIG = 200 * 1024
MTIME = 1_700_000_000  # Tue, 14 Nov 2023 22:13:20 GMT
AHEAD = """
import time
real_time = time.time
time.time = lambda: real_time() + 10
"""
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
    files = {
        "small": b"0123456789",
        "name %": b"percent",
        "empty": b"",
        "dir/index.html": b"index",
        ".hidden": b"hidden",
        "most.bin": bytes(range(256)) * 256,
        "big.bin": os.urandom(BIG),
    }
    for name, content in files.items():
        (root / name).write_bytes(content)
        os.utime(root / name, (MTIME, MTIME))
    (root / "link").symlink_to("small")
    (root / "out").symlink_to("../secret")
    return root


@pytest.fixture
def servers(serve: Serve, tree: Path, tmp_path: Path) -> Servers:
    ahead = tmp_path / "ahead"
    ahead.mkdir()
    (ahead / "sitecustomize.py").write_text(AHEAD)
    return start(serve, tree, ("env", f"PYTHONPATH={ahead}"))


def start(serve: Serve, tree: Path, prefix: tuple[str, ...] = ()) -> Servers:
    """Run the three of them on *tree*."""
    places = [str(tree.parent / name) for name in Servers._fields]
    kinds = (("--no-memory", "--freshness", "0"), ("--freshness", "0"), ())
    for place, options in zip(places, kinds, strict=True):
        listen = ("--listen", f"unix:{place}", "--workers", "1")
        serve(tree, *listen, *options, prefix=prefix)
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
