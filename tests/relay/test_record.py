"""What is recorded: every byte of both directions, and never at the traffic's cost."""

import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from relaying import (
    MIB,
    Relay,
    Target,
    both_ways,
    connect,
    descriptors,
    echo,
    exchange,
    fate,
    read_all,
)
from running import Server, pass_time, wait_until
from tools import give_up, need

NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z-\d+-\d+\.(client|target)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    return folder


def recorded(folder: Path, end: str) -> list[bytes]:
    """Return what the files of one direction hold, in the order of their names.

    One that the relay has removed meanwhile does not count.
    """
    contents = []
    for each in sorted(folder.glob(f"*.{end}")):
        with contextlib.suppress(FileNotFoundError):
            contents.append(each.read_bytes())
    return contents


def hashes(folder: Path, end: str) -> list[bytes]:
    return [hashlib.blake2b(each).digest() for each in recorded(folder, end)]


def send(server: Server, data: bytes) -> None:
    """Send *data* through *server*, and have all of it come back."""
    with connect(server) as client, ThreadPoolExecutor() as threads:
        received = threads.submit(read_all, client)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert received.result(60) == data


def sizes(folder: Path) -> int:
    """Return how long all files were at one moment: two looks saw the same.

    One look might count a file that makes room, and then what that is made for.
    """
    looks: list[dict[str, int]] = [{}]

    def is_still() -> bool:
        with contextlib.suppress(FileNotFoundError):
            looks.append({each.name: each.stat().st_size for each in folder.iterdir()})
            return looks[-1] == looks[-2]
        return False

    wait_until(is_still, "a moment")
    return sum(looks[-1].values())


# Every byte.


@pytest.mark.parametrize("options", [(), ("--pipe-size", "4"), ("--no-splice",)])
def test_both_directions_are_recorded(
    relay: Relay, target: Target, folder: Path, options: tuple[str, ...]
) -> None:
    """Each in a file of its own, which only its owner may read, whatever the way."""
    results: list[bytes] = []
    place = target(both_ways(results, 64 * MIB))
    server = relay(place, "--workers", "1", "--record", str(folder), *options)
    exchange(server, results, 64 * MIB)
    assert server.stop() == 0
    assert hashes(folder, "target") == results[:1]
    assert hashes(folder, "client") == results[1:]
    names = sorted(each.name for each in folder.iterdir())
    assert all(map(NAME.fullmatch, names))
    assert names[0].rpartition(".")[0] == names[1].rpartition(".")[0]
    assert {each.stat().st_mode & 0o7777 for each in folder.iterdir()} == {0o600}
    assert "not recorded" not in server.log.read_text()


def test_bulk_is_recorded_without_a_copy(
    relay: Relay, target: Target, folder: Path
) -> None:
    """What goes through pipes is teed, and no call shows what was sent."""
    need("strace")
    results: list[bytes] = []
    place = target(both_ways(results, 16 * MIB))
    log = folder.with_name("strace")
    shown = "trace=tee,splice,read,recvfrom,write,sendto"
    prefix = ("strace", "-f", "-qq", "-o", str(log), "-e", shown)
    server = relay(place, "--record", str(folder), prefix=prefix)
    exchange(server, results, 16 * MIB)
    server.stop()
    moved: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        if done := re.fullmatch(r"\d+ +(?:<\.\.\. )?(\w+).* = (\d+)", line):
            moved[done[1]] += int(done[2])
    assert moved["tee"] > 24 * MIB
    assert moved["splice"] > 3 * moved["tee"] - MIB
    assert moved["recvfrom"] < 8 * MIB
    assert moved["write"] < 8 * MIB
    assert hashes(folder, "target") == results[:1]
    assert hashes(folder, "client") == results[1:]


def test_small_exchanges_are_recorded_in_their_order(
    relay: Relay, target: Target, folder: Path
) -> None:
    """And within moments, while the connection lasts."""
    server = relay(target(echo), "--record", str(folder))
    sent = b""
    with connect(server) as client:
        for number in range(300):
            piece = b"%d;" % number
            client.sendall(piece)
            assert client.recv(10) == piece
            sent += piece
        for end in ("client", "target"):
            wait_until(lambda end=end: recorded(folder, end) == [sent], end)  # type: ignore[misc]
        client.sendall(b"end")
        assert client.recv(10) == b"end"
    wait_until(lambda: recorded(folder, "client") == [sent + b"end"], "the end")


def test_what_is_copied_and_what_is_spliced_keep_their_order(
    relay: Relay, target: Target, folder: Path
) -> None:
    """A connection that has both, by turns."""
    server = relay(target(echo), "--workers", "1", "--record", str(folder))
    sent = []
    with (
        connect(server) as client,
        client.makefile("rb") as stream,
        ThreadPoolExecutor() as threads,
    ):
        for number in range(40):
            for size in (1, 100, 700_000, 20_000, 3):
                piece = hashlib.shake_128(b"%d" % number).digest(size)
                received = threads.submit(stream.read, size)
                client.sendall(piece)
                assert received.result(60) == piece
                sent.append(piece)
    assert server.stop() == 0
    assert recorded(folder, "client") == [b"".join(sent)]
    assert recorded(folder, "target") == [b"".join(sent)]
    spliced = re.search(r"(\d+) bytes spliced", server.log.read_text())
    assert spliced
    assert int(spliced[1]) > 20 * MIB


def test_every_connection_of_every_worker_is_recorded(
    relay: Relay, target: Target, folder: Path
) -> None:
    """Also those that end at once, and those in which one side is silent."""
    server = relay(target(echo), "--workers", "2", "--record", str(folder))
    all_sent = [b"%d" % number * (number * 300) for number in range(120)]

    def use(data: bytes) -> None:
        with connect(server) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == data

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(use, all_sent))
    assert server.stop() == 0
    assert sorted(recorded(folder, "client")) == sorted(all_sent)
    assert sorted(recorded(folder, "target")) == sorted(all_sent)
    workers = {each.name.split("-")[1] for each in folder.iterdir()}
    assert workers == {"0", "1"}


def test_reset_loses_nothing_of_what_came(
    relay: Relay, target: Target, folder: Path
) -> None:
    """A connection that breaks is recorded up to there."""

    def break_off(client: socket.socket) -> None:
        client.recv(3, socket.MSG_WAITALL)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    server = relay(target(break_off), "--record", str(folder))
    with connect(server) as client:
        client.sendall(b"abc")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    wait_until(lambda: recorded(folder, "client") == [b"abc"], "the recording")
    wait_until(lambda: recorded(folder, "target") == [b""], "the recording")


def test_without_a_second_pipe_it_is_copied(
    relay: Relay, target: Target, folder: Path
) -> None:
    """Where the limit of descriptors leaves but one, nothing is spliced."""
    results: list[bytes] = []
    place = target(both_ways(results, 8 * MIB))
    options = ("--workers", "1", "--max-connections", "1", "--record", str(folder))
    limit = ("sh", "-c", 'ulimit -n 73; exec "$@"', "sh")
    server = relay(place, *options, prefix=limit)
    exchange(server, results, 8 * MIB)
    assert server.stop() == 0
    assert hashes(folder, "target") == results[:1]
    assert hashes(folder, "client") == results[1:]
    assert " 0 bytes spliced" in server.log.read_text()


def test_no_descriptor_and_no_pipe_leaks(
    relay: Relay, target: Target, folder: Path
) -> None:
    """After hundreds of connections, however they ended, only idle pipes are left."""
    server = relay(target(echo), "--workers", "1", "--record", str(folder))

    def use(number: int) -> None:
        with connect(server) as client:
            client.sendall(b"x" * (number % 7 * 90_000))
            if number % 3:
                client.shutdown(socket.SHUT_WR)
                assert len(read_all(client)) == number % 7 * 90_000

    for number in range(20):  # whatever is made once, is made now
        use(number)
    before = descriptors(server)
    assert before < 100
    idle = 2 * 16
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, range(600)))
    wait_until(lambda: descriptors(server) <= before + idle, "all to be closed")
    assert server.stop() == 0
    assert len(list(folder.iterdir())) == 2 * 620
    assert "Traceback" not in server.log.read_text()


def test_header_of_a_proxy_is_not_recorded(
    relay: Relay, target: Target, folder: Path
) -> None:
    """Only what the client itself sent."""
    proxy = ("--accept-proxy", "--trusted-proxy", "127.0.0.1", "--send-proxy", "v1")
    server = relay(target(echo), *proxy, "--record", str(folder))
    header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    with connect(server) as client:
        client.sendall(header + b"hello")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == header + b"hello"
    wait_until(lambda: recorded(folder, "client") == [b"hello"], "the recording")


# The end.


def test_drained_connection_is_recorded_to_its_end(
    relay: Relay, target: Target, folder: Path
) -> None:
    """Whatever comes within the grace, with one worker or more."""
    server = relay(target(echo), "--grace", "20", "--record", str(folder))
    with connect(server) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        os.kill(server.pid, signal.SIGTERM)
        client.sendall(b"y")
        assert client.recv(1) == b"y"
    assert server.process.wait(20) == 0
    assert recorded(folder, "client") == recorded(folder, "target") == [b"xy"]


def test_connection_cut_at_the_end_of_the_grace_is_recorded(
    relay: Relay, target: Target, folder: Path
) -> None:
    """What the target has, the recording has."""
    received = bytearray()
    ended = threading.Event()

    def take(client: socket.socket) -> None:
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(MIB):
                received.extend(piece)
        ended.set()

    server = relay(target(take), "--grace", "1", "--record", str(folder))

    def send_on(client: socket.socket) -> None:
        while True:
            client.sendall(os.urandom(MIB // 2))

    with connect(server) as client, ThreadPoolExecutor() as threads:
        sending = threads.submit(send_on, client)
        wait_until(lambda: recorded(folder, "client"), "the recording")
        assert server.stop() == 0
        assert isinstance(sending.exception(20), OSError)
    assert ended.wait(20), "what the target received has no end"
    (written,) = recorded(folder, "client")
    assert len(received) > MIB
    assert written.startswith(received)
    assert "1 connections cut short" in server.log.read_text()
    assert "not complete" not in server.log.read_text()


def test_connection_cut_while_it_waits_for_its_recording_has_not_ended(
    relay: Relay, target: Target, folder: Path
) -> None:
    """Who would miss what nobody has taken yet hears a reset."""
    need("strace")
    fates: list[str] = []
    # Each thread locks the files that it makes.
    slow = "inject=flock:delay_enter=2s"
    server = relay(
        target(lambda client: fates.append(fate(client))),
        *("--workers", "1", "--grace", "0", "--record", str(folder)),
        prefix=("strace", "-f", "-qq", "-o", "/dev/null", "-e", slow),
    )
    with connect(server) as client:
        client.sendall(bytes(MIB))
        wait_until(lambda: list(folder.iterdir()), "the recording")
        assert server.stop() == 0
        wait_until(lambda: fates, "the end")
    assert fates == ["reset"]


def test_worker_of_a_former_configuration_waits_for_its_recordings(
    relay: Relay, target: Target, folder: Path
) -> None:
    """Its looks whether anybody still needs it do not cut that short."""
    need("strace")
    # Each thread locks the files that it makes.
    slow = "inject=flock:delay_enter=1s"
    server = relay(
        target(echo),
        *("--workers", "1", "--grace", "0", "--record", str(folder)),
        prefix=("strace", "-f", "-qq", "-o", "/dev/null", "-e", slow),
    )
    with connect(server) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: "reloaded: " in server.log.read_text(), "the reload")
        assert server.stop() == 0
    assert recorded(folder, "client") == recorded(folder, "target") == [b"x"]
    assert "not complete" not in server.log.read_text()


# What is refused, full, or slow.


@pytest.mark.parametrize("call", ["tee", "splice"])
@pytest.mark.parametrize("how", ["EINVAL:when=1+", "ENOSYS:when=7+", "EPERM:when=20+"])
def test_refused_call_loses_nothing(
    relay: Relay, target: Target, folder: Path, call: str, how: str
) -> None:
    """From the first one on or later, all is recorded, by copying."""
    need("strace")
    results: list[bytes] = []
    place = target(both_ways(results, 8 * MIB))
    fault = ("-e", f"trace={call}", "-e", f"inject={call}:error={how}")
    log = folder.with_name("strace")
    prefix = ("strace", "-f", "-qq", "-o", str(log), *fault)
    server = relay(place, "--workers", "1", "--record", str(folder), prefix=prefix)
    exchange(server, results, 8 * MIB)
    assert server.stop() == 0
    assert hashes(folder, "target") == results[:1]
    assert hashes(folder, "client") == results[1:]
    assert "INJECTED" in log.read_text()
    assert server.log.read_text().count("tee is refused") == (call == "tee")


@pytest.mark.parametrize("error", ["EAGAIN", "ENOMEM"])
def test_failed_tee_is_made_up_for_by_a_copy(
    relay: Relay, target: Target, folder: Path, error: str
) -> None:
    """Once is not for ever."""
    need("strace")
    results: list[bytes] = []
    place = target(both_ways(results, 8 * MIB))
    fault = ("-e", "trace=tee", "-e", f"inject=tee:error={error}:when=2+3")
    log = folder.with_name("strace")
    prefix = ("strace", "-f", "-qq", "-o", str(log), *fault)
    server = relay(place, "--workers", "1", "--record", str(folder), prefix=prefix)
    exchange(server, results, 8 * MIB)
    assert server.stop() == 0
    assert hashes(folder, "target") == results[:1]
    assert hashes(folder, "client") == results[1:]
    assert log.read_text().count("INJECTED") > 1


def small_disk(folder: Path) -> tuple[str, ...]:
    """Return the prefix of a command that sees a disk of 4 MiB in place of *folder*."""
    need("unshare", "mount")
    mount = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"'
    unshare = ("unshare", "--mount", "--propagation", "private")
    prefix = (*unshare, "sh", "-c", mount, str(folder))
    if subprocess.run((*prefix, "true"), check=False).returncode:
        give_up("nothing can be mounted")
    return prefix


def test_full_disk_stops_the_recording_and_not_the_traffic(
    relay: Relay, target: Target, folder: Path
) -> None:
    """What was written stays; and whoever comes when there is room is recorded."""
    options = ("--workers", "1", "--record", str(folder))
    server = relay(target(echo), *options, prefix=small_disk(folder))
    disk = Path(f"/proc/{server.pid}/root/{folder}")
    data = os.urandom(16 * MIB)
    send(server, data)
    log = server.log.read_text()
    assert log.count("is given up: No space left on device") == 1
    assert 3 * MIB < sizes(disk) <= 4 * MIB
    written = *recorded(disk, "client"), *recorded(disk, "target")
    assert all(map(data.startswith, written))
    for each in disk.iterdir():
        each.unlink()
    send(server, b"again")
    wait_until(lambda: recorded(disk, "client") == [b"again"], "the next recording")
    assert server.stop() == 0
    assert "1 connections were not recorded" in server.log.read_text()


def test_limit_of_the_size_of_files_stops_the_recording(
    relay: Relay, target: Target, folder: Path
) -> None:
    """And the files are as long as they may be (getrlimit(2), RLIMIT_FSIZE)."""
    results: list[bytes] = []
    place = target(both_ways(results, 8 * MIB))
    limit = ("sh", "-c", 'ulimit -f 2048; exec "$@"', "sh")  # blocks of 512 bytes
    server = relay(place, "--record", str(folder), prefix=limit)
    exchange(server, results, 8 * MIB)
    wait_until(lambda: "is given up: File too large" in server.log.read_text(), "it")
    assert max(each.stat().st_size for each in folder.iterdir()) == MIB


def test_what_comes_while_a_thread_writes_is_written_too(
    relay: Relay, target: Target, folder: Path
) -> None:
    """Without waiting for more, or for the end."""
    need("strace")
    slow = "inject=flock:delay_enter=3s:when=1"
    prefix = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", slow)
    server = relay(target(echo), "--record", str(folder), prefix=prefix)
    with connect(server) as client:
        client.sendall(b"a")
        wait_until(lambda: recorded(folder, "client") == [b""], "the file")
        client.sendall(b"b")
        assert client.recv(1) + client.recv(1) == b"ab"
        pass_time(1)
        assert recorded(folder, "client") == [b""], "the file is not locked yet"
        wait_until(lambda: recorded(folder, "client") == [b"ab"], "the recording")


def test_disk_that_hangs_holds_up_nobody_for_long(
    relay: Relay, target: Target, folder: Path
) -> None:
    """Traffic goes on, recordings when the disk does."""
    need("strace")
    results: list[bytes] = []
    place = target(both_ways(results, 8 * MIB))
    # Each thread locks the files that it makes.
    hang = "inject=flock:delay_enter=9s:when=1"
    prefix = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", hang)
    server = relay(place, "--workers", "1", "--record", str(folder), prefix=prefix)

    def given_up() -> int:
        return server.log.read_text().count("is given up: the disk is too slow")

    exchange(server, results, 8 * MIB)
    assert given_up() == 1
    results.clear()
    exchange(server, results, 8 * MIB)
    assert given_up() == 2, "nothing is recorded while it hangs"
    assert [each.stat().st_size for each in folder.iterdir()] == [0, 0], "it does"

    def is_recorded() -> bool:
        results.clear()
        exchange(server, results, MIB)
        return bool(set(results) & set(hashes(folder, "client")))

    wait_until(is_recorded, "the disk to go on")
    assert "Traceback" not in server.log.read_text()


# Bounds.


def test_oldest_recordings_make_room(
    relay: Relay, target: Target, folder: Path
) -> None:
    """There is never more than there may be, and the newest are there."""
    options = ("--workers", "1", "--record", str(folder), "--record-size", "1")
    server = relay(target(echo), *options)
    pieces = [os.urandom(70_000 + number) for number in range(20)]
    for piece in pieces:
        send(server, piece)
        assert sizes(folder) <= MIB
    wait_until(lambda: recorded(folder, "client")[-1:] == pieces[-1:], "the last")
    kept = recorded(folder, "client")
    assert len(kept) >= 4
    assert kept == pieces[-len(kept) :]
    assert "given up" not in server.log.read_text()


def test_connection_that_takes_all_the_room_is_recorded_no_more(
    relay: Relay, target: Target, folder: Path
) -> None:
    """It is said, and the traffic goes on."""
    options = ("--workers", "1", "--record", str(folder), "--record-size", "2")
    results: list[bytes] = []
    server = relay(target(both_ways(results, 8 * MIB)), *options)
    exchange(server, results, 8 * MIB)
    assert MIB <= sizes(folder) <= 2 * MIB
    assert server.log.read_text().count("all the room") == 1


def test_workers_keep_to_the_size_together(
    relay: Relay, target: Target, folder: Path
) -> None:
    """Each within its share, of which others know nothing."""
    options = ("--workers", "2", "--record", str(folder), "--record-size", "2")
    server = relay(target(echo), *options)
    pieces = [os.urandom(60_000) for _ in range(60)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda piece: send(server, piece), pieces))
    assert server.stop() == 0
    assert MIB // 2 < sizes(folder) <= 2 * MIB
    assert set(recorded(folder, "client")) <= set(pieces)


def test_old_recordings_are_removed_and_nothing_else(
    relay: Relay, target: Target, folder: Path
) -> None:
    """Neither what is being written, by whichever relay, nor what is not ours."""
    options = ("--record", str(folder), "--record-age", "1", "--workers")
    first = relay(target(echo), *options, "2")
    send(first, b"soon gone")
    stem = "20200101T000000.000000Z-3-4711"  # of a worker that there is no more
    (folder / f"{stem}.client").write_bytes(b"old")
    os.utime(folder / f"{stem}.client", (0, 0))
    others = [f"{stem}.client.gz", f"{stem}.servant", f"{stem}", "notes"]
    for name in others:
        (folder / name).write_bytes(b"not ours")
        os.utime(folder / name, (0, 0))
    link = folder / f"{stem}1.client"
    link.symlink_to("notes")
    with connect(first) as client:
        client.sendall(b"stays")
        assert client.recv(10) == b"stays"
        wait_until(lambda: b"stays" in recorded(folder, "client"), "the recording")
        relay(target(echo), *options, "1")
        rest = [b"not ours", b"stays"]  # the link, and what is being written
        is_tidy = lambda: recorded(folder, "client") == rest  # noqa: E731
        wait_until(is_tidy, "old recordings to be gone")
        pass_time(2.5)
        assert recorded(folder, "client") == rest
    assert {*others, link.name} <= {each.name for each in folder.iterdir()}
