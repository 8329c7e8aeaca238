"""The movers move, what is counted is right, and so is the page about the kernel."""

import mmap
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import BenchmarkError
from benchmarks.results import Result
from benchmarks.zero_copy.cases import WAYS, Case
from benchmarks.zero_copy.page import CPU, format_table
from benchmarks.zero_copy.turns import check_content, make_digest, make_figures, run
from tools import need
from wire import Pair

KIB, MIB = 1024, 1 << 20

# A machine may have only one.
_CPU = min(os.sched_getaffinity(0))
CPUS = (_CPU, _CPU)
# What moves bytes, or waits.
CALLS = "read,sendto,sendfile,splice,recvfrom,recvmsg,poll"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Make a file that is no multiple of anything."""
    path = tmp_path / "file.bin"
    path.write_bytes(os.urandom(3 * MIB + 1234))
    return path


@pytest.fixture
def page(tmp_path: Path) -> int:
    """Open a file of one page, to be read and written."""
    path = tmp_path / "page.bin"
    path.write_bytes(b"old!" * KIB)
    return os.open(path, os.O_RDWR)


@pytest.mark.parametrize("size", [KIB, 64 * KIB, MIB])
@pytest.mark.parametrize("way", WAYS)
def test_every_byte_arrives(way: str, size: int, file: Path) -> None:
    """What the sink takes in is the file, whichever way it came."""
    check_content(Case(way=way, size=size), file, make_digest(file), cpus=CPUS)


def test_buffers_change_no_byte(file: Path) -> None:
    """Small ones make everybody wait for room, at both connections of a relay."""
    case = Case(way="relay-splice", size=64 * KIB, buffer=4 * KIB)

    check_content(case, file, make_digest(file), cpus=CPUS)


def test_other_bytes_are_an_error(file: Path) -> None:
    """As many bytes are not enough: they must be the same ones."""
    digest = make_digest(file)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    with pytest.raises(BenchmarkError, match="other bytes"):
        check_content(Case(way="sendfile", size=MIB), file, digest, cpus=CPUS)


def test_missing_bytes_are_an_error(file: Path) -> None:
    """A byte that did not arrive spoils the figures."""
    case, size = Case(way="sendfile", size=MIB), file.stat().st_size
    reports = run(case, file, "take", cpus=CPUS)

    assert make_figures(case, size, reports)["cpu_s_per_gb"] > 0
    with pytest.raises(BenchmarkError, match=f"{size} bytes arrived of {size + 1}"):
        make_figures(case, size + 1, reports)


def test_failed_part_is_an_error(tmp_path: Path) -> None:
    """What it said last is told: here, that an empty file can't be mapped."""
    empty = tmp_path / "empty"
    empty.touch()

    with pytest.raises(BenchmarkError, match=r"(?s)the mover failed.*empty file"):
        run(Case(way="mmap-send", size=MIB), empty, "take", cpus=CPUS)


def test_part_that_can_not_begin_is_an_error(file: Path) -> None:
    """On a machine without a second CPU, it is the sink that says so."""
    with pytest.raises(BenchmarkError, match=r"(?s)the sink failed.*Invalid argument"):
        run(Case(way="sendfile", size=MIB), file, "take", cpus=(_CPU, 4095))


def test_file_is_moved_as_often_as_told(file: Path) -> None:
    """More time is more of the same bytes, from a file and from a socket."""
    for way in ("read-send", "relay-splice"):
        sink = run(Case(way=way, size=MIB), file, "take", times=3, cpus=CPUS)["sink"]

        assert sink["bytes"] == 3 * file.stat().st_size


@pytest.mark.parametrize("way", WAYS)
def test_calls_are_those_that_strace_sees(way: str, file: Path, tmp_path: Path) -> None:
    """A mover knows of every call that it makes while its time is taken."""
    need("strace")
    log = tmp_path / "strace"
    wrapper = ("strace", "-o", str(log), "-e", f"trace=getrusage,{CALLS}")
    case = Case(way=way, size=16 * KIB)

    mover = run(case, file, "take", cpus=CPUS, wrapper=wrapper)["mover"]
    _, timed, _ = re.split(r"^getrusage.*\n", log.read_text(), flags=re.MULTILINE)

    assert mover["calls"] == len(timed.splitlines())


def test_zerocopy_copies_on_loopback(file: Path) -> None:
    """Every send is completed, and marked as copied after all."""
    case = Case(way="zerocopy", size=16 * KIB)
    mover = run(case, file, "take", cpus=CPUS)["mover"]

    sends = -(-file.stat().st_size // case.size)
    assert (mover["completed"], mover["copied"]) == (sends, sends)


def test_sendfile_lends_pages_that_change(pair: Pair, page: int) -> None:
    """What is written after sendfile has returned arrives; after send, it does not."""
    client, peer = pair
    client.send(os.pread(page, 4096, 0))
    os.sendfile(client.fileno(), page, 0, 4096)
    os.pwrite(page, b"new!", 0)
    os.close(page)

    assert peer.recv(4096, socket.MSG_WAITALL)[:8] == b"old!old!"
    assert peer.recv(4096, socket.MSG_WAITALL)[:8] == b"new!old!"


@pytest.mark.parametrize(
    ("size", "arrives"),
    [
        pytest.param(2, b"ol" + bytes(4094), id="in-the-page"),
        pytest.param(0, b"old!" * KIB, id="before-it"),
    ],
)
def test_truncation_does_not_shorten_what_is_under_way(
    pair: Pair, page: int, size: int, arrives: bytes
) -> None:
    """As many bytes arrive; of the page that the file still has, the rest is zeros."""
    client, peer = pair
    os.sendfile(client.fileno(), page, 0, 4096)
    os.ftruncate(page, size)

    assert peer.recv(4096, socket.MSG_WAITALL) == arrives
    assert os.sendfile(client.fileno(), page, size, 4096) == 0
    os.close(page)


def test_truncated_mapping_can_not_be_sent(pair: Pair, page: int) -> None:
    """The kernel reads what is no more there, and says so; Python would be killed."""
    client, _ = pair
    with mmap.mmap(page, 0, prot=mmap.PROT_READ) as mapping:
        os.ftruncate(page, 0)
        with pytest.raises(OSError, match="Bad address"):
            client.send(mapping)
    os.close(page)


def test_pipe_is_full_by_slots() -> None:
    """Sixteen short segments fill a pipe of 64 KiB, wherever they lie in memory."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ends = [_connect(listener) for _ in range(2)]
    (client, peer), (other, _) = ends
    # What a process sends in a row lies side by side; so another takes turns.
    for _ in range(100):
        client.send(b"x" * 100)
        other.send(b"y" * 100)
    reader, writer = os.pipe()

    assert os.splice(peer.fileno(), writer, 65536) == 16 * 100
    os.close(reader)
    os.close(writer)
    for pair in ends:
        for each in pair:
            each.close()


def test_pipes_have_a_limit_and_a_quota() -> None:
    """Beyond either, a user's pipe can't grow; beyond the quota, it is born small.

    The system's own user has none (pipe(7)), so another one asks.
    """
    code = """
import fcntl, os
from pathlib import Path
if os.geteuid() == 0:
    os.setresuid(65533, 65533, 65533)
most = int(Path("/proc/sys/fs/pipe-max-size").read_text())
def grow(pipe, size):
    try:
        return fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, size)
    except PermissionError:
        return "refused"
first = os.pipe()
print(grow(first, 2 * most), grow(first, most) == most)
while fcntl.fcntl((last := os.pipe())[1], fcntl.F_GETPIPE_SZ) == 65536:
    pass
print(fcntl.fcntl(last[1], fcntl.F_GETPIPE_SZ) <= 8192, grow(last, 65536))
"""
    command = ("sh", "-c", 'ulimit -n 4000; exec "$@"', "sh", sys.executable, "-c")
    said = subprocess.check_output([*command, code], text=True)

    assert said.split() == ["refused", "True", "True", "refused"]


def test_table_compares_with_copying() -> None:
    """A case stands beside the one that copies with the same sizes, round by round."""
    rounds = [
        {
            "read-send 64 KiB": _figures(2.0 * drift),
            "sendfile 64 KiB": _figures(1.0 * drift),
            "sendfile 1 MiB": _figures(1.0 * drift),
        }
        for drift in (1, 2, 3)
    ]
    result = Result("zero-copy", True, {}, {}, {}, rounds)

    rows = format_table(result).splitlines()[2:]

    assert [row.split(" | ")[:4] for row in rows] == [
        ["| **file: read + send**", "64 KiB", "4.00 [2.00, 6.00]", ""],
        ["| **file: sendfile**", "64 KiB", "2.00 [1.00, 3.00]", "0.50 [0.50, 0.50]"],
        ["| ", "1 MiB", "2.00 [1.00, 3.00]", ""],
    ]


def _connect(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection(listener.getsockname(), 20)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, listener.accept()[0]


def _figures(cpu_s_per_gb: float) -> dict[str, float]:
    others = (
        *("user_s_per_gb", "system_s_per_gb", "peers_s_per_gb", "gb_per_s"),
        *("calls_per_mib", "faults_per_mib", "voluntary_per_gb", "involuntary_per_gb"),
    )
    return {CPU: cpu_s_per_gb, **dict.fromkeys(others, 0.0)}
