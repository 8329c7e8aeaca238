"""What is counted, as a table, and how the counts of all workers come together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sendfile_server.hosting.board import Board


class Kind(Enum):
    """What may become of a number."""

    COUNTER = "counter"
    """It only grows, also when a worker is replaced."""
    GAUGE = "gauge"
    """It is as it is now."""
    HISTOGRAM = "histogram"
    """A counter, of what was no more than a bound."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number, and how it is read from what a worker counts in."""

    name: str
    """That of its metric; samples of one metric follow each other in a table."""
    help: str
    kind: Kind
    read: Callable[[Any], int]
    labels: tuple[tuple[str, str], ...] = ()
    """Names and values; nothing that a client can choose."""
    suffix: str = ""
    """What is added to the name."""
    scale: float = 1
    """What the number is multiplied by: it is whole only as it is read."""


def counter(
    name: str, help_text: str, read: Callable[[Any], int], **labels: str
) -> Sample:
    """State a sample that only grows."""
    pairs = tuple(labels.items())
    return Sample(name, help_text, Kind.COUNTER, read, pairs, "_total")


def gauge(name: str, help_text: str, read: Callable[[Any], int]) -> Sample:
    """State a sample that is as it is now."""
    return Sample(name, help_text, Kind.GAUGE, read)


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
            0 if sample.kind is Kind.GAUGE else number
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
