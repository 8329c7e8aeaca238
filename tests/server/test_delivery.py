"""Files on their way: changed under us, given up, stalled, and side by side."""

import contextlib
import hashlib
import os
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from running import Serve, Server, clock_ahead, pass_time, wait_until
from tools import need
from wire import Client, fetch, get

MIB = 1 << 20
BIG = 16 * MIB
RESET = struct.pack("ii", 1, 0)


def make_file(path: Path, size: int, seed: bytes) -> bytes:
    """Write *size* bytes that no shift of themselves equals, and return them."""
    data = hashlib.shake_128(seed).digest(size)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return data


def evict(path: Path) -> None:
    """Have the kernel forget the pages of *path*."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def begin(server: Server, target: str) -> Client:
    """Ask for *target*, and take so little that the answer stays under way."""
    client = Client(server.port)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.send(get(target))
    client.socket.recv(1, socket.MSG_PEEK)
    return client


def take(client: Client, size: int) -> bytes:
    """Return the next *size* bytes that come."""
    data = bytearray()
    while len(data) < size:
        piece = client.socket.recv(min(MIB, size - len(data)))
        assert piece, "the end, too early"
        data += piece
    return bytes(data)


def threads(server: Server) -> int:
    """Count the threads of *server*."""
    return len(list(Path(f"/proc/{server.worker}/task").iterdir()))


def test_loop_asks_no_network_file_system(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """Only threads do, which may wait for another machine."""
    need("strace")
    log = tmp_path / "strace"
    remote = "inject=fstatfs:poke_exit=@arg2=6969000000000000"  # what NFS says
    calls = ("-e", "trace=recvfrom,/stat", "-e", remote)
    prefix = ("strace", "-f", "-qq", "-s", "200", "-o", str(log), *calls)
    server = serve(site, "--workers", "1", prefix=prefix)
    loop = server.worker
    with Client(server.port) as client:
        for _ in range(2):
            for path in ("/digits.txt", "/digits.txt", "/mib.bin", "/missing", "/"):
                assert client.request(path).status in (200, 404)
            pass_time(1.5)  # what was found is to be looked at again
    assert server.stop() == 0

    served = log.read_text().partition("GET /digits.txt")[2]
    assert "stat" in served
    lines = [each for each in served.splitlines() if each.startswith(f"{loop} ")]
    assert not [each for each in lines if "stat" in each]


# What is remembered whole.


@pytest.mark.parametrize("size", [100, 9_000, 64_000, 65_536])
def test_slow_reader_gets_every_repetition_whole(
    serve: Serve, site: Path, tmp_path: Path, size: int
) -> None:
    """Wherever the socket is full, the rest follows, and so does the next answer."""
    data = make_file(site / "again.bin", size, b"again")
    server = serve(site, "--workers", "1", prefix=clock_ahead(tmp_path))

    with Client(server.port) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        for _ in range(4):  # to be remembered, and lent
            assert client.request("/again.bin").body == data
        client.send(get("/again.bin") * 200)
        pass_time(0.3)
        for _ in range(200):
            assert client.response().body == data


# Files that change.


def test_replaced_file_is_finished_as_it_was(serve: Serve, site: Path) -> None:
    """A rename over the file leaves its download whole, and the next gets the new."""
    old = make_file(site / "big.bin", BIG, b"old")
    new = make_file(site / "next.bin", BIG, b"new")
    server = serve(site, "--workers", "1")

    with begin(server, "/big.bin") as client:
        (site / "next.bin").rename(site / "big.bin")

        assert client.response().body == old
        assert client.request("/big.bin").body == new


def test_removed_file_is_finished(serve: Serve, site: Path) -> None:
    """Its download ends whole, and the next request does not find it."""
    data = make_file(site / "big.bin", BIG, b"data")
    server = serve(site, "--workers", "1")

    with begin(server, "/big.bin") as client:
        (site / "big.bin").unlink()

        assert client.response().body == data
        assert client.request("/big.bin").status == 404


def test_truncated_file_ends_its_connection_short(serve: Serve, site: Path) -> None:
    """Nothing is padded: the connection ends, once logged, and the next is right."""
    data = make_file(site / "big.bin", BIG, b"data")
    server = serve(site, "--workers", "1")

    with begin(server, "/big.bin") as client:
        os.truncate(site / "big.bin", 5 * MIB)
        answer = client.response()

        assert not answer.is_complete
        assert data.startswith(answer.body)
        assert client.is_closed()
    cut = [line for line in server.log.read_text().splitlines() if "short:" in line]
    assert len(cut) == 1
    assert "GET /big.bin HTTP/1.1" in cut[0]
    assert fetch(server.port, "/big.bin").body == data[: 5 * MIB]
    assert server.process.poll() is None


def test_truncated_small_file_is_answered_as_it_is(serve: Serve, site: Path) -> None:
    """A file that shrinks between two requests is never served with its old length."""
    server = serve(site, "--workers", "1")

    with Client(server.port) as client:
        for size in (900, 90, 9, 0):
            os.truncate(site / "kib.bin", size)
            answer = client.request("/kib.bin")
            assert answer.fields["content-length"] == str(size)
            assert answer.is_complete


def test_growing_file_is_sent_as_long_as_it_was(serve: Serve, site: Path) -> None:
    """What is appended while a file is sent belongs to the next response."""
    data = make_file(site / "big.bin", BIG, b"data")
    server = serve(site, "--workers", "1")

    with begin(server, "/big.bin") as client:
        with (site / "big.bin").open("ab") as file:
            file.write(b"more")

        assert client.response().body == data
        assert client.request("/big.bin").body == data + b"more"


def test_new_file_is_found_and_removed_file_is_not(serve: Serve, site: Path) -> None:
    """The tree is what it is now, though other answers were given before."""
    server = serve(site, "--workers", "1", "--freshness", "0")

    with Client(server.port) as client:
        for _ in range(3):
            assert client.request("/new.txt").status == 404
            (site / "new.txt").write_bytes(b"new\n")
            assert client.request("/new.txt").body == b"new\n"
            (site / "new.txt").unlink()


# Jobs of the pool.


def test_clients_that_reset_during_jobs_harm_nobody(serve: Serve, site: Path) -> None:
    """A late job sends nothing to whoever has the descriptor number next."""
    make_file(site / "cold.bin", BIG, b"cold")
    kept = make_file(site / "kept.bin", MIB, b"kept")
    server = serve(site, "--workers", "1", "--threads", "2")

    for _ in range(12):
        evict(site / "cold.bin")
        victims = [Client(server.port) for _ in range(10)]
        for victim in victims:
            victim.send(get("/cold.bin"))
        for victim in victims:
            victim.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            victim.socket.close()
        heirs = [Client(server.port) for _ in range(10)]
        for heir in heirs:
            heir.send(get("/kept.bin") + get("/digits.txt"))
        for heir in heirs:
            with heir:
                assert heir.response().body == kept
                assert heir.response().body == b"0123456789"

    descriptors = Path(f"/proc/{server.worker}/fd")
    wait_until(lambda: len(list(descriptors.iterdir())) < 40, "descriptors to go")
    assert "Traceback" not in server.log.read_text()


def test_cold_file_arrives_whole(serve: Serve, site: Path) -> None:
    """What has to come from the disk is the same as what is in memory."""
    data = make_file(site / "cold.bin", BIG, b"cold")
    server = serve(site, "--workers", "1", "--threads", "1")

    for _ in range(2):
        evict(site / "cold.bin")
        evict(site / "digits.txt")
        with Client(server.port) as client:
            assert client.request("/digits.txt").body == b"0123456789"
            assert client.request("/cold.bin").body == data
            assert client.request("/cold.bin").body == data


def test_stalled_downloads_cost_no_thread(serve: Serve, site: Path) -> None:
    """More clients that read nothing than threads leave the pool to the others."""
    data = make_file(site / "big.bin", BIG, b"data")
    server = serve(site, "--workers", "1", "--threads", "1")
    evict(site / "big.bin")

    stalled = [begin(server, "/big.bin") for _ in range(30)]
    try:
        evict(site / "big.bin")
        assert fetch(server.port, "/big.bin").body == data
        assert fetch(server.port, "/digits.txt").body == b"0123456789"
        assert threads(server) <= 8
        for client in stalled[:3]:
            assert client.response().body == data
    finally:
        for client in stalled:
            client.socket.close()


def test_stuck_job_is_given_up_once(serve: Serve, site: Path) -> None:
    """A disk that hangs past the send timeout ends its answer, and nothing else."""
    make_file(site / "cold.bin", BIG, b"data")
    hang = "inject=sendfile:delay_enter=6s:when=1"
    server = serve(
        site,
        *("--workers", "1", "--send-timeout", "1"),
        prefix=("strace", "-f", "-qq", "-o", "/dev/null", "-e", hang),
    )
    evict(site / "cold.bin")

    with Client(server.port) as client:
        client.send(get("/cold.bin"))
        answer = client.response()
        assert not answer.is_complete
        assert answer.body == b""
    assert fetch(server.port, "/digits.txt").body == b"0123456789"
    assert "cut short:" not in server.log.read_text(), "the job has not ended yet"
    wait_until(lambda: "cut short:" in server.log.read_text(), "the log line")
    assert server.log.read_text().count("cut short:") == 1
    assert "Traceback" not in server.log.read_text()


# Threads that wait for room.

LONG = 64 * MIB


def test_long_response_to_a_fast_client_gets_a_thread(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """Nearly all of it is sent by another thread than the one that took the request."""
    data = make_file(site / "long.bin", LONG, b"long")
    log = tmp_path / "strace"
    calls = "trace=sendfile,recvfrom"
    prefix = ("strace", "-f", "-qq", "-o", str(log), "-e", calls)
    server = serve(site, "--workers", "1", prefix=prefix)

    body = fetch(server.port, "/long.bin").body
    server.stop()
    sent: dict[str, int] = {}
    loop = ""
    for line in log.read_text().splitlines():
        thread, call = line.split(maxsplit=1)
        if call.startswith("recvfrom(") and "GET " in call:
            loop = thread
        if "sendfile" in call and (count := call.rpartition("= ")[2]).isdigit():
            sent[thread] = sent.get(thread, 0) + int(count)

    assert body == data
    assert sum(sent.values()) == LONG
    assert sent.pop(loop) < LONG // 2
    assert sum(sent.values()) > LONG // 2


def test_clients_that_stall_in_threads_keep_nobody_out(
    serve: Serve, site: Path
) -> None:
    """More of them than there are threads; and each gets everything in the end."""
    data = make_file(site / "long.bin", LONG, b"long")
    server = serve(site, "--workers", "1")

    with ThreadPoolExecutor(8) as readers, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(8)]

        def take_some(client: Client) -> bytes:
            client.send(get("/long.bin"))
            return take(client, 16 * MIB)

        begun = list(readers.map(take_some, clients))
        pass_time(1.5)
        assert fetch(server.port, "/long.bin").body == data
        assert fetch(server.port, "/digits.txt").body == b"0123456789"

        def take_rest(client: Client, begin: bytes) -> bytes:
            head_size = begin.index(b"\r\n\r\n") + 4
            return begin[head_size:] + take(client, head_size + LONG - len(begin))

        assert all(each == data for each in readers.map(take_rest, clients, begun))
    assert "Traceback" not in server.log.read_text()


@pytest.mark.slow
def test_thread_that_is_stuck_is_given_up(serve: Serve, site: Path) -> None:
    """A disk that hangs ends the answer, though its thread is still in it."""
    make_file(site / "long.bin", 16 * LONG, b"long")
    # The calls of each thread are counted; the loop's own are fewer.
    hang = "inject=sendfile:delay_enter=20s:when=12"
    server = serve(
        site,
        *("--workers", "1", "--send-timeout", "1"),
        prefix=("strace", "-f", "-qq", "-o", "/dev/null", "-e", hang),
    )

    with Client(server.port) as client:
        began = time.monotonic()
        answer = client.request("/long.bin")
        assert not answer.is_complete
        assert 10 <= time.monotonic() - began < 19
    assert fetch(server.port, "/digits.txt").body == b"0123456789"


@pytest.mark.slow
def test_parallel_downloads_are_whole_while_small_requests_go_on(
    serve: Serve, site: Path
) -> None:
    """Eight times 64 MiB arrive unharmed, and nobody waits long beside them."""
    seeds = [b"%d" % number for number in range(8)]
    size = 64 * MIB
    wanted = []
    for number, seed in enumerate(seeds):
        block = hashlib.shake_128(seed).digest(MIB + number)
        data = (block * 65)[:size]
        (site / f"{number}.bin").write_bytes(data)
        wanted.append(hashlib.sha256(data).digest())
    server = serve(site, "--workers", "1")
    is_over = threading.Event()

    def download(number: int) -> bytes:
        with Client(server.port) as client:
            client.send(get(f"/{number}.bin"))
            digest, left = hashlib.sha256(), size
            buffer = client.socket.recv(65536)
            head, _, rest = buffer.partition(b"\r\n\r\n")
            assert b"200 OK" in head
            while rest:
                digest.update(rest)
                left -= len(rest)
                rest = client.socket.recv(min(MIB, left)) if left else b""
            assert left == 0
            return digest.digest()

    def ask_often() -> list[float]:
        took = []
        with Client(server.port) as client:
            while not is_over.is_set():
                began = time.monotonic()
                assert client.request("/digits.txt").body == b"0123456789"
                took.append(time.monotonic() - began)
                pass_time(0.01)
        return took

    with ThreadPoolExecutor(9) as executor:
        asking = executor.submit(ask_often)
        try:
            got = list(executor.map(download, range(8)))
        finally:
            is_over.set()

    assert got == wanted
    assert sorted(asking.result())[len(asking.result()) // 2] < 0.5
