import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.ratios import Estimate, estimate, estimate_ratio, interval_rank

FIGURES = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("count", "rank"),
    [
        (1, 1),
        (5, 1),
        (6, 1),
        (7, 1),
        (8, 1),
        (9, 2),
        (11, 2),
        (12, 3),
        (20, 6),
        (25, 8),
    ],
)
def test_interval_ranks_are_those_of_the_tables(count: int, rank: int) -> None:
    """The ranks are the published ones for the median at 95 %."""
    assert interval_rank(count) == rank


@given(st.integers(6, 200))
def test_interval_is_the_narrowest_that_is_sure_enough(count: int) -> None:
    """It misses the true median in at most 5 % of cases; one rank further, in more."""
    rank = interval_rank(count)

    def misses(ranks: int) -> float:
        return sum(math.comb(count, each) for each in range(ranks)) / 2.0 ** (count - 1)

    assert misses(rank) <= 0.05 < misses(rank + 1)


@given(FIGURES)
def test_interval_holds_the_median_and_is_made_of_values(values: list[float]) -> None:
    """Nothing is interpolated at the ends, and the median is between them."""
    found = estimate(values)

    assert found.median == statistics.median(values)
    assert found.low <= found.median <= found.high
    assert {found.low, found.high} <= set(values)


@given(FIGURES)
def test_order_of_rounds_does_not_matter(values: list[float]) -> None:
    """An estimate is one of a set of rounds."""
    assert estimate(values[::-1]) == estimate(values)


def test_seven_rounds_give_the_least_and_the_greatest() -> None:
    """With seven rounds, the interval is the whole range."""
    assert estimate([3, 1, 2, 7, 5, 4, 6]) == Estimate(4, 1, 7)


def test_nine_rounds_leave_one_out_at_each_end() -> None:
    """With nine rounds, one odd round at either end does no harm."""
    assert estimate([1, 2, 3, 4, 5, 6, 7, 8, 99]) == Estimate(5, 2, 8)


@given(FIGURES, st.floats(0.1, 10))
def test_ratio_is_taken_round_by_round(theirs: list[float], factor: float) -> None:
    """A machine that slows down for a round slows both, and the ratio stays."""
    ours = [factor * value for value in theirs]

    assert estimate_ratio(ours, theirs).low == pytest.approx(factor)
    assert estimate_ratio(ours, theirs).high == pytest.approx(factor)


def test_rounds_must_pair() -> None:
    """A figure without its pair is no ratio."""
    with pytest.raises(ValueError, match="shorter"):
        estimate_ratio([1, 2], [1])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Estimate(0.954, 0.941, 0.969), "0.95 [0.94, 0.97]"),
        (Estimate(26.64, 25.96, 27.3), "26.6 [26.0, 27.3]"),
    ],
)
def test_estimate_reads_as_median_and_interval(value: Estimate, text: str) -> None:
    """Small figures have two digits, large ones one."""
    assert str(value) == text
