"""What the pure stages cost, one by one; no sockets, no files, no verdicts.

Each is handed what a worker would hand it. The sum of them, but for reduction, is the
Python that a request costs if nothing about it is remembered; reduction is what one
of a known kind costs instead of gate and parser.
"""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sendfile_server.protocol.gate import Gate
from sendfile_server.protocol.parser import parse_head
from sendfile_server.protocol.reduction import cut_range, reduce_head
from sendfile_server.response.heads import format_head
from sendfile_server.response.plan import plan_response
from sendfile_server.semantics.representations import (
    Representation,
    validate_by_state,
)
from sendfile_server.semantics.requests import Request
from sendfile_server.semantics.targets import parse_target

NOW = 1_800_000_000
SIZE, MTIME_NS = 1_000_000, 1_735_689_600 * 10**9
FILE = Representation(
    SIZE,
    MTIME_NS,
    b"application/octet-stream",
    validate_by_state(MTIME_NS, SIZE),
)


def head(*lines: bytes) -> bytes:
    """Return the head that is made of *lines*."""
    return b"\r\n".join((*lines, b"", b""))


SHORT = head(b"GET /1k.bin HTTP/1.1", b"Host: static.example.com")
BROWSER = head(
    b"GET /assets/app.3f9c2b.js?v=12 HTTP/1.1",
    b"Host: static.example.com",
    b"Connection: keep-alive",
    b'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24"',
    b"sec-ch-ua-mobile: ?0",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like"
    b" Gecko) Chrome/140.0.0.0 Safari/537.36",
    b'sec-ch-ua-platform: "Linux"',
    b"Accept: */*",
    b"Sec-Fetch-Site: same-origin",
    b"Sec-Fetch-Mode: no-cors",
    b"Sec-Fetch-Dest: script",
    b"Referer: https://static.example.com/articles/2041",
    b"Accept-Encoding: gzip, deflate, br, zstd",
    b"Accept-Language: en-US,en;q=0.9",
    b"Cookie: session=5f1e0c7d9a8b4e63; theme=dark",
)
HEADS = {"short": SHORT, "browser": BROWSER}
TAG = FILE.validators.entity_tag
assert TAG is not None
FIELDS = {
    "200": b"",
    "304": b"If-None-Match: " + TAG.opaque,
    "206": b"Range: bytes=4096-8191",
    "multipart": b"Range: bytes=0-99, 5000-5099, 90000-90099",
}


def ask(kind: str) -> Request:
    """Return a request whose answer is of a *kind*."""
    field = FIELDS[kind]
    lines = [b"GET /1k.bin HTTP/1.1", b"Host: static.example.com"]
    return parse_head(head(*lines, *([field] if field else [])))


@pytest.mark.parametrize("kind", HEADS)
def test_gate(benchmark: BenchmarkFixture, kind: str) -> None:
    """A head is cut off the buffer."""
    gate, given = Gate(), HEADS[kind]

    def take() -> bytes | None:
        gate.feed(given)
        return gate.take_head()

    assert benchmark(take) == given


@pytest.mark.parametrize("kind", HEADS)
def test_parse_head(benchmark: BenchmarkFixture, kind: str) -> None:
    """A head becomes a request."""
    assert benchmark(parse_head, HEADS[kind]).method == b"GET"


@pytest.mark.parametrize("kind", HEADS)
def test_reduce_head(benchmark: BenchmarkFixture, kind: str) -> None:
    """A head becomes its request line and what can change an answer."""
    line, _, _ = HEADS[kind].partition(b"\r\n")
    reduced = benchmark(reduce_head, HEADS[kind])
    assert reduced is not None
    assert reduced[0] == line


def test_cut_range(benchmark: BenchmarkFixture) -> None:
    """The one range of a head is cut out."""
    given = head(b"GET / HTTP/1.1", b"Host: x", FIELDS["206"], b"Accept: */*")
    cut = benchmark(cut_range, given)
    assert cut is not None
    assert cut[1] == (4096, 8191)


@pytest.mark.parametrize(
    "target",
    [b"/1k.bin", b"/assets/app.3f9c2b.js?v=12", b"/a%20b/%C3%A9t%C3%A9/../photo.jpg"],
    ids=["short", "usual", "escaped"],
)
def test_parse_target(benchmark: BenchmarkFixture, target: bytes) -> None:
    """A request target becomes a path."""
    assert not isinstance(benchmark(parse_target, target), int)


@pytest.mark.parametrize("kind", FIELDS)
def test_plan_response(benchmark: BenchmarkFixture, kind: str) -> None:
    """A request and a file become a plan."""
    status = 206 if kind == "multipart" else int(kind)
    assert benchmark(plan_response, ask(kind), FILE, NOW).status == status


@pytest.mark.parametrize("kind", FIELDS)
def test_format_head(benchmark: BenchmarkFixture, kind: str) -> None:
    """A plan becomes the head of a response."""
    plan = plan_response(ask(kind), FILE, NOW)
    assert benchmark(format_head, plan, NOW, b"").endswith(b"\r\n\r\n")
