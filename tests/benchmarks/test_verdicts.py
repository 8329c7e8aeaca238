import pytest

from benchmarks.results import Result
from benchmarks.scenarios.model import CPU, Target
from benchmarks.verdicts import Outcome, judge


def result(**servers: float) -> Result:
    """Return a result of nine rounds in which each server's CPU is one figure."""
    rounds = [{name: {CPU: cpu} for name, cpu in servers.items()}] * 9
    return Result(
        "any", quotable=True, settings={}, environment={}, servers={}, rounds=rounds
    )


AT_MOST = Target(figure=1, against=("nginx",))
AT_LEAST = Target(figure=1, against=("nginx",), is_at_least=True)
TIMES_LESS = Target(figure=25, against=("nginx",), is_at_least=True, is_inverse=True)
ALONE = Target(figure=296)
SHOWN = Target(figure=None, against=("nginx",))


@pytest.mark.parametrize(
    ("ours", "theirs", "target", "outcome"),
    [
        pytest.param(10, 10, AT_MOST, Outcome.REACHED, id="equal"),
        pytest.param(10.4, 10, AT_MOST, Outcome.REACHED, id="more-by-less-than-0.05"),
        pytest.param(10.6, 10, AT_MOST, Outcome.MISSED, id="more"),
        pytest.param(9.6, 10, AT_LEAST, Outcome.REACHED, id="less-by-less-than-0.05"),
        pytest.param(9.4, 10, AT_LEAST, Outcome.MISSED, id="less"),
        pytest.param(10, 260, TIMES_LESS, Outcome.REACHED, id="so-many-times"),
        pytest.param(10, 240, TIMES_LESS, Outcome.MISSED, id="not-so-many-times"),
        pytest.param(296, 1, ALONE, Outcome.REACHED, id="alone"),
        pytest.param(296.01, 1, ALONE, Outcome.MISSED, id="alone-without-tolerance"),
        pytest.param(99, 1, SHOWN, Outcome.SHOWN, id="only-shown"),
    ],
)
def test_outcome(ours: float, theirs: float, target: Target, outcome: Outcome) -> None:
    """A target is reached if the worse end of the interval is, within 0.05."""
    verdict = judge(target, result(ours=ours, nginx=theirs))

    assert verdict is not None
    assert verdict.outcome is outcome


def test_one_bad_round_of_nine_does_not_miss() -> None:
    """The interval of nine rounds leaves out one at each end."""
    ours = [1.0] * 8 + [9.0]
    rounds = [{"ours": {CPU: each}, "nginx": {CPU: 1.0}} for each in ours]
    measured = Result(
        "any", quotable=True, settings={}, environment={}, servers={}, rounds=rounds
    )

    verdict = judge(Target(figure=1, against=("nginx",)), measured)

    assert verdict is not None
    assert verdict.outcome is Outcome.REACHED


@pytest.mark.parametrize(
    ("is_at_least", "best"), [(False, "h2o"), (True, "nginx")], ids=["less", "more"]
)
def test_best_peer_is_the_judge(is_at_least: bool, best: str) -> None:
    """Of several peers it is the one that is hardest to beat."""
    target = Target(figure=1, against=("nginx", "h2o"), is_at_least=is_at_least)

    verdict = judge(target, result(ours=1, nginx=3, h2o=2))

    assert verdict is not None
    assert verdict.peer == best


@pytest.mark.parametrize(
    "servers",
    [{"ours": 1.0, "nginx": 1.0}, {"nginx": 1.0, "h2o": 1.0}],
    ids=["peer", "ours"],
)
def test_nothing_is_judged_without_all_servers(servers: dict[str, float]) -> None:
    """The best of two is unknown if one was not measured."""
    target = Target(figure=1, against=("nginx", "h2o"))

    assert judge(target, result(**servers)) is None
