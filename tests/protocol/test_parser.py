"""Heads to requests, alone and behind the gate, and the corpus of raw requests."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.errors import ProtocolError
from sendfile_server.protocol.gate import Gate
from sendfile_server.protocol.parser import parse_head
from sendfile_server.semantics.requests import KEPT_FIELDS, Request

CORPUS = Path(__file__).parent / "corpus"
ACCEPTED = [
    pytest.param(path, id=path.stem) for path in sorted(CORPUS.glob("accepted/*.http"))
]
REFUSED = [
    pytest.param(path, id=path.stem) for path in sorted(CORPUS.glob("refused/*.http"))
]
CHUNKINGS = [
    pytest.param(1 << 20, id="whole"),
    pytest.param(1, id="1 byte at a time"),
    pytest.param(7, id="7 bytes at a time"),
]


class Outcome(NamedTuple):
    """What became of a stream of requests, as far as it has no bodies."""

    requests: list[Request]
    status: int | None
    left: int
    """Bytes."""


def cut(raw: bytes, step: int) -> Iterator[bytes]:
    return (raw[start : start + step] for start in range(0, len(raw), step))


def receive(pieces: Iterable[bytes]) -> Outcome:
    """Parse the heads in *pieces* as they come, up to the first body or error."""
    gate, requests, left = Gate(), list[Request](), list(pieces)
    while left:
        gate.feed(left.pop(0))
        try:
            while head := gate.take_head():
                requests.append(parse_head(head))
                if requests[-1].has_body:
                    return Outcome(requests, None, len(gate) + sum(map(len, left)))
        except ProtocolError as error:
            return Outcome(requests, error.status, len(gate) + sum(map(len, left)))
    return Outcome(requests, None, len(gate))


def parse(*lines: bytes, version: bytes = b"1.1") -> Request:
    """Parse a GET with these field lines."""
    first = b"GET / HTTP/" + version
    return parse_head(b"\r\n".join((first, b"Host: x", *lines, b"", b"")))


@pytest.mark.parametrize("step", CHUNKINGS)
@pytest.mark.parametrize("path", ACCEPTED)
def test_accepts(path: Path, step: int) -> None:
    """The corpus of honest requests is accepted, each to its last byte."""
    raw = path.read_bytes()

    outcome = receive(cut(raw, step))

    assert (outcome.status, outcome.left) == (None, 0)
    assert len(outcome.requests) == (2 if path.stem.startswith("two-") else 1)
    assert outcome == receive([raw])
    for request in outcome.requests:
        assert b"%s %s HTTP/1." % (request.method, request.target) in raw
        assert request.fields.keys() <= KEPT_FIELDS


@pytest.mark.parametrize("step", CHUNKINGS)
@pytest.mark.parametrize("path", REFUSED)
def test_refuses(path: Path, step: int) -> None:
    """The corpus of other bytes is refused, each with the status beside it."""
    raw = path.read_bytes()

    outcome = receive(cut(raw, step))

    assert outcome.status == int(path.with_suffix(".status").read_text())
    assert len(outcome.requests) == path.stem.startswith("second-")


def test_corpus_is_whole() -> None:
    """Every status has its request, and there are requests at all."""
    statuses = {path.stem for path in CORPUS.glob("refused/*.status")}

    assert statuses == {path.stem for path in CORPUS.glob("refused/*.http")}
    assert len(ACCEPTED) > 20
    assert len(REFUSED) > 20


def test_request_holds_what_an_answer_may_depend_on() -> None:
    """Method and target come as they were, names in lower case, others dropped."""
    raw = (
        b"GET http://x/%41?b HTTP/1.1\r\nHOST: x\r\nRange: bytes=0-1\r\n"
        b"User-Agent: a\r\nCookie: b\r\n"
        b'If-None-Match: "A"\r\nIf-None-Match: "b"\r\n\r\n'
    )

    assert parse_head(raw) == Request(
        method=b"GET",
        target=b"http://x/%41?b",
        fields={
            b"host": b"x",
            b"range": b"bytes=0-1",
            b"if-none-match": b'"A", "b"',
        },
        is_http_1_0=False,
        keeps_alive=True,
        has_body=False,
    )


@pytest.mark.parametrize(
    ("version", "lines", "expected"),
    [
        pytest.param(b"1.1", [], True, id="1.1 stays"),
        pytest.param(b"1.0", [], False, id="1.0 goes"),
        pytest.param(b"1.1", [b"Connection: close"], False, id="1.1 that goes"),
        pytest.param(b"1.0", [b"Connection: keep-alive"], True, id="1.0 that stays"),
        pytest.param(b"1.1", [b"Connection: keep-alive"], True, id="1.1 says it stays"),
        pytest.param(b"1.0", [b"Connection: close"], False, id="1.0 says it goes"),
        pytest.param(b"1.1", [b"Connection: CLOSE"], False, id="capitals"),
        pytest.param(b"1.1", [b"Connection: a,\tclose ,b"], False, id="a list"),
        pytest.param(
            b"1.1", [b"Connection: a", b"Connection: close"], False, id="two lines"
        ),
        pytest.param(
            b"1.0", [b"Connection: keep-alive, close"], False, id="close wins in 1.0"
        ),
        pytest.param(
            b"1.1", [b"Connection: close, keep-alive"], False, id="close wins in 1.1"
        ),
        pytest.param(b"1.1", [b"Connection: closed"], True, id="a longer word"),
        pytest.param(b"1.0", [b"Connection: keep"], False, id="a shorter word"),
        pytest.param(b"1.0", [b"Keep-Alive: timeout=5"], False, id="the folk field"),
        pytest.param(b"1.1", [b"Connection:"], True, id="an empty value"),
    ],
)
def test_persistence(version: bytes, lines: list[bytes], expected: bool) -> None:
    """The connection goes on as RFC 9112 section 9.3 says."""
    request = parse(*lines, version=version)

    assert request.keeps_alive is expected
    assert request.is_http_1_0 is (version == b"1.0")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([], False, id="neither field"),
        pytest.param([b"Content-Length: 0"], False, id="a length of zero"),
        pytest.param([b"Content-Length: 000"], False, id="a length of three zeros"),
        pytest.param([b"Content-Length: 1"], True, id="a length of one"),
        pytest.param([b"Content-Length: 2", b"Content-Length: 2"], True, id="twice"),
        pytest.param([b"Transfer-Encoding: chunked"], True, id="chunks"),
        pytest.param([b"Transfer-Encoding: Chunked"], True, id="chunks in capitals"),
    ],
)
def test_body(lines: list[bytes], expected: bool) -> None:
    """A body follows where the framing says so (RFC 9112 section 6.3)."""
    assert parse(*lines).has_body is expected


def test_part_of_a_head_is_no_request() -> None:
    """What the gate would have kept back is refused, not awaited."""
    with pytest.raises(ProtocolError) as refusal:
        parse_head(b"GET / HTTP/1.1\r\nHost: x\r\n")

    assert refusal.value.status == 400


FRAGMENTS = st.sampled_from(
    (
        *(b"\r\n", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b" ", b"\t", b":", b",", b"\0"),
        *(b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.0\r\n"),
        *(b"GET", b" ", b"/", b"%", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"1"),
        *(b"Host: x", b"Host: x\r\n", b"Host: x\r\n\r\n", b"Host:", b"[::1]", b"@"),
        *(b"Content-Length: 1", b"Content-Length: ", b"Transfer-Encoding: chunked"),
        *(b"Transfer-Encoding", b"chunked", b"Connection: close", b"Range: bytes=0-"),
        *(b"X: y\r\n", b"\xff", b"\x16\x03\x01", b"a"),
    )
)


@given(st.lists(FRAGMENTS | st.binary(max_size=3), max_size=16))
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_requests_or_one_error(fragments: list[bytes]) -> None:
    """Nothing else escapes, and the chunking decides nothing."""
    raw = b"".join(fragments)
    whole = receive([raw])

    assert whole.status in (None, 400, 501, 505)
    assert receive(fragments) == whole
    assert receive(cut(raw, 1)) == whole
    assert receive(cut(raw, 7)) == whole


FIELD_LINES = st.lists(
    st.sampled_from((b"Range: bytes=0-", b"Connection: close", b"X: y", b"Accept:"))
)
REQUESTS = st.builds(
    lambda number, lines: b"\r\n".join(
        (b"GET /%d HTTP/1.1" % number, b"Host: x", *lines, b"", b"")
    ),
    st.integers(0, 99),
    FIELD_LINES,
)


@given(st.lists(REQUESTS, max_size=4), st.integers(1, 50))
@settings(deadline=None, max_examples=100)
def test_pipelined_requests_do_not_mix(raws: list[bytes], step: int) -> None:
    """Several requests in a row are what each of them is alone."""
    alone = [parse_head(raw) for raw in raws]

    assert receive(cut(b"".join(raws), step)) == (alone, None, 0)
