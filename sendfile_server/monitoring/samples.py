"""What is counted, as a table, and how the counts of all workers come together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sendfile_server.hosting.board import Board


@dataclass(frozen=True, slots=True)
class Sample:
    """One number, and how it is read from what a worker counts in."""

    name: str
    """That of its metric; samples of one metric follow each other in a table."""
    help: str
    read: Callable[[Any], int]
    labels: tuple[tuple[str, str], ...] = ()
    """Names and values; nothing that a client can choose."""
    is_counter: bool = True
    """It only grows, also when a worker is replaced."""


Totals = list[tuple[Sample, int]]
"""Each sample with its sum over all workers."""


class Sheet:
    """The counts of one worker, on the board that all workers share."""

    def __init__(
        self, samples: Sequence[Sample], counts: object, board: Board, worker: int
    ) -> None:
        """Read *samples* from *counts*; go on from what a predecessor has counted."""
        self._samples = samples
        self._counts = counts
        self._board = board
        self._worker = worker
        self._before = [
            number if sample.is_counter else 0
            for sample, number in zip(samples, board.read(worker), strict=True)
        ]

    def publish(self) -> None:
        """Let all workers see the counts as they are now."""
        pairs = zip(self._samples, self._before, strict=True)
        numbers = [before + sample.read(self._counts) for sample, before in pairs]
        self._board.write(self._worker, numbers)

    def totals(self) -> Totals:
        """Return the sums; others' counts are as old as their last `publish`."""
        self.publish()
        return list(zip(self._samples, self._board.totals(), strict=True))
