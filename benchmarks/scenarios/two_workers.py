"""Two workers against one: what they cost, and how connections fall to them."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

from benchmarks.connections import count_each, greatest_share
from benchmarks.load import Figures, measure
from benchmarks.scenarios.model import Scenario, Target
from benchmarks.scenarios.with_wrk import HOT_1K, prepare
from benchmarks.servers import Server
from benchmarks.sessions import Round, Session

# So many that chance alone does not make the greater share 60 %.
ROW = replace(HOT_1K, load=replace(HOT_1K.load, connections=256))

PAIR = "ours@2-workers"
OPTIONS = {"ours": (), PAIR: ("--workers", "2")}
PROCESSES = {"ours": 2, PAIR: 3}
"""With the supervisor."""
CPUS = (0, 1)


def play(session: Session, contenders: tuple[str, ...]) -> Iterator[Round]:
    """Load both. Workers and wrk share both CPUs, as the kernel sees fit.

    Bound to the second one, wrk would keep a worker that is there from accepting.
    """
    root = session.tree("1k.bin")
    with contextlib.ExitStack() as stack:
        servers = {
            name: stack.enter_context(
                session.start(name, root, cpus=CPUS, options=OPTIONS[name])
            )
            for name in contenders
        }
        for name, server in servers.items():
            server.wait_for_processes(PROCESSES[name])
        loads = {name: prepare(server, ROW) for name, server in servers.items()}

        def turn(name: str, server: Server, number: int) -> Figures:
            seconds = session.seconds
            with ThreadPoolExecutor(1) as pool:
                counts = pool.submit(_count_after, server, seconds / 2)
                figures = measure(
                    server, *loads[name], seconds=seconds, seed=number, cpus=CPUS
                )
            if name == PAIR:
                figures["greatest_share"] = greatest_share(counts.result())
            return figures

        yield from session.take_turns(servers, turn)


def _count_after(server: Server, seconds: float) -> list[int]:
    threading.Event().wait(seconds)  # in the middle of the run
    return count_each(server.pids(), server.port)


SCENARIO = Scenario(
    name="two-workers",
    what=f"1 KiB, {ROW.load.connections} connections",
    contenders=("ours", PAIR),
    play=play,
    targets=(
        Target(figure=1.1, of=PAIR, against=("ours",)),
        Target(figure=0.6, of=PAIR, measure="greatest_share"),
        Target(figure=None, of=PAIR, against=("ours",), measure="requests_per_s"),
    ),
    settings={
        "load": asdict(ROW.load),
        "options": OPTIONS,
        "server_cpus": CPUS,
        "client_cpus": CPUS,
        "client": "wrk",
    },
)
