"""The relay with real sockets: every byte, both ends, and what breaks."""

import contextlib
import hashlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import pytest

from relaying import (
    MIB,
    Relay,
    Target,
    both_ways,
    connect,
    connect_unix,
    descriptors,
    echo,
    exchange,
    fate,
    hash_all,
    read_all,
    read_exactly,
    reset,
    send_much,
)
from running import (
    HAS_IPV6,
    Server,
    cpu_seconds,
    cpu_ticks,
    pass_time,
    wait_until,
)
from sendfile_server.transport.room import unacknowledged
from tools import give_up, need
from wire import fill

WAYS = pytest.mark.parametrize("way", [(), ("--no-splice",)], ids=["spliced", "copied"])


@contextlib.contextmanager
def stopped(server: Server) -> Iterator[None]:
    """Let a worker that is alone do nothing meanwhile."""
    os.kill(server.worker, signal.SIGSTOP)
    yield
    os.kill(server.worker, signal.SIGCONT)


# Every byte.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "size"),
    [
        pytest.param((), 1024, id="spliced"),
        pytest.param(("--no-splice",), 256, id="copied"),
        pytest.param(("--pipe-size", "4"), 64, id="pipes of 4 KiB"),
        pytest.param(("--pipe-size", "1024"), 256, id="pipes of 1 MiB"),
        pytest.param(("--workers", "2"), 256, id="two workers"),
    ],
)
def test_both_ways_at_once(
    relay: Relay, target: Target, options: tuple[str, ...], size: int
) -> None:
    """Whatever the way of moving them, all bytes arrive, in their order."""
    results: list[bytes] = []
    place = target(both_ways(results, size * MIB))
    exchange(relay(place, *options), results, size * MIB)


@pytest.mark.parametrize("error", ["EINVAL", "ENOSYS", "EPERM"])
@pytest.mark.parametrize("when", ["1+", "2+", "7+", "20+"])
def test_refused_splice_loses_nothing(
    relay: Relay, target: Target, tmp_path: Path, error: str, when: str
) -> None:
    """From the first call on or later, with bytes in a pipe or not."""
    need("strace")
    results: list[bytes] = []
    place = target(both_ways(results, 8 * MIB))
    fault = ("-e", "trace=splice", "-e", f"inject=splice:error={error}:when={when}")
    log = tmp_path / "strace"
    server = relay(place, prefix=("strace", "-f", "-qq", "-o", str(log), *fault))
    before = descriptors(server, "pipe")
    exchange(server, results, 8 * MIB)
    wait_until(lambda: descriptors(server, "pipe") == before, "no pipe to be kept")
    assert "INJECTED" in log.read_text()


def test_bulk_is_spliced_and_little_is_not(
    relay: Relay, target: Target, tmp_path: Path
) -> None:
    """Small exchanges are copied, and no call shows what was sent in bulk."""
    need("strace")
    results: list[bytes] = []
    place = target(both_ways(results, 16 * MIB))
    log = tmp_path / "strace"
    prefix = (
        "strace",
        "-f",
        "-qq",
        "-o",
        str(log),
        "-e",
        "trace=splice,recvfrom,sendto",
    )
    server = relay(place, prefix=prefix)
    exchange(server, results, 16 * MIB)
    server.stop()
    calls = log.read_text()
    assert calls.count("splice(") > 2 * calls.count("recvfrom(")


@pytest.mark.parametrize(
    ("options", "way"),
    [
        pytest.param((), r"(\d+) bytes spliced, \d+ copied", id="spliced"),
        pytest.param(("--no-splice",), r"0 bytes spliced, (\d+) copied", id="copied"),
    ],
)
def test_what_was_moved_is_told_at_the_end(
    relay: Relay, target: Target, options: tuple[str, ...], way: str
) -> None:
    """How many connections and bytes, and which way they went."""
    results: list[bytes] = []
    place = target(both_ways(results, 16 * MIB))
    server = relay(place, "--workers", "1", *options)
    exchange(server, results, 16 * MIB)
    assert server.stop() == 0
    told = server.log.read_text()
    moved = re.search(f"1 connections: ?{way}", told)
    assert moved
    assert 24 * MIB < int(moved[1]) <= 32 * MIB
    assert "0 without a target, 0 reset" in told


def test_low_limit_of_descriptors_leaves_some_for_pipes(
    relay: Relay, target: Target
) -> None:
    """There are fewer connections then, and they are spliced."""
    results: list[bytes] = []
    place = target(both_ways(results, 16 * MIB))
    limit = ("sh", "-c", 'ulimit -n 1000; exec "$@"', "sh")
    server = relay(place, "--workers", "1", prefix=limit)
    exchange(server, results, 16 * MIB)
    assert server.stop() == 0
    spliced = re.search(r"(\d+) bytes spliced", server.log.read_text())
    assert spliced
    assert int(spliced[1]) > 24 * MIB


@pytest.mark.parametrize(
    "bulk", [0, 4 * MIB, 96 * MIB], ids=["alone", "after bulk", "after much"]
)
def test_byte_by_byte(relay: Relay, target: Target, bulk: int) -> None:
    """A dribble arrives as it was sent, without waiting for more."""

    def take_and_echo(client: socket.socket) -> None:
        read_exactly(client, bulk)
        echo(client)

    server = relay(target(take_and_echo))
    with connect(server) as client:
        client.sendall(bytes(bulk))
        for number in range(300):
            client.sendall(bytes([number % 256]))
            assert client.recv(10) == bytes([number % 256])
        client.shutdown(socket.SHUT_WR)
        assert client.recv(10) == b""


@WAYS
def test_stalled_writer_is_waited_for(
    relay: Relay, target: Target, way: tuple[str, ...]
) -> None:
    """All that came before its pause arrives in it, and the rest after it."""
    data = hashlib.shake_128(b"stalled").digest(4 * MIB)
    early = 3 * MIB + 1
    arrived: SimpleQueue[bytes] = SimpleQueue()

    def listen(client: socket.socket) -> None:
        arrived.put(read_exactly(client, early))
        arrived.put(read_all(client))

    with connect(relay(target(listen), *way)) as client:
        client.sendall(data[:early])
        assert arrived.get(timeout=20) == data[:early]
        client.sendall(data[early:])
        client.shutdown(socket.SHUT_WR)
        assert arrived.get(timeout=20) == data[early:]


@pytest.mark.alone
@WAYS
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_urgent_data_is_part_of_the_stream(
    relay: Relay, target: Target, tmp_path: Path, way: tuple[str, ...], kind: str
) -> None:
    """No byte is lost for it, nor taken for the end, and behind it nothing spins."""
    heard: list[bytes] = []
    place = target(lambda client: heard.append(read_all(client)))
    listen = {"tcp": "127.0.0.1:0", "unix": f"unix:{tmp_path}/relay"}[kind]
    server = relay(place, "--workers", "1", *way, listen=listen)
    calm = bytes(50_000)
    with connect(server) if kind == "tcp" else connect_unix(listen) as client:
        for rest in (b"", calm):
            with stopped(server):  # so that it begins with bulk
                client.sendall(calm)
                client.send(b"!", socket.MSG_OOB)
                client.sendall(rest)
            pass_time(0.2)
            before = cpu_ticks(server)
            pass_time(1)
            assert cpu_ticks(server) - before <= 2
        with stopped(server):
            client.sendall(calm)
            client.send(b"!", socket.MSG_OOB)
            client.sendall(calm)
            client.shutdown(socket.SHUT_WR)
        wait_until(lambda: heard, "what the target heard")
    assert heard == [(calm + b"!") * 2 + (calm + calm + b"!") + calm]


@pytest.mark.alone
def test_who_accepts_may_speak_first(relay: Relay, target: Target) -> None:
    """The client hears the target's greeting without saying a word."""
    server = relay(target(lambda client: client.sendall(b"220 hello\r\n")))
    with connect(server) as client:
        began = time.monotonic()
        assert read_all(client) == b"220 hello\r\n"
        assert time.monotonic() - began < 0.9  # the kernel was not to wait for input


@pytest.mark.alone
@pytest.mark.parametrize("size", [0, 1, 5000, 300_000, 8 * MIB])
def test_stalled_reader_is_waited_for(relay: Relay, target: Target, size: int) -> None:
    """Whoever takes nothing for a while gets everything when it does."""
    data = hashlib.shake_128(b"stalled").digest(size)
    server = relay(target(lambda client: client.sendall(data)))
    with connect(server) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        pass_time(0.5)
        before = cpu_seconds(server)
        pass_time(0.5)
        assert cpu_seconds(server) - before < 0.1
        assert read_all(client) == data


# The end of one side.


def test_client_ends_first(relay: Relay, target: Target) -> None:
    """The target hears the end, and its answer still arrives."""

    def answer_late(client: socket.socket) -> None:
        client.sendall(read_all(client)[::-1])

    server = relay(target(answer_late))
    with connect(server) as client:
        client.sendall(b"request")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"tseuqer"


def test_target_ends_first(relay: Relay, target: Target) -> None:
    """The client hears the end, and what it still sends arrives."""
    heard: list[bytes] = []

    def end_and_listen(client: socket.socket) -> None:
        client.sendall(b"that is all")
        client.shutdown(socket.SHUT_WR)
        heard.append(read_all(client))

    server = relay(target(end_and_listen))
    with connect(server) as client:
        assert read_all(client) == b"that is all"
        client.sendall(b"more from here")
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: heard, "what the target heard")
    assert heard == [b"more from here"]


def test_reset_of_the_client_resets_the_target(relay: Relay, target: Target) -> None:
    """A broken connection doesn't look like one that ended."""
    fates: list[str] = []
    server = relay(target(lambda client: fates.append(fate(client))))
    client = connect(server)
    client.sendall(b"x")
    pass_time(0.1)
    reset(client)
    wait_until(lambda: fates, "the end of the target's connection")
    assert fates == ["reset"]


def test_reset_of_the_target_resets_the_client(relay: Relay, target: Target) -> None:
    """And the other way round."""

    def break_off(client: socket.socket) -> None:
        client.recv(1)
        reset(client)

    server = relay(target(break_off))
    with connect(server) as client:
        client.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


@WAYS
def test_target_that_goes_in_the_middle_resets_the_client(
    relay: Relay, target: Target, way: tuple[str, ...]
) -> None:
    """Whoever is sending then, and the next client is none the worse for it."""

    def take_or_send_some(client: socket.socket) -> None:
        if client.recv(1) == b"<":
            client.sendall(bytes(8 * MIB))
        else:
            read_exactly(client, 8 * MIB)
        reset(client)

    server = relay(target(take_or_send_some), *way)
    for _ in range(2):
        with connect(server) as client:
            client.sendall(b"<")
            assert fate(client) == "reset"
        with connect(server) as client, pytest.raises(ConnectionError):
            client.sendall(b">" * 64 * MIB)


def test_reset_is_heard_behind_much_that_is_unread(
    relay: Relay, target: Target
) -> None:
    """However long what came before it takes, it is not forgotten meanwhile."""
    fates: SimpleQueue[str] = SimpleQueue()
    server = relay(target(lambda client: fates.put(fate(client))), "--workers", "1")

    def is_much_unread(client: socket.socket) -> bool:
        # Each time that much was read at once, the kernel lets more wait.
        os.kill(server.worker, signal.SIGCONT)
        wait_until(lambda: not unacknowledged(client), "all to be read")
        os.kill(server.worker, signal.SIGSTOP)
        sent = fill(client)
        pass_time(0.05)
        sent += fill(client)
        return sent - unacknowledged(client) > 3 * MIB

    for _ in range(3):  # most often, what comes before it takes several turns
        client = connect(server)
        client.setblocking(False)
        wait_until(partial(is_much_unread, client), "much to be unread")
        reset(client)
        os.kill(server.worker, signal.SIGCONT)
        assert fates.get(timeout=20) == "reset"


# Other kinds of sockets.


def test_unix_sockets(relay: Relay, target: Target, tmp_path: Path) -> None:
    """On both sides, and the file of ours is gone afterwards."""
    results: list[bytes] = []
    place = target(both_ways(results, 8 * MIB), f"unix:{tmp_path}/target")
    here = f"unix:{tmp_path}/relay"
    server = relay(place, listen=here)
    with connect_unix(here) as client, ThreadPoolExecutor() as threads:
        received = threads.submit(hash_all, client)
        sent = send_much(client, 8 * MIB, b"there")
        back = received.result(60)
    wait_until(lambda: len(results) == 2, "the target's hashes")
    assert [back, sent] == results
    assert server.stop() == 0
    assert not (tmp_path / "relay").exists()


def test_ipv6(relay: Relay, target: Target) -> None:
    """On both sides."""
    if not HAS_IPV6:
        give_up("this machine has no IPv6")
    server = relay(target(echo, "::1"), listen="[::1]:0")
    port = int(server.log.read_text().split("[::1]:")[1].split()[0])
    with socket.create_connection(("::1", port), 20) as client:
        client.sendall(b"six")
        assert client.recv(10) == b"six"


def test_several_forwards(relay: Relay, target: Target, tmp_path: Path) -> None:
    """Each has its target."""
    first = target(lambda client: client.sendall(b"first"))
    second = target(lambda client: client.sendall(b"second"))
    more = f"unix:{tmp_path}/more={second}"
    server = relay(first, "--forward", more, "--workers", "2")
    with connect(server) as client:
        assert read_all(client) == b"first"
    with connect_unix(f"unix:{tmp_path}/more") as client:
        assert read_all(client) == b"second"


# Time and number.


def test_idle_connection_is_closed(relay: Relay, target: Target) -> None:
    """Both sides hear the end when nothing has moved for too long."""
    ended = threading.Event()

    def listen(client: socket.socket) -> None:
        echo(client)
        ended.set()

    server = relay(target(listen), "--idle-timeout", "1")
    with connect(server) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        began = time.monotonic()
        assert client.recv(1) == b""
        assert 0 < time.monotonic() - began < 5
        assert ended.wait(5)


def test_half_closed_connection_has_a_time_of_its_own(
    relay: Relay, target: Target
) -> None:
    """Who has said that it sends no more is not waited for as long as others."""
    release = threading.Event()

    def stay(_: socket.socket) -> None:
        release.wait(30)

    server = relay(
        target(stay),
        *("--half-closed-timeout", "1"),
    )
    with connect(server) as client:
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    release.set()


def test_connected_peers_may_be_silent(relay: Relay, target: Target) -> None:
    """The connect timeout is none of theirs, once the target has accepted."""
    server = relay(target(echo), "--connect-timeout", "1")
    with connect(server) as client:
        pass_time(2.5)
        client.sendall(b"x")
        assert client.recv(1) == b"x"


def test_moving_bytes_put_the_end_off(relay: Relay, target: Target) -> None:
    """A connection that is used now and then outlives the idle timeout."""
    server = relay(target(echo), "--idle-timeout", "2")
    with connect(server) as client:
        for _ in range(5):
            pass_time(1)
            client.sendall(b"x")
            assert client.recv(1) == b"x"


def test_told_to_stop_it_finishes_first(relay: Relay, target: Target) -> None:
    """Connections go on within the grace, and nobody new is accepted."""
    server = relay(target(echo), "--grace", "20")
    with connect(server) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        os.kill(server.pid, signal.SIGTERM)

        def is_refused() -> bool:
            try:
                connect(server).close()
            except OSError:
                return True
            return False

        wait_until(is_refused, "the listener to be closed")
        client.sendall(b"y")
        assert client.recv(1) == b"y"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert server.process.wait(10) == 0
    assert "cut short" not in server.log.read_text()


def test_grace_has_an_end(relay: Relay, target: Target) -> None:
    """Who stays longer is cut short, and that is told."""
    server = relay(target(echo), "--grace", "1")
    with connect(server) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        assert server.stop() == 0
        assert "1 connections cut short" in server.log.read_text()


@pytest.mark.parametrize("option", ["--idle-timeout", "--grace"])
@WAYS
def test_what_is_cut_short_has_not_ended(
    relay: Relay, target: Target, option: str, way: tuple[str, ...]
) -> None:
    """Who would miss bytes hears a reset, and not an end that seems to be theirs."""

    def pour(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client.sendall(bytes(64 * MIB))

    server = relay(target(pour), option, "1", "--workers", "1", *way)
    before = descriptors(server)
    with connect(server) as client:
        client.recv(1)
        pass_time(0.5)
        if option == "--grace":
            assert server.stop() == 0
        else:
            wait_until(lambda: descriptors(server) == before, "the end of the time")
        assert fate(client) == "reset"


def test_many_stalled_connections_lose_nothing(relay: Relay, target: Target) -> None:
    """Beyond the pipes there are, what is held for them is in memory."""
    data = hashlib.shake_128(b"many").digest(MIB)
    server = relay(
        target(lambda client: client.sendall(data)),
        *("--workers", "1", "--max-connections", "400"),
        prefix=("sh", "-c", 'ulimit -n 900; exec "$@"', "sh"),
    )
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(300):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
            client.settimeout(60)
            client.connect(("127.0.0.1", server.port))
            clients.append(client)
        pass_time(1)
        with ThreadPoolExecutor(20) as threads:
            assert all(got == data for got in threads.map(read_all, clients))
    assert "cannot connect" not in server.log.read_text()
