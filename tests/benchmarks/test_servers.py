import os
import threading
import time
from pathlib import Path

import pytest

from benchmarks import BenchmarkError, servers
from benchmarks.scenarios.two_workers import OPTIONS, PROCESSES
from benchmarks.servers import CpuTime, cpu_between, fill, read_cpu
from benchmarks.sessions import peer_name


def burn(seconds: float) -> None:
    """Use the CPU of this thread for some time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_cpu_time_includes_threads_that_have_ended() -> None:
    """What a thread has used is not lost with it, and is counted once."""
    before, own_before = read_cpu([os.getpid()]), time.process_time()
    thread = threading.Thread(target=burn, args=(0.05,))
    thread.start()
    thread.join()
    own, after = time.process_time() - own_before, read_cpu([os.getpid()])

    assert own <= cpu_between(before, after).total_s + 0.01
    assert cpu_between(before, after).total_s >= 0.05


def test_cpu_time_is_split_as_the_ticks_are() -> None:
    """The total is exact, and the kernel's samples say how it divides."""
    before = CpuTime(frozenset({1}), 1.0, 10, 10)
    after = CpuTime(frozenset({1}), 2.0, 13, 11)
    use = cpu_between(before, after)

    assert (use.user_s, use.system_s, use.total_s) == (0.75, 0.25, 1.0)


def test_no_ticks_make_no_division_by_zero() -> None:
    """A use below a tick has a total all the same."""
    use = cpu_between(
        CpuTime(frozenset({1}), 1.0, 10, 10), CpuTime(frozenset({1}), 1.001, 10, 10)
    )

    assert use.total_s == pytest.approx(0.001)


def test_process_that_comes_or_goes_is_an_error() -> None:
    """What it has used could not be told."""
    before = CpuTime(frozenset({1, 2}), 1.0, 10, 10)
    after = CpuTime(frozenset({1}), 2.0, 13, 11)

    with pytest.raises(BenchmarkError, match="came or went"):
        cpu_between(before, after)


def test_placeholders_are_filled() -> None:
    """Each has its value wherever it stands."""
    values = {"root": "/srv", "port": "80"}

    assert fill("@root@/x --port @port@ @root@", values) == "/srv/x --port 80 /srv"


@pytest.mark.parametrize("name", PROCESSES)
def test_server_is_as_many_processes_as_are_waited_for(
    name: str, tmp_path: Path
) -> None:
    """What is measured only when all are there would never be."""
    root, options = tmp_path, OPTIONS[name]
    server = servers.start(peer_name(name), root, tmp_path / "cache", options=options)
    try:
        server.wait_for_processes(PROCESSES[name])
    finally:
        server.stop()
