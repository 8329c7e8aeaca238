"""What ten thousand idle connections take, and whether others notice them."""

import contextlib
import resource
import socket
import struct
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial

from benchmarks import BenchmarkError, UnavailableError
from benchmarks.connections import count_each
from benchmarks.load import HOST, Figures, measure
from benchmarks.scenarios.model import Scenario, Target
from benchmarks.scenarios.two_workers import PAIR, PROCESSES
from benchmarks.scenarios.with_wrk import HOT_1K, prepare
from benchmarks.servers import Server
from benchmarks.sessions import Round, Session, turn_order
from benchmarks.wire import format_request

COUNT = 10_000
# Ours reckons with two descriptors for each connection: two workers have room for
# so many where one may open 20,000 files, as is usual.
OPTIONS = (
    *("--workers", "2", "--max-connections", "12000"),
    *("--keepalive-timeout", "3600"),
)
BESIDE_IDLE = "ours@idle"
# How long requests take is asked apart: of a full server it is how long they queue.
PACED = replace(HOT_1K.load, script="paced")

_FILES = 13_000
"""For each process: of the server, and here."""
_DEADLINE_S = 20.0
# On and 0 seconds: closing resets, and leaves nothing behind (socket(7)).
_RESETS = struct.pack("ii", 1, 0)


def play(session: Session, contenders: tuple[str, ...]) -> Iterator[Round]:
    """Load two new servers in each round, of which one has idle connections too.

    New ones, since memory that was used once is not given back: only the first
    connections of a process show what they take.
    """
    allow_descriptors(_FILES)
    root = session.tree("1k.bin")
    for number in range(1, session.rounds + 1):
        with contextlib.ExitStack() as stack:
            servers = {
                name: stack.enter_context(session.start(name, root, options=OPTIONS))
                for name in contenders
            }
            for server in servers.values():
                server.wait_for_processes(PROCESSES[PAIR])
            load = HOT_1K.load
            sizes = {name: prepare(each, HOT_1K)[1] for name, each in servers.items()}
            for name, server in servers.items():
                measure(server, load, sizes[name], seconds=1, seed=0)  # warms up
            taken_kib = 0
            if BESIDE_IDLE in servers:
                server = servers[BESIDE_IDLE]
                before = server.pss_kib()
                open_idle(stack, server.port, sizes[BESIDE_IDLE])
                taken_kib = server.pss_kib() - before
            figures: Round = {}
            for name in turn_order(contenders, number):
                turn = partial(
                    measure,
                    servers[name],
                    size=sizes[name],
                    seconds=session.seconds,
                    seed=number,
                )
                figures[name] = turn(load) | latencies(turn(PACED))
            if BESIDE_IDLE in servers:
                check_idle(servers[BESIDE_IDLE])
                figures[BESIDE_IDLE]["idle_kib_each"] = taken_kib / COUNT
        yield figures


def allow_descriptors(count: int) -> None:
    """Let this process and those that it starts open *count* files.

    Raises UnavailableError if that may not be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count:
        raise UnavailableError(f"it takes {count} open files, and {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))


def open_idle(stack: contextlib.ExitStack, port: int, size: int) -> None:
    """Open connections that have had a response of *size* bytes, until *stack* ends.

    Raises BenchmarkError if one of the responses is short.
    """
    request = format_request(HOT_1K.load.path, (HOST,))
    for number in range(COUNT):
        client = stack.enter_context(
            socket.create_connection(("127.0.0.1", port), _DEADLINE_S)
        )
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
        client.sendall(request)
        missing = size
        while missing:
            data = client.recv(missing)
            if not data:
                raise BenchmarkError(f"connection {number}: {missing} bytes short")
            missing -= len(data)


def latencies(figures: Figures) -> Figures:
    """Return how long requests took, and nothing else."""
    return {name: each for name, each in figures.items() if name.endswith("_ms")}


def check_idle(server: Server) -> None:
    """Raise BenchmarkError if the server has closed one of them meanwhile."""
    held = sum(count_each(server.pids(), server.port))
    if held < COUNT:
        raise BenchmarkError(f"{server.name} holds {held} connections of {COUNT}")


SCENARIO = Scenario(
    name="idle-connections",
    what=f"{HOT_1K.what}, beside {COUNT:,} that are idle",
    contenders=("ours", BESIDE_IDLE),
    play=play,
    targets=(
        Target(figure=1.5, of=BESIDE_IDLE, measure="idle_kib_each"),
        Target(figure=1.0, of=BESIDE_IDLE, against=("ours",), measure="p50_ms"),
        Target(figure=1.0, of=BESIDE_IDLE, against=("ours",), measure="p99_ms"),
        Target(
            figure=None, of=BESIDE_IDLE, against=("ours",), measure="requests_per_s"
        ),
    ),
    settings={
        "load": asdict(HOT_1K.load),
        "load_for_latency": asdict(PACED),
        "idle_connections": COUNT,
        "options": OPTIONS,
        "memory": "PSS of the server's processes; not what the kernel takes",
        "server_cpus": [0],
        "client_cpus": [1],
        "client": "wrk; idle connections are those of the command itself",
    },
    chart="p99_ms",
)
