"""Two thousand bulk connections at once, more than there may be pipes for.

What is measured is what each of them takes; and all that is sent must come.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks import BenchmarkError
from benchmarks.load import Figures
from benchmarks.scenarios.idle_connections import allow_descriptors
from benchmarks.scenarios.model import Scenario, Target
from benchmarks.scenarios.relay import OURS
from benchmarks.servers import Server
from benchmarks.sessions import Round, Session, turn_order
from benchmarks.traffic import Traffic, build, check_relay, open_target, port_of, run

TRAFFIC = Traffic(program="many", connections=2000)

# Two ends of each connection, for the load and for the relay.
_FILES = 2 * TRAFFIC.connections + 1000
# What lets a user have more pipes than the quota (pipe(7), pipe-user-pages-soft), by
# its number in capabilities(7).
_EXEMPTING = {"sys_admin": 21, "sys_resource": 24}


def play(session: Session, contenders: tuple[str, ...]) -> Iterator[Round]:
    """Start each relay anew in each round: memory that was used is not given back."""
    allow_descriptors(_FILES)
    program = build(TRAFFIC, session.cache)
    for number in range(1, session.rounds + 1):
        yield {
            name: _measure(session, name, program)
            for name in turn_order(contenders, number)
        }


def _measure(session: Session, name: str, program: Path) -> Figures:
    with (
        open_target() as target,
        session.start(name, target=port_of(target), wrapper=unprivileged()) as relay,
    ):
        check_relay(relay, target)
        check_quota(relay)
        before = relay.pss_kib()
        taken: list[int] = []
        counted = run(
            program,
            TRAFFIC,
            relay,
            target,
            seconds=session.seconds,
            look=lambda: taken.append(relay.pss_kib() - before),
        )
    return {
        "kib_each": max(taken) / TRAFFIC.connections,
        "lost": counted["lost"],
        "stuck": counted["stuck"],
        "gb_per_s": counted["bytes"] / counted["seconds"] / 1e9,
    }


def unprivileged() -> tuple[str, ...]:
    """Return the command that executes what comes after it without an exemption."""
    if os.geteuid():
        return ()
    names = ",".join(f"-{name}" for name in _EXEMPTING)
    return ("setpriv", "--bounding-set", names, "--inh-caps", names)


def check_quota(relay: Server) -> None:
    """Raise BenchmarkError if *relay* may have more pipes than the quota."""
    for pid in relay.pids():
        status = Path(f"/proc/{pid}/status").read_text()
        effective = int(status.partition("CapEff:")[2].split()[0], 16)
        if any(effective >> number & 1 for number in _EXEMPTING.values()):
            raise BenchmarkError(f"{relay.name} is exempt from the quota of pipes")


SCENARIO = Scenario(
    name="relay-many",
    what=f"{TRAFFIC.connections:,} bulk connections at once, past the quota of pipes",
    contenders=(OURS, "haproxy", "nginx-stream", "go-relay"),
    play=play,
    targets=(
        Target(figure=20, of=OURS, measure="kib_each"),
        Target(figure=0, of=OURS, measure="lost"),
        Target(figure=0, of=OURS, measure="stuck"),
    ),
    settings={
        "traffic": asdict(TRAFFIC),
        "memory": "PSS of the relay's processes; not what the kernel takes",
        "server_cpus": [0],
        "client_cpus": [1],
        "client": "loads/many.c, which is both ends",
    },
    chart="kib_each",
)
