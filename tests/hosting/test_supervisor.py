"""Several workers, one of which fails, and the ways to end them all."""

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from running import Serve, Server, launch, pass_time, sockets, wait_until
from tools import need
from wire import Client, fetch, get

BIG = 64 << 20
both = pytest.mark.parametrize("workers", ["1", "2"])


@pytest.fixture
def big_site(site: Path) -> Path:
    """Add a file that no buffer of a socket holds."""
    with (site / "big.bin").open("wb") as file:
        file.truncate(BIG)
    return site


def begin(server: Server) -> Client:
    """Start a download that stays under way until it is read."""
    client = Client(server.port)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.send(get("/big.bin"))
    client.socket.recv(1, socket.MSG_PEEK)
    return client


def start_slowly(serve: Serve, site: Path) -> Server:
    """Start a server whose only worker, and each that follows it, takes its time."""
    need("strace")
    # Every worker makes itself a loop.
    slow = ("-e", "trace=epoll_create1", "-e", "inject=epoll_create1:delay_enter=2s")
    prefix = ("strace", "-f", "-qq", "-o", "/dev/null", *slow)
    return serve(site, "--workers", "1", prefix=prefix)


def has_ended(descriptor: int, seconds: float) -> bool:
    """Wait for the process of a pidfd, whoever is its parent now."""
    return bool(select.select([descriptor], [], [], seconds)[0])


def is_refusing(server: Server) -> bool:
    """Tell whether nobody listens any more."""
    try:
        Client(server.port).socket.close()
    except ConnectionRefusedError:
        return True
    return False


# Workers that fail.


def test_both_workers_get_connections(serve: Serve, site: Path) -> None:
    """No worker takes all."""
    server = serve(site, "--workers", "2")
    before = {pid: sockets(pid) for pid in server.children()}

    clients = [Client(server.port) for _ in range(100)]
    try:
        for client in clients:
            client.send(get("/digits.txt"))
        for client in clients:
            assert client.response().status == 200
        gained = {pid: sockets(pid) - count for pid, count in before.items()}
    finally:
        for client in clients:
            client.socket.close()

    assert len(gained) == 2
    assert sum(gained.values()) == 100
    assert min(gained.values()) >= 5


def test_killed_worker_is_replaced_and_nobody_refused(serve: Serve, site: Path) -> None:
    """Clients that connect meanwhile are answered; only what it held is lost."""
    server = serve(site, "--workers", "2")
    victim, survivor = server.children()
    is_over = threading.Event()
    took: list[float] = []
    failures: list[OSError | AssertionError] = []

    def ask() -> None:
        # With pauses, or ports would run out, also for other tests.
        while not is_over.wait(0.005):
            began = time.monotonic()
            try:
                assert fetch(server.port, "/kib.bin").is_complete
            except (OSError, AssertionError) as error:
                failures.append(error)
            took.append(time.monotonic() - began)

    askers = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
    for asker in askers:
        asker.start()
    try:
        wait_until(lambda: len(took) > 50, "some answers")
        os.kill(victim, signal.SIGKILL)
        wait_until(
            lambda: len(set(server.children()) - {victim, survivor}) == 1,
            "another worker",
        )
        enough = len(took) + 200
        wait_until(lambda: len(took) > enough, "more answers")
    finally:
        is_over.set()
        for asker in askers:
            asker.join(20)

    assert not [each for each in failures if isinstance(each, ConnectionRefusedError)]
    assert len(failures) <= len(askers)  # what the dead one had accepted
    assert max(took) < 5
    assert len(server.children()) == 2
    assert f"worker {victim} ended by signal 9" in server.log.read_text()


@pytest.mark.slow
def test_stopped_worker_is_replaced_and_nobody_stuck(serve: Serve, site: Path) -> None:
    """A worker without a heartbeat for 10 s is replaced; others serve meanwhile."""
    server = serve(site, "--workers", "2")
    victim, survivor = server.children()
    began = time.monotonic()
    took = []

    os.kill(victim, signal.SIGSTOP)
    while victim in server.children():
        asked = time.monotonic()
        assert asked - began < 20, "it was not replaced"
        with Client(server.port) as client:
            assert client.request("/digits.txt").body == b"0123456789"
        took.append(time.monotonic() - asked)
        pass_time(0.01)

    assert 8 < time.monotonic() - began < 16
    assert max(took) < 5
    assert survivor in server.children()
    assert len(server.children()) == 2
    assert f"worker {victim} has been silent" in server.log.read_text()


@pytest.mark.slow
def test_stopped_worker_ends_though_its_successor_failed(
    serve: Serve, site: Path
) -> None:
    """Whichever of its number is ready next, no process stays behind."""
    server = start_slowly(serve, site)
    victim = server.worker
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: len(server.children()) == 2, "its successor")
    (successor,) = set(server.children()) - {victim}
    os.kill(successor, signal.SIGKILL)
    wait_until(lambda: victim not in server.children(), "its end")
    assert fetch(server.port, "/digits.txt").body == b"0123456789"
    assert server.worker != successor


@pytest.mark.slow
def test_successor_that_never_starts_is_not_joined_by_others(
    serve: Serve, site: Path
) -> None:
    """Where starting takes long, more that start would only make it longer."""
    server = start_slowly(serve, site)
    victim, counts = server.worker, set()

    def are(count: int) -> bool:
        counts.add(len(server.children()))
        return len(server.children()) == count

    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: are(2), "its successor")
    (successor,) = set(server.children()) - {victim}
    os.kill(successor, signal.SIGSTOP)
    wait_until(lambda: are(1) or successor not in server.children(), "its end")
    wait_until(lambda: are(1), "another successor")
    assert fetch(server.port, "/digits.txt").body == b"0123456789"
    assert counts <= {1, 2}
    assert f"worker {successor} has been silent" in server.log.read_text()


def test_workers_end_with_their_supervisor(serve: Serve, site: Path) -> None:
    """A supervisor that is killed leaves no worker and no port behind."""
    server = serve(site, "--workers", "2")
    workers = [os.pidfd_open(pid) for pid in server.children()]

    try:
        server.process.kill()
        server.process.wait(20)
        for worker in workers:
            assert has_ended(worker, 5)
        assert is_refusing(server)
    finally:
        for worker in workers:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(worker, signal.SIGKILL)
            os.close(worker)


# Ending in order.


@both
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_finishes_what_is_being_sent(
    serve: Serve, big_site: Path, workers: str, number: signal.Signals
) -> None:
    """A slow download ends whole, then idle connections close, and the code is 0."""
    server = serve(big_site, "--workers", workers)

    with begin(server) as downloading, Client(server.port) as idle:
        assert idle.request("/digits.txt").status == 200
        server.process.send_signal(number)
        pass_time(0.5)
        assert server.process.poll() is None

        assert downloading.response().body == bytes(BIG)
        assert server.process.wait(10) == 0
        assert idle.is_closed()
        assert downloading.is_closed()
    assert "Traceback" not in server.log.read_text()


@both
def test_signal_without_requests_ends_at_once(
    serve: Serve, site: Path, workers: str
) -> None:
    """Idle connections keep nobody from leaving."""
    server = serve(site, "--workers", workers)

    with Client(server.port) as idle, Client(server.port):
        idle.request("/digits.txt")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 3
        assert idle.is_closed()


@both
def test_answers_while_draining_are_the_last(
    serve: Serve, big_site: Path, workers: str
) -> None:
    """A request that comes while others are finished is answered with a close."""
    server = serve(big_site, "--workers", workers)
    # So many that each worker has one that is under way.
    downloading = [begin(server) for _ in range(12)]

    with Client(server.port) as client:
        client.request("/digits.txt")
        server.process.terminate()
        pass_time(0.3)
        answer = client.request("/digits.txt")

        assert answer.body == b"0123456789"
        assert answer.fields["connection"] == "close"
        assert client.is_closed()
    for each in downloading:
        each.socket.close()
    assert server.process.wait(10) == 0


@pytest.mark.parametrize(
    "workers",
    [
        "1",
        "2",
    ],
)
def test_nobody_is_accepted_after_the_signal(
    serve: Serve, big_site: Path, workers: str
) -> None:
    """While a download is finished, new connections are refused and not left over."""
    server = serve(big_site, "--workers", workers)

    with begin(server):
        server.process.terminate()
        pass_time(0.5)
        assert is_refusing(server)


@both
def test_grace_is_the_longest_wait(serve: Serve, big_site: Path, workers: str) -> None:
    """A reader that has stalled is cut short when the grace ends; the code is 0."""
    server = serve(big_site, "--workers", workers, "--grace", "1")

    with begin(server) as client:
        began = time.monotonic()
        assert server.stop() == 0
        assert 0.5 < time.monotonic() - began < 5
        assert not client.response().is_complete
    assert "Traceback" not in server.log.read_text()


@both
def test_second_interrupt_leaves_at_once(
    serve: Serve, big_site: Path, workers: str
) -> None:
    """Whoever presses Ctrl-C twice does not wait for a stalled reader."""
    server = serve(big_site, "--workers", workers)
    children = [os.pidfd_open(pid) for pid in server.children()]

    with begin(server):
        server.process.send_signal(signal.SIGINT)
        pass_time(0.3)
        assert server.process.poll() is None
        began = time.monotonic()
        assert server.stop(signal.SIGINT) == 130
        assert time.monotonic() - began < 2
        for child in children:
            assert has_ended(child, 2)
            os.close(child)


def test_signal_during_the_start_is_not_lost(site: Path, tmp_path: Path) -> None:
    """A stop that meets half-started workers ends them as fast as any other."""
    options = ("--port", "0", "--workers", "4", "--grace", "4")
    command = [sys.executable, "-m", "sendfile_server", str(site), *options]

    for number in range(8):
        log = tmp_path / f"stderr-{number}"
        process = launch(log, command)
        server = Server(process, 0, log)
        try:
            # The later ones of them are still being made.
            wait_until(lambda server=server: len(server.children()) > 1, "workers")  # type: ignore[misc]
            process.terminate()
            assert process.wait(3) == 0
            assert "Traceback" not in log.read_text()
        finally:
            process.kill()
            process.wait(20)
