"""A server as processes: started on its cores, asked for CPU and memory, stopped."""

import contextlib
import getpass
import os
import resource
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import BenchmarkError
from benchmarks.peers import FOLDER, PEERS, find_program, settings

DEADLINE_S = 30.0
UNUSED = Path(os.devnull)
"""What stands for a file or a directory that a server does not have."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_FOR_CONNECTIONS = 2048


@dataclass(frozen=True, slots=True)
class CpuTime:
    """What a tree of processes has used so far."""

    pids: frozenset[int]
    total_s: float
    user_ticks: int
    system_ticks: int


@dataclass(frozen=True, slots=True)
class CpuUse:
    """What a tree of processes has used in between, in seconds."""

    user_s: float
    system_s: float

    @property
    def total_s(self) -> float:
        """User and system time together."""
        return self.user_s + self.system_s


@dataclass(slots=True)
class Server:
    """A peer that runs and listens on *port* of 127.0.0.1."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    run: Path
    root: Path
    started_s: float
    """When it was started, by `time.monotonic`."""
    is_stopped: bool = field(default=False, init=False)

    def pids(self) -> list[int]:
        """Return every process of the server, its first one first."""
        found = [self.process.pid]
        for pid in found:
            found += _children(pid)
        return found

    def wait_for_processes(self, count: int) -> None:
        """Wait until it is so many processes: the first of several listens early."""
        end = time.monotonic() + DEADLINE_S
        while (found := len(self.pids())) != count:
            self.check()
            if time.monotonic() > end:
                raise BenchmarkError(f"{self.name} is {found} processes, not {count}")
            selectors.SelectSelector().select(0.01)  # a pause

    def cpu(self) -> CpuTime:
        """Return the CPU time that the server has used so far."""
        return read_cpu(self.pids())

    def rss_kib(self) -> int:
        """Return the memory that is resident, summed over the processes."""
        return sum(_status(pid, "VmRSS") for pid in self.pids())

    def pss_kib(self) -> int:
        """Return the same, with what processes share counted once."""
        return sum(self.pss_each_kib())

    def pss_each_kib(self) -> list[int]:
        """Return the same of each process."""
        return [_proportional(pid) for pid in self.pids()]

    def read_bytes(self) -> int:
        """Return how many bytes its processes had to have read from disks."""
        return sum(_read_bytes(pid) for pid in self.pids())

    def check(self) -> None:
        """Raise BenchmarkError if it has ended, with what it said last."""
        code = self.process.poll()
        if code is not None:
            said = (self.run / "output").read_text(errors="replace")[-2000:]
            raise BenchmarkError(f"{self.name} ended with {code}: {said}")

    def stop(self) -> None:
        """End every process of the server, and remove its directory."""
        if self.is_stopped:
            return
        self.is_stopped = True
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        # It leads a session of its own: what is left there is ours to end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE_S)
        shutil.rmtree(self.run, ignore_errors=True)


def start(  # noqa: PLR0913 - what a server is started with
    name: str,
    root: Path,
    cache: Path,
    *,
    cpus: tuple[int, ...] = (0,),
    file: Path = UNUSED,
    target: int = 0,
    options: tuple[str, ...] = (),
    wrapper: tuple[str, ...] = (),
) -> Server:
    """Start the peer *name* on *cpus*, and return it when it listens.

    *root* is the directory that it serves, *file* what a floor sends, *target* the
    port that a relay connects to, and *options* are appended to its command.
    *wrapper* is a command that executes what comes after it, in its place.
    """
    peer = PEERS[name]
    build, run = cache / "build", Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))
    build.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    values = {
        "root": str(root),
        "port": str(port),
        "file": str(file),
        "target": str(target),
        "user": getpass.getuser(),
        "run": str(run),
        "build": str(build),
        "peers": str(FOLDER),
        "python": sys.executable,
        "config": str(run / "config"),
        **_limits(),
    }
    (run / "config").write_text(fill(settings(peer), values))
    if peer.build:
        run_build(peer.build, values)
    command = [fill(word, values) for word in (*shlex.split(peer.command), *options)]
    program = find_program(command[0])
    if program is None:
        raise BenchmarkError(f"{name}: {command[0]} is missing: {peer.remedy}")
    pinned = [
        *wrapper,
        "taskset",
        "-c",
        ",".join(map(str, cpus)),
        program,
        *command[1:],
    ]
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SENDFILE_SERVE_", "SPLICE_RELAY_", "GRANIAN_"))
    }
    added = {
        key: fill(value, values) for key, value in (peer.environment or {}).items()
    }
    started_s = time.monotonic()
    with (run / "output").open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - a row of the table of peers
            pinned,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=run,
            env=inherited | added,
            start_new_session=True,
        )
    server = Server(name, port, process, run, root, started_s)
    try:
        _wait_until_listening(server)
    except BaseException:
        server.stop()
        raise
    return server


def fill(text: str, values: dict[str, str]) -> str:
    """Replace each ``@name@`` in *text* by its value."""
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def run_build(command: str, values: dict[str, str]) -> None:
    """Run what makes a program, once *values* are filled in."""
    program, *arguments = (fill(word, values) for word in shlex.split(command))
    found = find_program(program)
    if found is None:
        raise BenchmarkError(f"{program} is missing")
    done = subprocess.run(  # noqa: S603 - a row of the table of peers
        [found, *arguments], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise BenchmarkError(f"{program} failed: {done.stderr}")


def read_cpu(pids: list[int]) -> CpuTime:
    """Return the CPU time of *pids*, with that of children that have ended.

    The total comes from the CPU-time clock of each process, in nanoseconds and
    with the threads that have ended (clock_getcpuclockid(3)); the split of it,
    which the kernel itself only samples, from /proc/PID/stat in ticks.
    """
    total_s, user, system = 0.0, 0, 0
    for pid in pids:
        try:
            total_s += time.clock_gettime(_cpu_clock(pid))
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            raise BenchmarkError(f"process {pid} ended while it was measured") from None
        own_user, own_system, ended_user, ended_system = map(int, fields[11:15])
        user += own_user + ended_user
        system += own_system + ended_system
        total_s += (ended_user + ended_system) / _TICKS_PER_S
    return CpuTime(frozenset(pids), total_s, user, system)


def cpu_between(before: CpuTime, after: CpuTime) -> CpuUse:
    """Return what was used between two readings of the same processes."""
    if before.pids != after.pids:
        raise BenchmarkError("processes of the server came or went while measured")
    total_s = after.total_s - before.total_s
    user = after.user_ticks - before.user_ticks
    system = after.system_ticks - before.system_ticks
    user_s = total_s * user / (user + system) if user + system else 0.0
    return CpuUse(user_s, total_s - user_s)


def _cpu_clock(pid: int) -> int:
    # The kernel's make_process_cpuclock(pid, CPUCLOCK_SCHED), as glibc's
    # clock_getcpuclockid has it.
    return (~pid << 3) | 2


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:
            continue  # a thread that has ended since
    return found


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _proportional(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _read_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def _limits() -> dict[str, str]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # lighttpd keeps the number in 16 bits.
    cached = min(100_000, most - _FOR_CONNECTIONS)
    return {"descriptors": str(min(most, 65535)), "cached_files": str(cached)}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_until_listening(server: Server) -> None:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        server.check()
        try:
            socket.create_connection(("127.0.0.1", server.port), 1).close()
        except OSError:
            selectors.SelectSelector().select(0.001)  # a pause
        else:
            return
    raise BenchmarkError(f"{server.name} did not listen within {DEADLINE_S:g} s")
