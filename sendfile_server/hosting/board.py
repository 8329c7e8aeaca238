"""Numbers of each worker, in memory that all share, so that anyone can add them up."""

import mmap
from collections.abc import Sequence


class Board:
    """A row of whole numbers for each worker; only that worker writes to it."""

    def __init__(self, workers: int, columns: int) -> None:
        """Begin with 0, before the processes are made that are to share it."""
        # MAP_SHARED, unless told otherwise; and no mapping is empty.
        memory = mmap.mmap(-1, max(8, workers * columns * 8))
        self._numbers = memoryview(memory).cast("q")
        self._columns = columns

    def read(self, worker: int) -> list[int]:
        """Return the row of *worker*, which it or a predecessor wrote."""
        return self._numbers[self._row(worker)].tolist()

    def write(self, worker: int, numbers: Sequence[int]) -> None:
        """Let *numbers* be the row of *worker*."""
        for column, number in enumerate(numbers, self._row(worker).start):
            self._numbers[column] = number

    def totals(self) -> list[int]:
        """Return the sum of each column."""
        return [sum(self._numbers[n :: self._columns]) for n in range(self._columns)]

    def _row(self, worker: int) -> slice:
        return slice(worker * self._columns, (worker + 1) * self._columns)
