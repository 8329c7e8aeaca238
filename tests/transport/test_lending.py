"""Pages that are lent to sockets: what is in them, and when they are given back."""

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sendfile_server.semantics.ranges import Span
from sendfile_server.transport.lending import HUGE_PAGE, Lender, Loan, Page
from sendfile_server.transport.sendfile import Ways
from sendfile_server.transport.sending import Progress, Sending
from wire import Pair

PAGE = os.sysconf("SC_PAGE_SIZE")
DATA = os.urandom(2 * HUGE_PAGE)
BLOCK = 512
"""Bytes that `st_blocks` counts in (stat(2))."""


@pytest.fixture
def lender() -> Lender:
    """Make one of two pages."""
    return Lender("lent", 2 * HUGE_PAGE + PAGE)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    """Open a file of two huge pages."""
    (tmp_path / "file").write_bytes(DATA)
    with (tmp_path / "file").open("rb") as file:
        yield file.fileno()


def take(lender: Lender) -> Page:
    page = lender.take()
    assert page is not None
    return page


def write(page: Page, data: bytes) -> Loan:
    loan = page.write(data)
    assert loan is not None
    return loan


def held(lender: Lender) -> int:
    """Return how many bytes the kernel holds for *lender*."""
    return os.fstat(lender.number).st_blocks * BLOCK


def pass_on(pair: Pair, loan: Loan) -> bytes:
    """Send all of *loan*, and return what arrives."""
    client, peer = pair
    sending = Sending(client, (loan.span,), loan, Ways())
    pieces = []
    while sending.advance(HUGE_PAGE, is_warm=True) is not Progress.DONE:
        pieces.append(peer.recv(HUGE_PAGE))
    client.close()
    while piece := peer.recv(HUGE_PAGE):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("size", [1, PAGE - 1, PAGE + 1, 50_000, HUGE_PAGE])
def test_what_was_written_is_sent_whole(lender: Lender, pair: Pair, size: int) -> None:
    """Its bytes, and nothing around them."""
    page = take(lender)
    first = write(page, DATA[-1000:]) if size < HUGE_PAGE else None
    loan = write(page, DATA[:size])
    last = page.write(DATA[-1000:])
    assert pass_on(pair, loan) == DATA[:size]
    assert bool(first) is bool(last)


@pytest.mark.parametrize("size", [1, PAGE - 1, PAGE + 1, HUGE_PAGE - 1, HUGE_PAGE])
@pytest.mark.parametrize("start", [0, 5000])
def test_copy_of_a_file_is_sent_whole(
    lender: Lender, source: int, pair: Pair, start: int, size: int
) -> None:
    """Its bytes, and nothing around them."""
    loan = take(lender).copy(source, Span(start, start + size))
    assert loan is not None
    assert pass_on(pair, loan) == DATA[start : start + size]


def test_pages_are_huge(lender: Lender) -> None:
    """Each is taken, and given back, as a whole."""
    first = take(lender)
    assert first.is_huge
    assert held(lender) == HUGE_PAGE
    second = take(lender)
    assert held(lender) == 2 * HUGE_PAGE
    del first
    assert held(lender) == HUGE_PAGE
    del second
    assert held(lender) == 0


def test_loans_of_a_page_share_no_bytes(lender: Lender, pair: Pair) -> None:
    """Each has its own, in whatever order they are sent and end."""
    page = take(lender)
    pieces = [DATA[start : start + 5000] for start in range(0, 50_000, 5000)]
    loans = [write(page, piece) for piece in pieces]
    del loans[3], pieces[3]
    client, peer = pair
    assert [loan.send(client) for loan in reversed(loans)] == [5000] * 9
    client.close()
    received = b"".join(iter(lambda: peer.recv(HUGE_PAGE), b""))
    assert received == b"".join(reversed(pieces))


def test_page_stays_as_long_as_a_loan_of_it(lender: Lender) -> None:
    """However many there were."""
    page = take(lender)
    loans = [write(page, b"x") for _ in range(HUGE_PAGE // PAGE)]
    assert page.write(b"x") is None
    del page, loans[1:]
    assert held(lender) == HUGE_PAGE
    loans.clear()
    assert held(lender) == 0


def test_what_is_on_its_way_outlives_its_page(lender: Lender, pair: Pair) -> None:
    """Sockets keep it as it was, and what is written to its place has another."""
    client, peer = pair
    assert write(take(lender), DATA[:60_000]).send(client) == 60_000
    others = [write(take(lender), bytes(HUGE_PAGE)) for _ in range(2)]
    assert len(others) == 2
    assert peer.recv(60_000, socket.MSG_WAITALL) == DATA[:60_000]


def test_no_more_is_lent_than_the_capacity(lender: Lender) -> None:
    """Whole pages count; and what was given back can be lent again."""
    pages = [take(lender) for _ in range(2)]
    assert lender.take() is None
    pages.pop()
    pages.append(take(lender))
    assert Lender("lent", HUGE_PAGE - 1).take() is None


def test_what_can_not_be_copied_is_no_loan(lender: Lender, source: int) -> None:
    """More than the page has room for, a file that is shorter, or can't be read."""
    page = take(lender)
    assert page.write(DATA) is None
    assert page.copy(source, Span(0, HUGE_PAGE + 1)) is None
    assert page.copy(source, Span(2 * HUGE_PAGE - 1, 2 * HUGE_PAGE + 1)) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        page.copy(-1, Span(0, 1))
    del page
    assert held(lender) == 0


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Let no file grow beyond *size* within the block (setrlimit(2), RLIMIT_FSIZE)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_refused_memory_is_no_loan(lender: Lender, source: int, pair: Pair) -> None:
    """What was lent before is still right."""
    page = take(lender)
    with limited(write(page, b"").span.start + 60_000):
        loan = write(page, DATA[:60_000])
        assert page.write(b"x") is None
        with pytest.raises(OSError, match="File too large"):
            page.copy(source, Span(0, 1))
        assert Lender("lent", 2 * HUGE_PAGE).take() is None
    assert pass_on(pair, loan) == DATA[:60_000]
