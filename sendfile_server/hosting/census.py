"""How many connections each worker has, so that none takes far more than its share.

All workers accept from the same sockets, and who is awake first is served first. A
burst may fall to one of them, and its connections may last. So whoever is well
ahead lets the others go first, for a moment.
"""

import mmap
from dataclasses import dataclass

from sendfile_server.hosting.board import Board
from sendfile_server.hosting.notices import Notices

# By how many a worker may lead; with many, by that part of what the least has.
_LEAD = 4
_PART = 4


class Census:
    """A count for each worker, in memory that all of them share."""

    def __init__(self, workers: int) -> None:
        """Begin with none, before the processes are made that are to share it."""
        memory = mmap.mmap(-1, workers * 4)  # MAP_SHARED, unless told otherwise
        self._counts = memoryview(memory).cast("I")

    @property
    def workers(self) -> int:
        """How many there are."""
        return len(self._counts)

    def note(self, number: int, count: int) -> None:
        """Let *count* be what worker *number* has."""
        self._counts[number] = count

    def others(self, number: int) -> int:
        """Return how many all but worker *number* have."""
        return sum(self._counts) - self._counts[number]

    def is_ahead(self, number: int) -> bool:
        """Tell whether worker *number* has many more than another."""
        least = min(self._counts)
        return self._counts[number] - least > max(_LEAD, least // _PART)


@dataclass(frozen=True, slots=True)
class Place:
    """That of one worker among all."""

    number: int
    """Counted from 0."""
    max_connections: int
    """Its share of those that all may have."""
    board: Board
    notices: Notices
    census: Census | None
    """None if it is alone."""

    @property
    def workers(self) -> int:
        """How many there are, with this one."""
        return self.census.workers if self.census else 1

    def note(self, count: int) -> None:
        """Let *count* be how many connections it has."""
        if self.census:
            self.census.note(self.number, count)

    def others(self) -> int:
        """Return how many connections all others have."""
        return self.census.others(self.number) if self.census else 0

    def is_ahead(self) -> bool:
        """Tell whether it has many more than another."""
        return self.census is not None and self.census.is_ahead(self.number)
