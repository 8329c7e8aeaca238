"""Medians of per-round ratios, and how sure they are.

Servers that take turns within a round share what the machine did meanwhile, so
the ratio of two figures of one round says more than either of them. The interval
of the median of the rounds is taken from order statistics: it holds the true
median with the stated confidence whatever the distribution is.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median, and the ends of its interval."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 2 if self.median < 10 else 1
        low, high = f"{self.low:.{digits}f}", f"{self.high:.{digits}f}"
        return f"{self.median:.{digits}f} [{low}, {high}]"


def estimate(values: Sequence[float]) -> Estimate:
    """Return the median of *values* with its interval of 95 %.

    Fewer than six values can't give that much: then it is from the least to the
    greatest, as it is for six to eight.
    """
    ordered = sorted(values)
    rank = interval_rank(len(ordered))
    return Estimate(statistics.median(ordered), ordered[rank - 1], ordered[-rank])


def interval_rank(count: int) -> int:
    """Return k, such that the k-th least and k-th greatest are the interval.

    The true median is outside of them if fewer than k of *count* fell on one side
    of it, and each falls on either side as a fair coin would: the chance of that is
    twice a tail of the binomial distribution. k is the greatest for which it is at
    most 5 %, and at least 1.
    """
    tail, rank = 0.0, 0
    while 2 * (tail + math.comb(count, rank) / 2**count) <= 1 - CONFIDENCE:
        tail += math.comb(count, rank) / 2**count
        rank += 1
    return max(rank, 1)


def estimate_ratio(ours: Sequence[float], theirs: Sequence[float]) -> Estimate:
    """Return the median of the ratios of *ours* to *theirs*, round by round."""
    return estimate([mine / other for mine, other in zip(ours, theirs, strict=True)])
