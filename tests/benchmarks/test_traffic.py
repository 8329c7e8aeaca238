import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import BenchmarkError, servers
from benchmarks.peers import PEERS, find_version
from benchmarks.scenarios.relay_many import check_quota, unprivileged
from benchmarks.servers import UNUSED, CpuUse, Server
from benchmarks.traffic import (
    CPU_PER_GB,
    Traffic,
    build,
    check_relay,
    make_figures,
    measure,
    open_target,
    port_of,
    run,
)
from tools import give_up, need

CPUS = (min(os.sched_getaffinity(0)),)
RELAYS = ("ours-relay", "haproxy", "go-relay", "nginx-stream", "nginx-stream-1m")
SPLICING = frozenset(("ours-relay", "haproxy", "go-relay"))

# A relay that does to each piece what its second argument says.
BROKEN = """
import socket, sys, threading

change = eval(sys.argv[2])

def pass_on(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(change(data))
        sink.shutdown(socket.SHUT_WR)
    except Exception:
        source.shutdown(socket.SHUT_RDWR)
        sink.shutdown(socket.SHUT_RDWR)

with socket.create_server(("127.0.0.1", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        target = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        for pair in ((client, target), (target, client)):
            threading.Thread(target=pass_on, args=pair, daemon=True).start()
"""
# The greeting of a load is one byte, and comes through.
FAULTS = {
    "none": "lambda data: data",
    "shortens": "lambda data: data[:-1] or data",
    "changes": "lambda data: data if len(data) == 1 else bytes(len(data))",
    "breaks": "lambda data: data if len(data) == 1 else 1 / 0",
    "stalls": "lambda data: data if len(data) == 1 else threading.Event().wait()",
}

Break = Callable[[str], Server]
Load = Callable[[str], tuple[Path, Traffic]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep what is built for all of these tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def target() -> Iterator[socket.socket]:
    """Listen where relays connect to."""
    with open_target() as listener:
        yield listener


@pytest.fixture
def relay(cache: Path, target: socket.socket) -> Iterator[Server]:
    """Run a relay of our own, which is right."""
    port = port_of(target)
    server = servers.start("ours-relay", UNUSED, cache, cpus=CPUS, target=port)
    check_relay(server, target)
    yield server
    server.stop()


@pytest.fixture
def broken(target: socket.socket, tmp_path: Path) -> Iterator[Break]:
    """Run a relay that changes what it passes on."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(fault: str) -> Server:
        process = subprocess.Popen(
            [sys.executable, "-c", BROKEN, str(port_of(target)), FAULTS[fault]],
            stdout=subprocess.PIPE,
        )
        processes.append(process)
        assert process.stdout
        port = int(process.stdout.readline())
        return Server("broken", port, process, tmp_path, UNUSED, 0.0)

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def load(cache: Path) -> Load:
    """Build a load of four connections, or give up for want of a compiler."""

    def make(program: str) -> tuple[Path, Traffic]:
        need("gcc")
        traffic = Traffic(program=program, connections=4)
        return build(traffic, cache), traffic

    return make


@pytest.mark.parametrize(
    ("program", "measures"),
    [
        ("bulk", {CPU_PER_GB, "gb_per_s", "bytes"}),
        ("ping_pong", {"cpu_us_per_request", "requests_per_s", "p50_us", "p99_us"}),
        ("connections", {"cpu_us_per_request", "requests_per_s", "requests"}),
    ],
)
def test_load_measures_what_comes_through(
    program: str,
    measures: set[str],
    load: Load,
    relay: Server,
    target: socket.socket,
) -> None:
    """Through a relay that is right, all comes, and it costs something."""
    figures = measure(
        *load(
            program,
        ),
        relay,
        target,
        seconds=1,
        cpus=CPUS,
    )

    assert figures.keys() >= measures
    assert all(figures[name] > 0 for name in measures)


@pytest.mark.parametrize(
    "case",
    [
        ("bulk", "shortens", "bytes came of"),
        ("bulk", "breaks", "broken: "),
        ("ping_pong", "shortens", "bytes came of"),
        ("ping_pong", "changes", "another answer"),
        ("ping_pong", "breaks", "broken: "),
        ("connections", "shortens", "bytes came of"),
        ("connections", "changes", "another answer"),
        ("connections", "breaks", "broken: "),
    ],
    ids="-".join,
)
def test_failed_transfer_fails_the_run(
    case: tuple[str, str, str], load: Load, broken: Break, target: socket.socket
) -> None:
    """A relay that loses or changes a byte has no figures."""
    program, fault, why = case
    with pytest.raises(BenchmarkError, match=why):
        run(*load(program), broken(fault), target, seconds=1, cpus=CPUS)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        pytest.param("none", (0, 0, 4 << 20), id="none-fails"),
        pytest.param("breaks", (4, 0, 0), id="all-lost"),
        pytest.param("stalls", (0, 4, 0), id="all-stuck", marks=pytest.mark.slow),
    ],
)
def test_connections_that_fail_are_counted(
    fault: str,
    outcome: tuple[int, int, int],
    load: Load,
    broken: Break,
    target: socket.socket,
) -> None:
    """Of many, each that is lost or stuck counts; all can be looked at, twice."""
    looks: list[None] = []
    counted = run(
        *load("many"),
        broken(fault),
        target,
        seconds=1,
        look=lambda: looks.append(None),
        cpus=CPUS,
    )

    assert (counted["lost"], counted["stuck"], counted["bytes"]) == outcome
    assert len(looks) == 2


@pytest.mark.parametrize("fault", ["shortens", "changes"])
def test_relay_that_changes_bytes_is_not_measured(
    fault: str, broken: Break, target: socket.socket
) -> None:
    """Before any load, what comes through is compared."""
    with pytest.raises(BenchmarkError, match="other bytes"):
        check_relay(broken(fault), target)


def test_bytes_are_counted_in_gb() -> None:
    """A GB is 10 to the 9; time is that of the load."""
    counted = {"bytes": 2e9, "seconds": 4.0}
    figures = make_figures(counted, CpuUse(0.1, 0.5))

    assert figures[CPU_PER_GB] == pytest.approx(0.3)
    assert figures["system_s_per_gb"] == pytest.approx(0.25)
    assert figures["gb_per_s"] == pytest.approx(0.5)


def test_quota_holds_for_who_is_measured_past_it(
    cache: Path, target: socket.socket
) -> None:
    """Whatever exempts root from it is taken away."""
    need("setpriv")
    port = port_of(target)
    server = servers.start(
        "ours-relay", UNUSED, cache, cpus=CPUS, target=port, wrapper=unprivileged()
    )
    try:
        check_quota(server)
        check_relay(server, target)
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is exempt")
def test_exemption_from_the_quota_is_noticed(relay: Server) -> None:
    """Whoever has it must not be measured as if it had not."""
    with pytest.raises(BenchmarkError, match="exempt"):
        check_quota(relay)


@pytest.mark.e2e
@pytest.mark.parametrize("name", RELAYS)
def test_relay_splices_where_it_is_said_to(
    name: str, cache: Path, load: Load, target: socket.socket, tmp_path: Path
) -> None:
    """With its settings, each passes all on, both ways, and as it should."""
    need("strace")
    if find_version(PEERS[name]) is None:
        give_up(f"not installed: {PEERS[name].debian}")
    program, traffic = load("bulk")
    calls = tmp_path / "calls"
    strace = ("strace", "-f", "-I1", "-qq", "-e", "trace=splice", "-o", str(calls))
    server = servers.start(
        name, UNUSED, cache, cpus=CPUS, target=port_of(target), wrapper=strace
    )
    try:
        check_relay(server, target)
        run(program, traffic, server, target, seconds=1, cpus=CPUS)
    finally:
        server.stop()

    assert ("splice(" in calls.read_text()) is (name in SPLICING)
