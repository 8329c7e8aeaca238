"""What a scenario is, whatever it measures and however."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.sessions import Round, Session

CPU = "cpu_us_per_request"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One claim: a figure that ours must keep, by itself or against others."""

    figure: float | None
    """None only shows what was measured."""
    against: tuple[str, ...] = ()
    """Ours divided by the best of these; empty takes ours by itself."""
    measure: str = CPU
    of: str = "ours"
    is_at_least: bool = False
    """Whether more is better; else, *figure* is the most."""
    is_inverse: bool = False
    """Whether it is theirs divided by ours: so many times less."""
    is_aim: bool = False
    """Whether it is hoped for, and not promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One thing that is measured, for several contenders side by side.

    *play* is handed the session and the contenders that are there, starts them,
    and yields the figures of each round. A contender is a peer, or ``peer@where``
    if the same peer takes part in several ways.
    """

    name: str
    what: str
    contenders: tuple[str, ...]
    play: Callable[[Session, tuple[str, ...]], Iterator[Round]]
    targets: tuple[Target, ...]
    settings: Mapping[str, object] = field(default_factory=dict)
    """What a result says about how it was measured."""
    chart: str = CPU
    """The measure that the chart shows."""
