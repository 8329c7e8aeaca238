"""How soon a server answers after it was started, and what a worker takes."""

import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import BenchmarkError
from benchmarks.load import HOST, Figures, measure
from benchmarks.scenarios.model import Scenario, Target
from benchmarks.scenarios.two_workers import CPUS, OPTIONS, PAIR, PROCESSES
from benchmarks.scenarios.with_wrk import BY_NAME, HOT_1K, prepare
from benchmarks.sessions import Round, Session, turn_order
from benchmarks.wire import fetch

MANY = replace(BY_NAME["zipf"], load=replace(BY_NAME["zipf"].load, script="each"))
"""More files than the memory holds."""
DEFAULT_BOUND_MIB = 64
BEYOND_MIB = 40
WORKERS = {"ours": 1, PAIR: 2}


def play(session: Session, contenders: tuple[str, ...]) -> Iterator[Round]:
    """Start each server anew in each round, ask it once, then for many files."""
    root = session.tree("1k.bin", *MANY.pieces)
    for number in range(1, session.rounds + 1):
        yield {
            name: _measure(session, name, root)
            for name in turn_order(contenders, number)
        }


def _measure(session: Session, name: str, root: Path) -> Figures:
    # It is asked for a connection once a millisecond, from when it is executed.
    options = OPTIONS[name]
    with session.start(name, root, cpus=CPUS, options=options) as server:
        response = fetch(server.port, HOT_1K.load.path, (HOST,))
        start_s = time.monotonic() - server.started_s
        if response.body != (root / "1k.bin").read_bytes():
            raise BenchmarkError(f"{name}: {response.status}, or another body")
        server.wait_for_processes(PROCESSES[name])
        new_kib = server.pss_kib()
        load, size = prepare(server, MANY)
        measure(server, load, size, seconds=session.seconds, seed=1, cpus=CPUS)
        return {
            "start_s": start_s,
            "new_mib_per_worker": new_kib / WORKERS[name] / 1024,
            "full_mib_per_worker": max(server.pss_each_kib()) / 1024,
        }


SCENARIO = Scenario(
    name="start",
    what="from start to first response, and the memory of a worker",
    contenders=("ours", PAIR),
    play=play,
    targets=tuple(
        target
        for each in ("ours", PAIR)
        for target in (
            Target(figure=0.3, of=each, measure="start_s"),
            Target(figure=BEYOND_MIB, of=each, measure="new_mib_per_worker"),
            Target(
                figure=DEFAULT_BOUND_MIB + BEYOND_MIB,
                of=each,
                measure="full_mib_per_worker",
            ),
        )
    ),
    settings={
        "load": asdict(MANY.load),
        "options": OPTIONS,
        "memory": "PSS of all processes over the workers, then of the greatest one",
        "server_cpus": CPUS,
        "client_cpus": CPUS,
        "client": "wrk, after the first response",
    },
    chart="start_s",
)
