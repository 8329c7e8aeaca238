"""Parts of big files, from memory, on one connection after another."""

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from running import Serve, Server, clock_ahead, wait_until
from sendfile_server.server.parts import SMALL_PART
from wire import Client, Response, fetch, get

SIZE = 300_000
DATA = hashlib.shake_128(b"data").digest(SIZE)  # no shift of itself
MTIME = 1_700_000_000  # long ago
CLOSE = "Connection: close"


@pytest.fixture
def server(serve: Serve, site: Path, tmp_path: Path) -> Server:
    """Run one that knows /data.bin, and what it is asked for below."""
    (site / "data.bin").write_bytes(DATA)
    server = serve(site, "--workers", "1", prefix=clock_ahead(tmp_path))
    for _ in range(3):
        fetch(server.port, "/data.bin")
        fetch(server.port, "/data.bin", "Range: bytes=0-0")
        fetch(server.port, "/data.bin", "Range: bytes=0-0", CLOSE)
    return server


def ask(client: Client, part: str, *fields: str, method: str = "GET") -> Response:
    return client.request("/data.bin", f"Range: bytes={part}", *fields, method=method)


PARTS = {
    "0-0": (0, 1),
    "299999-299999": (SIZE - 1, SIZE),
    "100-199": (100, 200),
    f"0-{SMALL_PART - 1}": (0, SMALL_PART),  # the largest that leaves in one piece
    f"1-{SMALL_PART + 1}": (1, SMALL_PART + 2),
    "0-299999": (0, SIZE),
    "299990-": (SIZE - 10, SIZE),
    "0-": (0, SIZE),
    "-7": (SIZE - 7, SIZE),
    "-300000": (0, SIZE),
    "-999999": (0, SIZE),
    "299000-999999": (299_000, SIZE),
    "299000-999999999999999999": (299_000, SIZE),
    "0000100-00199": (100, 200),
}


@pytest.mark.parametrize("fields", [(), (CLOSE,)], ids=["kept alive", "close"])
def test_part_is_that_of_the_file(
    server: Server, fields: tuple[str, ...], subtests: pytest.Subtests
) -> None:
    """Its bytes, its place and its length, when it is new and when it is not."""
    for part, (start, stop) in [*PARTS.items()] * 2:
        with subtests.test(part), Client(server.port) as client:
            answer = ask(client, part, *fields)
            assert answer.status == 206
            assert answer.fields["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
            assert answer.fields["content-length"] == str(stop - start)
            assert answer.fields.get("connection") == ("close" if fields else None)
            assert answer.body == DATA[start:stop]
            if fields:
                assert client.is_closed()


def test_any_part_is_that_of_the_file(server: Server) -> None:
    """Whatever is asked for on one connection, everything comes in its order."""
    ends = st.one_of(
        st.integers(0, SIZE + 9),
        st.sampled_from([0, SMALL_PART - 1, SMALL_PART, SIZE - 1, SIZE]),
    )

    @given(st.lists(st.tuples(ends, ends), min_size=1, max_size=5))
    @settings(max_examples=100, deadline=None)
    def agrees_with_slicing(parts: list[tuple[int, int]]) -> None:
        with Client(server.port) as client:
            for first, last in parts:
                answer = ask(client, f"{first}-{last}")
                if last < first:
                    expected = 200, DATA
                elif first >= SIZE:
                    expected = 416, answer.body
                else:
                    expected = 206, DATA[first : last + 1]
                assert (answer.status, answer.body) == expected

    agrees_with_slicing()


NO_PARTS = {
    "300000-": 416,
    "300000-300009": 416,
    "999999999999999999-": 416,
    "-0": 416,
    "9-3": 200,
    "300001-300000": 200,
    "-": 200,
    "a-b": 200,
}


def test_what_is_no_part_is_answered_as_ever(
    server: Server, subtests: pytest.Subtests
) -> None:
    """With the size alone, or with the file, between parts that there are."""
    for part, status in NO_PARTS.items():
        with subtests.test(part), Client(server.port) as client:
            for _ in range(2):
                assert ask(client, "5-9").body == DATA[5:10]
                answer = ask(client, part)
                assert answer.status == status
                place = f"bytes */{SIZE}" if status == 416 else None
                assert answer.fields.get("content-range") == place
                assert status == 416 or answer.body == DATA


def test_head_has_no_parts(server: Server) -> None:
    """RFC 9110 section 14.2: Range is for GET, so HEAD is told of the whole."""
    with Client(server.port) as client:
        for _ in range(3):
            assert ask(client, "5-9").status == 206
            answer = ask(client, "5-9", method="HEAD")
            assert answer.status == 200
            assert answer.fields["content-length"] == str(SIZE)
            assert answer.body == b""


def test_part_is_sent_only_if_the_condition_holds(server: Server) -> None:
    """If-Range of this state gets the part, another one gets all."""
    whole = fetch(server.port, "/data.bin", method="HEAD").fields
    for _ in range(3):
        with Client(server.port) as client:
            for tag, status in (
                (whole["etag"], 206),
                (whole["last-modified"], 206),
                ('"other"', 200),
                (f"W/{whole['etag']}", 200),
                ("Tue, 14 Nov 2023 22:13:20 GMT", 200),
                (whole["etag"], 206),
            ):
                answer = ask(client, "5-9", f"If-Range: {tag}")
                assert answer.status == status
                assert answer.body == (DATA[5:10] if status == 206 else DATA)


def test_precondition_comes_before_the_part(server: Server) -> None:
    """RFC 9110 section 13.2.2: what the client has, it does not get in parts."""
    tag = fetch(server.port, "/data.bin", method="HEAD").fields["etag"]
    with Client(server.port) as client:
        for _ in range(3):
            assert ask(client, "5-9", f"If-None-Match: {tag}").status == 304
            assert ask(client, "5-9", 'If-None-Match: "other"').body == DATA[5:10]
            assert ask(client, "5-9", 'If-Match: "other"').status == 412
            assert ask(client, "5-9", f"If-Match: {tag}").body == DATA[5:10]


def test_parts_and_wholes_take_turns(server: Server) -> None:
    """Pipelined, each of the answers is its own request's."""
    with Client(server.port) as client:
        for _ in range(3):
            client.send(
                get("/data.bin", "Range: bytes=5-9")
                + get("/data.bin")
                + get("/data.bin", "Range: bytes=7-")
                + get("/digits.txt", "Range: bytes=2-4")
                + get("/data.bin", "Range: bytes=-3")
            )
            bodies = [client.response().body for _ in range(5)]
            assert bodies == [DATA[5:10], DATA, DATA[7:], b"234", DATA[-3:]]


@pytest.mark.parametrize("part", ["5-9", "5-99999"], ids=["small", "large"])
def test_date_of_a_part_moves_on(server: Server, part: str) -> None:
    """Whoever asks for the same part all the time is told what time it is."""
    with Client(server.port) as client:
        first = ask(client, part).fields
        wait_until(lambda: ask(client, part).fields != first, "the next second")
        later = ask(client, part).fields
    assert {name for name in first if first[name] != later[name]} == {"date"}


def versions(path: Path) -> Iterator[bytes]:
    """Overwrite *path* in place with one version after another, and yield them."""
    for number in range(30):
        data = b"%d" % (number % 10) * SIZE
        with path.open("r+b") as file:
            file.write(data)
        os.utime(path, (MTIME + number,) * 2)
        yield data


def test_changed_file_is_never_mixed(server: Server, site: Path) -> None:
    """After a change in place, no part is of the state before, nor has its tag."""
    states: dict[str, bytes] = {}
    parts = [("0-9", 10), ("100-99999", 99_900), ("-5", 5), ("-70000", 70_000)]
    with Client(server.port) as client:
        for number, data in enumerate(versions(site / "data.bin")):
            for turn in range(len(parts)):
                part, length = parts[(number + turn) % len(parts)]
                answer = ask(client, part)
                assert answer.body == data[:length]
                assert states.setdefault(answer.fields["etag"], data) == data
    assert len(states) == 30


def test_replaced_file_is_never_mixed(server: Server, site: Path) -> None:
    """While it is replaced all the time, a part and its tag are of one state."""
    is_over = threading.Event()

    def keep_replacing() -> None:
        for number in range(1, 1 << 30):
            new = site / "new.bin"
            new.write_bytes(b"%09d\n" % number * (SIZE // 10))
            os.utime(new, (MTIME + number,) * 2)
            new.rename(site / "data.bin")
            if is_over.is_set():
                return

    thread = threading.Thread(target=keep_replacing, daemon=True)
    thread.start()
    try:
        wait_until(
            lambda: fetch(server.port, "/data.bin").body[9:10] == b"\n", "the first"
        )
        with Client(server.port) as client:
            for turn in range(200):
                answer = ask(client, f"{10 * turn}-{10 * turn + (9, 99_999)[turn % 2]}")
                (line,) = set(answer.body.split())
                state = (MTIME + int(line)) * 10**9
                assert answer.fields["etag"] == f'"{state:x}-{SIZE:x}"'
    finally:
        is_over.set()
        thread.join()
