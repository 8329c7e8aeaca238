"""How long small requests take while the server also sends large files."""

from collections.abc import Iterator
from dataclasses import asdict, replace

from benchmarks import BenchmarkError, trees
from benchmarks.downloads import File, download
from benchmarks.load import HOST, Figures, measure
from benchmarks.scenarios.model import Scenario, Target
from benchmarks.scenarios.with_wrk import HOT_1K, prepare
from benchmarks.servers import Server
from benchmarks.sessions import Round, Session
from benchmarks.wire import fetch

NAME = "100m.bin"
DOWNLOADS = 4
MIB_PER_S = 476
"""Of all downloads: about what a network of 10 Gbit/s takes."""
SMALL = replace(HOT_1K, load=replace(HOT_1K.load, script="paced", connections=16))

CLIENT_CPU = 1


def play(session: Session, contenders: tuple[str, ...]) -> Iterator[Round]:
    """Time 16 clients of 1 KiB while four others load 100 MiB again and again."""
    root = session.tree("1k.bin", NAME)
    trees.read_through(root / NAME)
    with session.start_all(contenders, root) as servers:
        loads = {name: prepare(server, SMALL) for name, server in servers.items()}
        files = {name: large_file(server, NAME) for name, server in servers.items()}

        def turn(name: str, server: Server, number: int) -> Figures:
            load, size = loads[name]
            seconds = session.seconds
            with download(
                server.port,
                [files[name]] * DOWNLOADS,
                mib_per_s=MIB_PER_S,
                cpu=CLIENT_CPU,
            ) as large:
                figures = measure(server, load, size, seconds=seconds, seed=number)
            return beside(figures, large.mib_per_s)

        yield from session.take_turns(servers, turn)


def large_file(server: Server, name: str) -> File:
    """Load a file once, check every byte, and return how its response is made."""
    response = fetch(server.port, f"/{name}", (HOST,))
    if response.status != 200 or response.body != (server.root / name).read_bytes():
        raise BenchmarkError(f"{server.name}: {response.status} for {name}")
    return File(path=f"/{name}", head=len(response.head), body=len(response.body))


def beside(figures: Figures, mib_per_s: float) -> Figures:
    """Return the figures of the small requests, with what was sent beside them.

    CPU per request is left out: the downloads' part of it is unknown.
    """
    kept = {
        name: value
        for name, value in figures.items()
        if not name.endswith("us_per_request")
    }
    return {**kept, "download_mib_per_s": mib_per_s}


SCENARIO = Scenario(
    name="beside-downloads",
    what="1 KiB for 16 connections, beside 4 that load 100 MiB",
    contenders=("ours", "ours-again", "nginx-aio", "nginx"),
    play=play,
    targets=(
        Target(figure=1.0, against=("nginx-aio",), measure="p99_ms"),
        Target(figure=None, against=("nginx-aio",), measure="p50_ms"),
        Target(figure=None, against=("nginx-aio",), measure="requests_per_s"),
        Target(figure=None, against=("nginx-aio",), measure="download_mib_per_s"),
        Target(figure=None, of="ours-again", against=("ours",), measure="p99_ms"),
    ),
    settings={
        "load": asdict(SMALL.load),
        "downloads": DOWNLOADS,
        "mib_per_s": MIB_PER_S,
        "server_cpus": [0],
        "client_cpus": [CLIENT_CPU],
        "client": "wrk, and a thread that takes the downloads without copying them",
    },
    chart="p99_ms",
)
