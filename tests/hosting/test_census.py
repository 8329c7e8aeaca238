"""The census: how workers share connections, also with one that sleeps."""

import contextlib
import os
import signal
from pathlib import Path

import pytest

from running import Serve, sockets, wait_until
from sendfile_server.hosting.board import Board
from sendfile_server.hosting.census import Census, Place
from sendfile_server.hosting.notices import Notices
from wire import Client


@pytest.mark.parametrize(
    ("mine", "others", "expected"),
    [
        pytest.param(4, (0,), False, id="a few more"),
        pytest.param(5, (0,), True, id="more than a few"),
        pytest.param(125, (100,), False, id="a fourth part more"),
        pytest.param(126, (100,), True, id="more than that"),
        pytest.param(126, (500, 100), True, id="of three, the least counts"),
        pytest.param(100, (126,), False, id="behind"),
    ],
)
def test_worker_is_ahead_of_the_least(
    mine: int, others: tuple[int, ...], expected: bool
) -> None:
    """By more than a few, and more than a fourth part."""
    census = Census(1 + len(others))
    for number, count in enumerate(others, 1):
        Place(number, 1000, Board(2, 0), Notices(2), census).note(count)
    place = Place(0, 1000, Board(2, 0), Notices(2), census)
    place.note(mine)
    assert place.is_ahead() is expected


def test_worker_that_is_alone_is_never_ahead() -> None:
    """It has nobody to leave a connection to."""
    place = Place(0, 1000, Board(2, 0), Notices(2), None)
    place.note(1000)
    assert not place.is_ahead()


def test_worker_knows_how_many_there_are() -> None:
    """With itself."""
    assert Place(0, 1000, Board(1, 0), Notices(1), None).workers == 1
    assert Place(2, 1000, Board(3, 0), Notices(3), Census(3)).workers == 3


def test_counts_are_seen_by_other_processes() -> None:
    """They are in memory that parent and child share."""
    census = Census(2)
    pid = os.fork()
    if not pid:
        Place(1, 1000, Board(2, 0), Notices(2), census).note(5)
        os._exit(0)
    os.waitpid(pid, 0)
    assert Place(1, 1000, Board(2, 0), Notices(2), census).is_ahead()
    assert not Place(0, 1000, Board(2, 0), Notices(2), census).is_ahead()


def test_burst_is_shared_once_all_are_awake(serve: Serve, tmp_path: Path) -> None:
    """Nobody waits for a worker that sleeps; it gets the next when it wakes."""
    server = serve(tmp_path, "--workers", "2")
    sleeper, other = server.children()
    before = {pid: sockets(pid) for pid in (sleeper, other)}
    with contextlib.ExitStack() as stack:

        def connect(count: int) -> None:
            for _ in range(count):
                client = stack.enter_context(Client(server.port))
                client.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.response().status == 404

        os.kill(sleeper, signal.SIGSTOP)
        try:
            connect(40)
        finally:
            os.kill(sleeper, signal.SIGCONT)
        assert sockets(sleeper) == before[sleeper]
        connect(60)
        counts = [sockets(pid) - before[pid] for pid in (sleeper, other)]
        assert sum(counts) == 100
        assert max(counts) <= 60
    wait_until(
        lambda: all(sockets(pid) == count for pid, count in before.items()),
        "connections to be closed",
    )
