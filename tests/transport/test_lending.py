"""Pages that are lent to sockets: what is in them, and when they are given back."""

import os
import resource
import socket
from collections.abc import Iterator

import pytest

from sendfile_server.transport.lending import Lender
from wire import Pair

MIB = 1024 * 1024
PAGE = os.sysconf("SC_PAGE_SIZE")
DATA = os.urandom(50_000)
BLOCK = 512
"""Bytes that `st_blocks` counts in (stat(2))."""


@pytest.fixture
def lender() -> Lender:
    return Lender(MIB)


def held(lender: Lender) -> int:
    """Return how many bytes the kernel holds for *lender*."""
    return os.fstat(lender.number).st_blocks * BLOCK


def read_all(peer: socket.socket) -> bytes:
    pieces = []
    while piece := peer.recv(MIB):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("size", [1, PAGE - 1, PAGE, PAGE + 1, len(DATA)])
def test_loan_is_sent_whole(lender: Lender, pair: Pair, size: int) -> None:
    """Its bytes, and nothing of the pages around them."""
    loans = [lender.lend(DATA[:size]) for _ in range(3)]
    client, peer = pair
    assert loans[1] is not None
    assert loans[1].send(client, size) == size
    client.close()
    assert read_all(peer) == DATA[:size]


def test_loans_share_no_page(lender: Lender, pair: Pair) -> None:
    """Each has its own bytes, in whatever order they are sent and end."""
    pieces = [DATA[start : start + 5000] for start in range(0, 50_000, 5000)]
    loans = [lender.lend(piece) for piece in pieces]
    del loans[3], pieces[3]
    client, peer = pair
    for loan, piece in zip(reversed(loans), reversed(pieces), strict=True):
        assert loan is not None
        assert loan.send(client, len(piece)) == len(piece)
    client.close()
    assert read_all(peer) == b"".join(reversed(pieces))


def test_what_is_on_its_way_outlives_the_loan(lender: Lender, pair: Pair) -> None:
    """Sockets keep the pages that the file lets go of, and others don't get them."""
    client, peer = pair
    loan = lender.lend(DATA)
    assert loan is not None
    assert loan.send(client, len(DATA)) == len(DATA)
    del loan
    others = [lender.lend(bytes(len(DATA))) for _ in range(5)]
    assert held(lender) >= 5 * len(DATA)
    client.close()
    assert read_all(peer) == DATA
    del others


def test_loan_that_ends_frees_its_pages(lender: Lender) -> None:
    """However many there were, only those that live take memory."""
    for _ in range(200):
        loan = lender.lend(DATA)
        assert loan is not None
        assert len(DATA) <= held(lender) < 3 * len(DATA)
    del loan
    assert held(lender) == 0


def test_no_more_is_lent_than_the_capacity(lender: Lender) -> None:
    """Whole pages count; and what was given back can be lent again."""
    loans = [lender.lend(b"x") for _ in range(MIB // PAGE)]
    assert all(loans)
    assert lender.lend(b"x") is None
    assert held(lender) == MIB
    loans.pop()
    assert lender.lend(b"x")
    assert lender.lend(bytes(2 * PAGE)) is None


@pytest.fixture
def limit() -> Iterator[None]:
    """Limit the size of files to that of one loan (setrlimit(2), RLIMIT_FSIZE)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 * PAGE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("limit")
def test_refused_memory_ends_lending(lender: Lender, pair: Pair) -> None:
    """What was lent before is still right; the rest is copied, and nothing is kept."""
    client, peer = pair
    first = lender.lend(DATA)
    assert first is not None
    assert lender.lend(DATA) is None
    assert lender.lend(b"x") is None
    assert first.send(client, len(DATA)) == len(DATA)
    client.close()
    assert read_all(peer) == DATA
    del first
    assert held(lender) == 0


def test_full_socket_is_no_room(lender: Lender, pair: Pair) -> None:
    """What fits is sent and counted, and then the call would block."""
    client, peer = pair
    loan = lender.lend(DATA)
    assert loan is not None
    sent: list[int] = []

    def fill() -> None:
        while len(sent) < 10_000:
            sent.append(loan.send(client, len(DATA)))

    with pytest.raises(BlockingIOError):
        fill()
    client.close()
    assert read_all(peer) == b"".join(DATA[:count] for count in sent)
