"""What a program tells of itself: to whoever takes it, and without waiting."""

import fcntl
import logging
import os
from collections.abc import Iterator

import pytest

from sendfile_server.hosting.program_log import LineHandler

PIPE = 4096
LOST = b"lines of this log that are lost, for nobody took them: %d\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Make a pipe that takes one page, and no second line before that is read."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def tell(handler: logging.Handler, text: str) -> None:
    handler.handle(logging.LogRecord("name", logging.INFO, "", 0, text, None, None))


def test_what_nobody_takes_is_dropped_and_counted(pipe: tuple[int, int]) -> None:
    """Before the next line that is taken it is said how many were not."""
    reader, writer = pipe
    handler = LineHandler(writer)
    tell(handler, "x" * (PIPE - 1))
    for _ in range(3):
        tell(handler, "dropped")
    assert os.read(reader, 2 * PIPE) == b"x" * (PIPE - 1) + b"\n"
    tell(handler, "taken")
    assert os.read(reader, PIPE) == LOST % 3 + b"taken\n"
    tell(handler, "too")
    assert os.read(reader, PIPE) == b"too\n"


def test_long_line_is_written_as_far_as_it_is_taken(pipe: tuple[int, int]) -> None:
    """One that a pipe can't hold in whole does not wait either."""
    reader, writer = pipe
    handler = LineHandler(writer)
    tell(handler, "x" * 3 * PIPE)
    assert os.read(reader, 4 * PIPE) == b"x" * PIPE
    tell(handler, "taken")
    assert os.read(reader, PIPE) == LOST % 1 + b"taken\n"


def test_full_disk_holds_up_nobody() -> None:
    """Nor does it raise anything."""
    with open("/dev/full", "wb") as full:
        tell(LineHandler(full.fileno()), "line")
