"""One turn: a case in processes of its own, and what that took.

What moves has the first CPU to itself. What takes in, and what feeds it, if it is a
relay, share the second one.
"""

import contextlib
import hashlib
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO, Protocol

from benchmarks import BenchmarkError
from benchmarks.load import Figures
from benchmarks.trees import MIB
from benchmarks.zero_copy.cases import WAYS, Case
from benchmarks.zero_copy.parts import Report

CPUS = (0, 1)
"""Of what moves, and of all else."""
DEADLINE_S = 60.0
CONGESTION_CONTROL = b"reno"
"""Every kernel has it, and it sends when it may: others do so by timers (bbr)."""

_TOP = Path(__file__).parents[2]


class HasNumber(Protocol):
    """What has a descriptor: a file, or a socket."""

    def fileno(self) -> int: ...


def measure(
    case: Case, file: Path, *, times: int = 1, cpus: tuple[int, int] = CPUS
) -> Figures:
    """Move *file* so many times, and return the checked figures of that."""
    reports = run(case, file, "take", times=times, cpus=cpus)
    return make_figures(case, file.stat().st_size * times, reports)


def check_content(
    case: Case, file: Path, digest: str, *, cpus: tuple[int, int] = CPUS
) -> None:
    """Move *file* once, and raise BenchmarkError if what arrives has another digest."""
    arrived = run(case, file, "check", cpus=cpus)["sink"]["sha256"]
    if arrived != digest:
        raise BenchmarkError(f"{case.name}: other bytes arrived")


def make_digest(file: Path) -> str:
    """Return what `check_content` compares with; reads all of *file*."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def make_figures(case: Case, size: int, reports: dict[str, Report]) -> Figures:
    """Return the measures of a turn.

    Raises BenchmarkError unless as many as *size* bytes arrived.
    """
    mover, sink = reports["mover"], reports["sink"]
    if sink["bytes"] != size:
        raise BenchmarkError(f"{case.name}: {sink['bytes']} bytes arrived of {size}")
    gb, mib = size / 1e9, size / MIB
    cpu_s = {name: each["user_s"] + each["system_s"] for name, each in reports.items()}
    return {
        "cpu_s_per_gb": cpu_s["mover"] / gb,
        "user_s_per_gb": mover["user_s"] / gb,
        "system_s_per_gb": mover["system_s"] / gb,
        "peers_s_per_gb": (sum(cpu_s.values()) - cpu_s["mover"]) / gb,
        # Until the last byte has arrived, and not only until it was sent.
        "gb_per_s": gb / (sink["ended_s"] - mover["begun_s"]),
        "calls_per_mib": mover["calls"] / mib,
        "faults_per_mib": mover["faults"] / mib,
        "voluntary_per_gb": mover["voluntary"] / gb,
        "involuntary_per_gb": mover["involuntary"] / gb,
        "completed": mover["completed"],
        "copied": mover["copied"],
    }


def run(  # noqa: PLR0913 - what a turn consists of
    case: Case,
    file: Path,
    taker: str,
    *,
    times: int = 1,
    cpus: tuple[int, int] = CPUS,
    wrapper: tuple[str, ...] = (),
) -> dict[str, Report]:
    """Let every part play once, and return what each of them reported.

    *taker* is the part that takes in. *wrapper* is a command that executes the one
    that moves, in its place.
    """
    own, others = cpus
    is_relay = WAYS[case.way].is_relay
    with contextlib.ExitStack() as stack:
        parts: dict[str, subprocess.Popen[str]] = {}
        # Here they are open only until the parts have them: or no stream would end.
        with contextlib.ExitStack() as ours:
            source: HasNumber = ours.enter_context(file.open("rb"))
            out, sink = _connect(ours, case.buffer)
            parts["sink"] = _start(stack, others, (taker,), (sink,))
            if is_relay:
                feed, stream = _connect(ours, case.buffer)
                feeds = ("feed", str(times))
                parts["feeder"] = _start(stack, others, feeds, (source, feed))
                source, times = stream, 1
            moves = ("move", case.way, str(case.size), str(times))
            parts["mover"] = _start(stack, own, moves, (source, out), wrapper)
        for each in parts.values():
            _pipe(each.stdout).readline()  # it is ready
        for each in parts.values():
            with contextlib.suppress(BrokenPipeError):  # it says why, below
                _pipe(each.stdin).write("\n")
                _pipe(each.stdin).flush()
        return {name: _finish(case, name, each) for name, each in parts.items()}


def _connect(
    stack: contextlib.ExitStack, buffer: int | None
) -> tuple[socket.socket, socket.socket]:
    """Return the ends of a connection: the one that sends, the one that receives.

    With a *buffer*, both sizes are set before they connect, as tcp(7) has it.
    """
    with socket.socket() as listener:
        sender = stack.enter_context(socket.socket())
        if buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION_CONTROL)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sender.connect(listener.getsockname())
        return sender, stack.enter_context(listener.accept()[0])


def _start(
    stack: contextlib.ExitStack,
    cpu: int,
    words: tuple[str, ...],
    files: tuple[HasNumber, ...],
    wrapper: tuple[str, ...] = (),
) -> subprocess.Popen[str]:
    part, *arguments = words
    numbers = [each.fileno() for each in files]
    process = subprocess.Popen(  # noqa: S603 - our own module
        [
            *(*wrapper, sys.executable, "-m", "benchmarks.zero_copy.parts"),
            *(str(cpu), part, *arguments, *map(str, numbers)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=numbers,
        cwd=_TOP,
        text=True,
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    return process


def _finish(case: Case, name: str, process: subprocess.Popen[str]) -> Report:
    try:
        said, error = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{case.name}: the {name} did not end") from None
    if process.returncode:
        raise BenchmarkError(f"{case.name}: the {name} failed: {error[-2000:]}")
    report: Report = json.loads(said)
    return report


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None, "it was asked for"
    return pipe
