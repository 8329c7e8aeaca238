"""One run of a load through one relay, and whether its figures can be trusted.

A load is a program of loads/, which has both ends of every connection: the source,
which connects to the relay, and the sink, which the relay connects to. So it knows
whether all that was sent has come, and ends with an error if not.
"""

import json
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import BenchmarkError, UnavailableError
from benchmarks.load import Figures, per_request, shares, watch
from benchmarks.peers import find_program
from benchmarks.servers import CpuUse, Server, run_build

CPU_PER_GB = "cpu_s_per_gb"

_LOADS = Path(__file__).parent / "loads"
_DEADLINE_S = 20.0
_WAITING = 4096
_PROBE = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What goes through a relay."""

    program: str
    """Its name in loads/, without the suffix."""
    connections: int
    """At once."""


def open_target() -> socket.socket:
    """Listen where relays are to connect to; whoever runs a load accepts there."""
    return socket.create_server(("127.0.0.1", 0), backlog=_WAITING)


def port_of(target: socket.socket) -> int:
    """Return where *target* listens."""
    port: int = target.getsockname()[1]
    return port


def build(traffic: Traffic, cache: Path) -> Path:
    """Return the program of *traffic*, built; UnavailableError without a compiler."""
    if find_program("gcc") is None:
        raise UnavailableError("gcc is missing: apt-get install gcc libc6-dev")
    folder = cache / "build"
    folder.mkdir(parents=True, exist_ok=True)
    values = {"program": str(folder / traffic.program), "loads": str(_LOADS)}
    source = f"@loads@/{traffic.program}.c"
    run_build(f"gcc -O2 -Wall -Wextra -Werror -o @program@ {source}", values)
    return folder / traffic.program


def check_relay(relay: Server, target: socket.socket) -> None:
    """Raise BenchmarkError unless bytes and their end come through, each way."""
    target.settimeout(_DEADLINE_S)
    sent = os.urandom(_PROBE)
    with socket.create_connection(("127.0.0.1", relay.port), _DEADLINE_S) as source:
        source.sendall(sent[:1])
        with _accept_one(target) as sink:
            for sender, receiver, data in (
                (source, sink, sent[1:]),
                (sink, source, sent),
            ):
                sender.sendall(data)
                sender.shutdown(socket.SHUT_WR)
                if _read_all(receiver) != data:
                    raise BenchmarkError(f"{relay.name} passes on other bytes")


def run(  # noqa: PLR0913 - what a run consists of
    program: Path,
    traffic: Traffic,
    relay: Server,
    target: socket.socket,
    *,
    seconds: int,
    look: Callable[[], None] = lambda: None,
    cpus: tuple[int, ...] = (1,),
) -> dict[str, float]:
    """Send *traffic* from *cpus* through *relay*, and return what was counted.

    *look* is called whenever the program asks to be looked at. Raises
    BenchmarkError if the program failed.
    """
    arguments = (relay.port, target.fileno(), traffic.connections, seconds)
    with subprocess.Popen(  # noqa: S603 - our own program
        [
            *("taskset", "-c", ",".join(map(str, cpus))),
            *map(str, (program, *arguments)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        pass_fds=(target.fileno(),),
    ) as load:
        assert load.stdin
        assert load.stdout
        assert load.stderr
        counted: dict[str, float] = {}
        for line in load.stdout:
            if line.startswith("{"):
                counted = json.loads(line)
            else:
                look()
                load.stdin.write("\n")
        said = load.stderr.read()
    if load.returncode or not counted:
        why = said.strip() or f"the load ended with {load.returncode}"
        raise BenchmarkError(f"{relay.name}: {why}")
    return counted


def make_figures(counted: dict[str, float], cpu: CpuUse) -> Figures:
    """Return the measures of one run."""
    rest = dict(counted)
    seconds = rest.pop("seconds")
    if "bytes" not in rest:
        return per_request(cpu, rest["requests"], seconds) | rest
    gb = rest["bytes"] / 1e9
    return {
        CPU_PER_GB: cpu.total_s / gb,
        "user_s_per_gb": cpu.user_s / gb,
        "system_s_per_gb": cpu.system_s / gb,
        "gb_per_s": gb / seconds,
        **rest,
    }


def measure(  # noqa: PLR0913 - what a run consists of
    program: Path,
    traffic: Traffic,
    relay: Server,
    target: socket.socket,
    *,
    seconds: int,
    cpus: tuple[int, ...] = (1,),
) -> Figures:
    """Send *traffic* from *cpus* through *relay*, and return the checked figures."""
    counted, use = watch(
        relay,
        lambda: run(program, traffic, relay, target, seconds=seconds, cpus=cpus),
    )
    return make_figures(counted, use.cpu) | shares(relay, use, counted["seconds"])


def _accept_one(target: socket.socket) -> socket.socket:
    """Return the connection that something comes by; others have looked, and gone."""
    while True:
        sink, _ = target.accept()
        sink.settimeout(_DEADLINE_S)
        if sink.recv(1):
            return sink
        sink.close()


def _read_all(peer: socket.socket) -> bytes:
    pieces = []
    while piece := peer.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)
