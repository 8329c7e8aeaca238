"""Targets against rounds: what was measured, and whether it is reached."""

import statistics
from dataclasses import dataclass
from enum import Enum

from benchmarks.ratios import Estimate, estimate, estimate_ratio
from benchmarks.results import Result
from benchmarks.scenarios.model import Target

TOLERANCE = 0.05
"""By how much the worse end of a ratio's interval may exceed the figure."""


class Outcome(Enum):
    """What became of a target."""

    REACHED = "reached"
    MISSED = "missed"
    SHOWN = "—"
    """It has no figure to reach."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target with what was measured."""

    target: Target
    peer: str | None
    """The one that it was judged by."""
    value: Estimate
    outcome: Outcome


def judge(target: Target, result: Result) -> Verdict | None:
    """Return the verdict, or None if a server that it needs was not measured.

    Of several peers the best one counts: that with the best median of the
    measure itself.
    """
    ours = result.series(target.of, target.measure)
    if ours is None:
        return None
    if not target.against:
        value = estimate(ours)
        return Verdict(target, None, value, _outcome(target, value, 0))
    known: dict[str, list[float]] = {}
    for peer in target.against:
        values = result.series(peer, target.measure)
        if values is None:
            return None
        known[peer] = values
    is_more_better = target.is_at_least is not target.is_inverse
    choose = max if is_more_better else min
    best = choose(known, key=lambda peer: statistics.median(known[peer]))
    pair = (known[best], ours) if target.is_inverse else (ours, known[best])
    value = estimate_ratio(*pair)
    return Verdict(target, best, value, _outcome(target, value, TOLERANCE))


def _outcome(target: Target, value: Estimate, tolerance: float) -> Outcome:
    if target.figure is None:
        return Outcome.SHOWN
    if target.is_at_least:
        is_reached = value.low >= target.figure - tolerance
    else:
        is_reached = value.high <= target.figure + tolerance
    return Outcome.REACHED if is_reached else Outcome.MISSED
