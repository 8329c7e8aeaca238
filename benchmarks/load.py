"""One run of wrk against one server, and whether its figures can be trusted."""

import json
import resource
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from benchmarks import BenchmarkError
from benchmarks.peers import find_program
from benchmarks.servers import CpuUse, Server, cpu_between

Figures = dict[str, float]
"""Measures by name; the name ends in the unit."""

HOST = "Host: static.example.com"

_SCRIPTS = Path(__file__).parent / "scripts"
_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What wrk sends, and what must come back."""

    path: str
    fields: tuple[str, ...] = ()
    """Fields of every request beside Host."""
    script: str = "same"
    connections: int = 64
    is_error: bool = False
    """Whether every response is one of 400 or more."""
    slack: int = 0
    """By how many bytes responses may differ in length."""
    counts_bytes: bool = False
    """Whether parts of a response count, where few are finished in a run."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What wrk counted, as done.lua tells it."""

    requests: int
    bytes: int
    duration_us: int
    p50_us: int
    p99_us: int
    p99_9_us: int
    connect: int
    read: int
    write: int
    status: int
    timeout: int

    @classmethod
    def parse(cls, output: str) -> Self:
        """Find the line of JSON in what wrk wrote."""
        for line in output.splitlines():
            if line.startswith("{"):
                return cls(**json.loads(line))
        raise BenchmarkError(f"no summary in what wrk wrote: {output[-500:]!r}")


def run_wrk(
    server: Server,
    load: Load,
    *,
    seconds: int,
    seed: int,
    cpus: tuple[int, ...] = (1,),
) -> Summary:
    """Put *load* on *server* for so many seconds, from *cpus*.

    Scripts that choose do so by *seed*: the same seed is the same choice.
    """
    program = find_program("wrk")
    if program is None:
        raise BenchmarkError("wrk is missing: apt-get install wrk")
    # wrk takes one script.
    parts = [(_SCRIPTS / f"{name}.lua").read_text() for name in (load.script, "done")]
    script = server.run / "load.lua"
    script.write_text("\n".join((f"SEED = {seed}", *parts)))
    fields = [word for field in (HOST, *load.fields) for word in ("-H", field)]
    done = subprocess.run(  # noqa: S603 - our own scripts
        [
            *("taskset", "-c", ",".join(map(str, cpus)), program),
            *("-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "30s"),
            *("-s", str(script), *fields),
            f"http://127.0.0.1:{server.port}{load.path}",
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise BenchmarkError(f"wrk failed: {done.stdout}{done.stderr}")
    return Summary.parse(done.stdout)


def check_summary(name: str, summary: Summary, load: Load, size: int) -> None:
    """Raise BenchmarkError unless every response came, whole.

    *size* is the length of one on the wire. What was on its way when wrk stopped
    is less than one response for each connection.
    """
    wrong = {
        kind: count
        for kind in ("connect", "read", "write", "timeout")
        if (count := getattr(summary, kind))
    }
    expected = summary.requests if load.is_error else 0
    if summary.status != expected:
        wrong["status"] = summary.status
    if wrong:
        raise BenchmarkError(f"{name}: wrk counted errors: {wrong}")
    low = summary.requests * (size - load.slack)
    high = (summary.requests + load.connections) * (size + load.slack)
    if not low <= summary.bytes <= high or summary.bytes < size:
        raise BenchmarkError(
            f"{name}: {summary.bytes} bytes came"
            f" for {summary.requests} responses of {size}"
        )


def make_figures(summary: Summary, load: Load, size: int, cpu: CpuUse) -> Figures:
    """Return the measures of one run."""
    responses = summary.bytes / size if load.counts_bytes else summary.requests
    return {
        **per_request(cpu, responses, summary.duration_us / 1e6),
        "p50_ms": summary.p50_us / 1e3,
        "p99_ms": summary.p99_us / 1e3,
        "p99_9_ms": summary.p99_9_us / 1e3,
        "requests": summary.requests,
        "bytes": summary.bytes,
    }


def per_request(cpu: CpuUse, requests: float, seconds: float) -> Figures:
    """Return what each of so many requests took, which came within *seconds*."""
    return {
        "cpu_us_per_request": cpu.total_s / requests * 1e6,
        "user_us_per_request": cpu.user_s / requests * 1e6,
        "system_us_per_request": cpu.system_s / requests * 1e6,
        "requests_per_s": requests / seconds,
    }


def measure(  # noqa: PLR0913 - what a run consists of
    server: Server,
    load: Load,
    size: int,
    *,
    seconds: int,
    seed: int,
    cpus: tuple[int, ...] = (1,),
) -> Figures:
    """Put *load* on *server* from *cpus*, and return the checked figures.

    *size* is the length of one response on the wire.
    """
    summary, use = watch(
        server, lambda: run_wrk(server, load, seconds=seconds, seed=seed, cpus=cpus)
    )
    check_summary(server.name, summary, load, size)
    figures = make_figures(summary, load, size, use.cpu)
    return figures | shares(server, use, summary.duration_us / 1e6)


@dataclass(frozen=True, slots=True)
class Use:
    """What the server, and the programs that put a load on it, have used."""

    cpu: CpuUse
    client_s: float


def watch(server: Server, run: Callable[[], _Told]) -> tuple[_Told, Use]:
    """Call *run*, and return what it returns, with what was used meanwhile."""
    before, client_before = server.cpu(), _children_s()
    told = run()
    cpu = cpu_between(before, server.cpu())
    return told, Use(cpu, _children_s() - client_before)


def shares(server: Server, use: Use, seconds: float) -> Figures:
    """Return how busy both sides were for *seconds*, and the server's memory."""
    return {
        "server_share": use.cpu.total_s / seconds,
        "client_share": use.client_s / seconds,
        "rss_mib": server.rss_kib() / 1024,
        "pss_mib": server.pss_kib() / 1024,
    }


def _children_s() -> float:
    # Of those that have ended: wrk has, the servers have not.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
