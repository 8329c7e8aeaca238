"""What goes through a relay, and what each of them takes for it: one row each."""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from benchmarks.load import Figures
from benchmarks.scenarios.model import CPU, Scenario, Target
from benchmarks.servers import Server
from benchmarks.sessions import Round, Session
from benchmarks.traffic import (
    CPU_PER_GB,
    Traffic,
    build,
    check_relay,
    measure,
    open_target,
    port_of,
)

OURS, AGAIN = "ours-relay", "ours-relay-again"
COPYING = "ours-relay@no-splice"
OPTIONS = {COPYING: ("--no-splice",)}
# Which of these is the best depends on what is relayed.
HAPROXY = ("haproxy", "haproxy-copy")
NGINX = ("nginx-stream", "nginx-stream-1m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One scenario of a relay."""

    name: str
    what: str
    traffic: Traffic
    targets: tuple[Target, ...]
    contenders: tuple[str, ...] = (OURS, AGAIN, *HAPROXY, "go-relay", "nginx-stream")
    chart: str = CPU


def _bulk(flows: str, connections: int) -> Row:
    return Row(
        name=f"relay-{connections}-{flows}",
        what=f"bulk one way, {connections} {flows}",
        traffic=Traffic(program="bulk", connections=connections),
        contenders=(OURS, AGAIN, COPYING, "haproxy", "go-relay", *NGINX),
        targets=(
            *(
                Target(figure=figure, of=OURS, against=(peer,), measure=CPU_PER_GB)
                for peer, figure in (
                    ("haproxy", 0.9),
                    ("go-relay", 0.9),
                    *((each, 0.7) for each in NGINX),
                    (COPYING, 0.7),
                )
            ),
            *(
                Target(figure=1.1, of=COPYING, against=(each,), measure=CPU_PER_GB)
                for each in NGINX
            ),
            Target(figure=None, of=OURS, against=("haproxy",), measure="gb_per_s"),
            Target(figure=None, of=AGAIN, against=(OURS,), measure=CPU_PER_GB),
        ),
        chart=CPU_PER_GB,
    )


ROWS = (
    _bulk("flow", 1),
    _bulk("flows", 8),
    Row(
        name="relay-ping-pong",
        what="64 bytes there and back, 16 connections",
        traffic=Traffic(program="ping_pong", connections=16),
        targets=(
            Target(figure=1.1, of=OURS, against=HAPROXY, measure="p50_us"),
            Target(figure=1.1, of=OURS, against=HAPROXY, measure="p99_us"),
            Target(figure=None, of=OURS, against=HAPROXY),
            Target(figure=None, of=AGAIN, against=(OURS,), measure="p50_us"),
        ),
        chart="p50_us",
    ),
    Row(
        name="relay-connections",
        what="connect, 64 bytes there and back, close",
        traffic=Traffic(program="connections", connections=16),
        targets=(
            Target(figure=1.5, of=OURS, against=HAPROXY),
            Target(figure=1.2, of=OURS, against=HAPROXY, is_aim=True),
            Target(figure=None, of=AGAIN, against=(OURS,)),
        ),
    ),
)


def make_scenario(row: Row) -> Scenario:
    """Return the scenario that a row describes."""
    return Scenario(
        name=row.name,
        what=row.what,
        contenders=row.contenders,
        play=functools.partial(_play, row.traffic),
        targets=row.targets,
        settings={
            "traffic": asdict(row.traffic),
            "options": OPTIONS,
            "server_cpus": [0],
            "client_cpus": [1],
            "client": f"loads/{row.traffic.program}.c, which is both ends",
        },
        chart=row.chart,
    )


def _play(
    traffic: Traffic, session: Session, contenders: tuple[str, ...]
) -> Iterator[Round]:
    program = build(traffic, session.cache)
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(open_target())
        port = port_of(target)
        relays = {
            name: stack.enter_context(
                session.start(name, target=port, options=OPTIONS.get(name, ()))
            )
            for name in contenders
        }
        for relay in relays.values():
            check_relay(relay, target)

        def turn(_: str, relay: Server, __: int) -> Figures:
            seconds = session.seconds
            return measure(program, traffic, relay, target, seconds=seconds)

        yield from session.take_turns(relays, turn)


SCENARIOS = tuple(map(make_scenario, ROWS))
