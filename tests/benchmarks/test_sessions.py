from itertools import permutations

import pytest

from benchmarks.sessions import turn_order

NAMES = ("ours", "nginx", "h2o")


@pytest.mark.parametrize("number", range(8))
def test_everyone_has_one_turn(number: int) -> None:
    """A round has every server once."""
    assert sorted(turn_order(NAMES, number)) == sorted(NAMES)


def test_everyone_precedes_everyone_as_often_as_follows() -> None:
    """Over a full cycle, no server gains by its place in a round."""
    rounds = [turn_order(NAMES, number) for number in range(2 * len(NAMES))]

    for first, second in permutations(NAMES, 2):
        earlier = sum(each.index(first) < each.index(second) for each in rounds)
        assert earlier == len(rounds) / 2
