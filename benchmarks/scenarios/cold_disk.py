"""How long small requests take while others wait for a slow disk."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict

from benchmarks import BenchmarkError
from benchmarks.disks import evict, slow_disk
from benchmarks.downloads import download
from benchmarks.load import Figures, measure
from benchmarks.scenarios.beside_downloads import (
    CLIENT_CPU,
    MIB_PER_S,
    SMALL,
    beside,
    large_file,
)
from benchmarks.scenarios.model import Scenario, Target
from benchmarks.scenarios.with_wrk import prepare
from benchmarks.servers import Server
from benchmarks.sessions import Round, Session
from benchmarks.trees import COLD

DISK_MIB_PER_S = 16
"""For each server by itself. In 7 s nobody can finish a file, and find it in memory."""
REST_S = 4
"""Between two turns of a server: what was just used is not dropped otherwise."""
MOST = 4
"""So many times that much comes at most: some was on its way when counting began."""


def play(session: Session, contenders: tuple[str, ...]) -> Iterator[Round]:
    """Time 16 clients of 1 KiB while four others load files that must be read."""
    # A read that was begun goes on, after its client has gone: if servers read the
    # same files, one would find in memory what the one before had asked for.
    own = dict(zip(contenders, COLD, strict=False))
    root = session.tree("1k.bin", *(each for group in own.values() for each in group))
    with contextlib.ExitStack() as stack:
        groups = {
            name: stack.enter_context(slow_disk(name, root, DISK_MIB_PER_S * 2**20))
            for name in contenders
        }
        servers = stack.enter_context(session.start_all(contenders, root))
        loads = {name: prepare(server, SMALL) for name, server in servers.items()}
        files = {
            name: [large_file(server, each) for each in own[name]]
            for name, server in servers.items()
        }
        for name, group in groups.items():
            for pid in servers[name].pids():
                group.write_text(str(pid))

        rested = dict.fromkeys(contenders, 0.0)

        def turn(name: str, server: Server, number: int) -> Figures:
            load, size = loads[name]
            seconds = session.seconds
            threading.Event().wait(max(0.0, rested[name] - time.monotonic()))
            evict([root / each for each in own[name]])
            before = server.read_bytes()
            with download(
                server.port, files[name], mib_per_s=MIB_PER_S, cpu=CLIENT_CPU
            ) as cold:
                figures = measure(server, load, size, seconds=seconds, seed=number)
            rested[name] = time.monotonic() + REST_S
            check_coldness(name, server.read_bytes() - before, cold.bytes)
            if cold.mib_per_s > MOST * DISK_MIB_PER_S:
                raise BenchmarkError(f"{name}: {cold.mib_per_s:.0f} MiB/s is not slow")
            return beside(figures, cold.mib_per_s)

        yield from session.take_turns(servers, turn)


def check_coldness(name: str, read: int, sent: int) -> None:
    """Raise BenchmarkError if less than half of what was sent came from the disk.

    What was on its way when counting began is in memory.
    """
    if read < sent / 2:
        raise BenchmarkError(f"{name}: {sent - read} bytes came from memory")


SCENARIO = Scenario(
    name="cold-disk",
    what="1 KiB from memory for 16 connections, beside 4 that wait for a slow disk",
    contenders=("ours", "ours-again", "nginx-aio", "nginx"),
    play=play,
    targets=(
        Target(figure=1.0, against=("nginx-aio",), measure="p99_ms"),
        Target(figure=None, against=("nginx-aio",), measure="p50_ms"),
        Target(figure=None, against=("nginx-aio",), measure="download_mib_per_s"),
        Target(figure=None, of="ours-again", against=("ours",), measure="p99_ms"),
    ),
    settings={
        "load": asdict(SMALL.load),
        "downloads": len(COLD[0]),
        "disk_mib_per_s": DISK_MIB_PER_S,
        "server_cpus": [0],
        "client_cpus": [CLIENT_CPU],
        "client": "wrk, and a thread that takes the downloads without copying them",
    },
    chart="p99_ms",
)
