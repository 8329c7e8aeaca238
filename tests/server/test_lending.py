"""What leaves often: when it is lent, and what can't happen to it meanwhile."""

import asyncio
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from running import Serve, Server, clock_ahead, wait_until
from sendfile_server.hosting.pool import Pool
from sendfile_server.resource.files import OpenFile
from sendfile_server.resource.resolver import Resolver
from sendfile_server.resource.root import Root
from sendfile_server.semantics.ranges import Span
from sendfile_server.server.lending import HOT, Lending
from sendfile_server.server.remembered import Answer
from sendfile_server.transport.lending import HUGE_PAGE, Loan
from wire import Client, fetch, get

SIZE = 1_000_000
SPAN = Span(0, SIZE)
BLOCK = 512
"""Bytes that `st_blocks` counts in (stat(2))."""


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """Make a file, and return what is in it."""
    data = os.urandom(SIZE)
    (tmp_path / "file").write_bytes(data)
    return data


# One worker's copies.


@pytest.fixture
def opened(tmp_path: Path, content: bytes) -> OpenFile:
    assert content
    found = Resolver(Root(str(tmp_path), 1), b"index.html", {}).resolve(b"/file", 0)
    assert isinstance(found.outcome, OpenFile)
    return found.outcome


class Leaving:
    """Answers that leave again and again, and the loans of one worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, file: OpenFile) -> None:
        self.loop, self.file = loop, file
        self.pool = Pool(loop, "lending", 1, 1)
        self.lending = Lending(self.pool, 2 * HUGE_PAGE)
        self.body = Answer(b"head", 4 + SIZE, 200, SIZE, file.evidence, SPAN)

    def wire(self, data: bytes) -> Answer:
        """Return an answer that is *data*, to another file."""
        return Answer(data, len(data), 200, len(data), self.file.evidence)

    def lend_wire(self, answer: Answer) -> Loan | None:
        """Return what is lent, after all that it began has ended."""
        loan = self.lending.lend_wire(answer)
        self.finish()
        return loan

    def copy(self, times: int, seconds_later: int = 10) -> Loan | None:
        """Note that the body leaves, and return what is lent then."""
        now = int(time.time()) + seconds_later
        for _ in range(times):
            self.lending.note_body(self.body, self.file, SPAN, now)
        self.finish()
        return self.body.loan

    def finish(self) -> None:
        while self.pool.unfinished:
            self.loop.run_until_complete(asyncio.sleep(0.001))


@pytest.fixture
def leaving(loop: asyncio.AbstractEventLoop, opened: OpenFile) -> Leaving:
    return Leaving(loop, opened)


def read(loan: Loan | None) -> bytes:
    assert loan is not None
    return os.pread(loan.number, len(loan.span), loan.span.start)


def test_wire_is_lent_from_the_second_time_on(leaving: Leaving) -> None:
    """In each second anew, since its Date is another then."""
    answer, other = leaving.wire(b"first"), leaving.wire(b"other")
    assert not any(leaving.lend_wire(answer) for _ in range(2))  # there is no page
    answer.uses = 0
    for _ in range(3):
        assert leaving.lend_wire(answer) is None
        assert read(leaving.lend_wire(answer)) == b"first"
        assert leaving.lend_wire(other) is None
        assert read(leaving.lend_wire(other)) == b"other"
        assert read(answer.loan) == b"first"
        leaving.lending.tick()
        assert answer.loan is other.loan is None


def test_full_page_is_followed_by_another(leaving: Leaving) -> None:
    """As soon as nothing of the former is lent any more."""
    wires = [leaving.wire(b"%d" % number * (HUGE_PAGE // 2)) for number in range(3)]
    for answer in wires:
        answer.uses = 1
    assert leaving.lend_wire(wires[0]) is None  # there is no page yet
    assert read(leaving.lend_wire(wires[0])) == wires[0].wire
    assert read(leaving.lend_wire(wires[1])) == wires[1].wire
    assert leaving.lend_wire(wires[2]) is None
    assert leaving.lend_wire(wires[2]) is None
    leaving.lending.tick()
    assert leaving.lend_wire(wires[2]) is None
    assert read(leaving.lend_wire(wires[2])) == wires[2].wire


def test_only_a_body_that_leaves_often_is_lent(
    leaving: Leaving, content: bytes
) -> None:
    """Whole."""
    assert leaving.copy(HOT - 1) is None
    assert read(leaving.copy(1)) == content


def test_body_that_leaves_less_often_is_let_go_of(leaving: Leaving) -> None:
    """Each second anew."""
    assert leaving.copy(HOT)
    leaving.lending.tick()
    leaving.body.uses = HOT
    leaving.lending.tick()
    assert leaving.body.loan
    leaving.body.uses = HOT - 1
    leaving.lending.tick()
    assert leaving.body.loan is None
    assert leaving.copy(HOT)


def test_body_that_is_not_settled_is_not_lent(leaving: Leaving) -> None:
    """It may be changed again without another timestamp."""
    assert leaving.copy(HOT, seconds_later=0) is None


def test_body_that_has_changed_is_not_lent(leaving: Leaving, tmp_path: Path) -> None:
    """The head tells of the state in which it was opened."""
    with (tmp_path / "file").open("r+b") as file:
        file.write(b"other")
    assert leaving.copy(HOT) is None


def test_without_room_nothing_is_lent(leaving: Leaving) -> None:
    """Less than a page for each kind is none."""
    leaving.lending = Lending(leaving.pool, 2 * HUGE_PAGE - 1)
    assert leaving.copy(HOT) is None
    answer = leaving.wire(b"first")
    assert not any(leaving.lend_wire(answer) for _ in range(5))


# A server.


def held(server: Server) -> int:
    """Return how many bytes of copies the only worker of *server* has."""
    for descriptor in Path(f"/proc/{server.worker}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(descriptor).startswith("/memfd:bodies"):
                return descriptor.stat().st_blocks * BLOCK
    raise AssertionError("no file for copies")


@contextmanager
def asking(server: Server, content: bytes) -> Iterator[None]:
    """Ask for the file all the time; its copy is what leaves when the block begins."""
    is_over = threading.Event()
    since_copied = 0

    def ask() -> None:
        nonlocal since_copied
        with Client(server.port) as client:
            while not is_over.is_set():
                since_copied += held(server) == HUGE_PAGE
                assert client.request("/file").body in (content, b"other")

    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(ask)
        try:
            wait_until(lambda: since_copied > HOT, "a copy in use")
            yield
        finally:
            is_over.set()
        done.result()


def test_answer_stays_as_it_began(serve: Serve, tmp_path: Path, content: bytes) -> None:
    """Whatever is done to the file, which is otherwise seen within a second."""
    options = ("--workers", "1", "--keepalive-requests", "1000000")
    server = serve(tmp_path, *options, prefix=clock_ahead(tmp_path))
    with Client(server.port) as slow:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        with asking(server, content):
            slow.send(get("/file"))
            assert select.select([slow.socket], [], [], 20)[0]
            (tmp_path / "file").write_bytes(b"other")
        wait_until(lambda: fetch(server.port, "/file").body == b"other", "the change")
        assert held(server)
        assert slow.response().body == content
    wait_until(lambda: not held(server), "the end of the copy")
