"""The numbers that workers share."""

import os

from sendfile_server.hosting.board import Board


def test_columns_add_up_over_processes() -> None:
    """What a child wrote is seen here, and each row has its writer."""
    board = Board(3, 2)
    board.write(1, [1, 10])
    child = os.fork()
    if child == 0:
        board.write(2, [2, 2**40])
        os._exit(0)
    os.waitpid(child, 0)

    assert board.read(0) == [0, 0]
    assert board.read(1) == [1, 10]
    assert board.read(2) == [2, 2**40]
    assert board.totals() == [3, 10 + 2**40]


def test_may_have_no_columns() -> None:
    """Where nothing is counted, the sums are none."""
    assert Board(2, 0).totals() == []
