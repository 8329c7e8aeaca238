"""Where connections come from, and what happens when there are too many."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
from pathlib import Path

import pytest

from running import Serve, wait_until
from sendfile_server.hosting.board import Board
from sendfile_server.hosting.census import Census, Place
from sendfile_server.hosting.listener import Listener
from sendfile_server.hosting.notices import Notices
from tools import give_up
from wire import Client, fetch, get


def gets_answer(client: Client, seconds: float) -> bool:
    """Tell whether something comes within *seconds*."""
    client.socket.settimeout(seconds)
    try:
        return bool(client.socket.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
    finally:
        client.socket.settimeout(20)


def limited(*limit: str) -> tuple[str, ...]:
    """Return a prefix that sets a limit of open files."""
    return ("sh", "-c", f'ulimit {" ".join(limit)}; exec "$@"', "sh")


# How many.


@pytest.mark.parametrize(
    ("workers", "most"),
    [
        ("1", 1),
        ("1", 3),
        ("2", 2),
        ("2", 4),
        ("2", 3),
    ],
)
def test_one_too_many_waits_and_is_served(
    serve: Serve, site: Path, workers: str, most: int
) -> None:
    """The connection beyond the bound is answered as soon as another closes."""
    server = serve(site, "--workers", workers, "--max-connections", str(most))

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(most)]
        for client in clients:
            assert client.request("/digits.txt").status == 200
        waiting = stack.enter_context(Client(server.port))
        waiting.send(get("/hello.txt"))
        assert not gets_answer(waiting, 0.7)

        clients[0].socket.close()
        assert waiting.response().body == b"hello\n"
        assert waiting.request("/hello.txt").body == b"hello\n"


def test_burst_ends_at_the_bound(serve: Serve, site: Path) -> None:
    """Of those who came while nobody looked, no more are taken than there may be."""
    server = serve(site, "--workers", "1", "--max-connections", "3")
    (worker,) = server.children()
    os.kill(worker, signal.SIGSTOP)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(5)]
        for client in clients:
            client.send(get("/hello.txt"))
        os.kill(worker, signal.SIGCONT)

        for client in clients[:3]:
            assert client.response().body == b"hello\n"
        assert not gets_answer(clients[3], 0.7)
        clients[0].socket.close()
        assert clients[3].response().body == b"hello\n"


@pytest.mark.parametrize(
    ("workers", "mine", "of_other", "expected"),
    [
        pytest.param(1, 0, 0, 16, id="several by who is alone"),
        pytest.param(2, 0, 0, 1, id="one by each of several"),
        pytest.param(2, 30, 1, 1, id="one by who is ahead of others"),
        pytest.param(2, 30, 0, 16, id="several where others accept nobody"),
    ],
)
def test_so_many_are_accepted_at_one_wake_up(
    workers: int, mine: int, of_other: int, expected: int
) -> None:
    """Others have their turn after that, and then whoever is left is accepted."""
    census = Census(workers) if workers > 1 else None
    if census:
        census.note(0, mine)
    place = Place(0, 1000, Board(workers, 0), Notices(workers), census)
    taken: list[socket.SocketType] = []
    # One that looks exactly once in a turn, as a worker's does not.
    loop = asyncio.new_event_loop()

    def turn() -> None:
        loop.call_soon(loop.stop)
        loop.run_forever()

    with contextlib.ExitStack() as stack:
        stack.callback(loop.close)
        door = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        door.setblocking(False)
        for _ in range(20):
            stack.enter_context(socket.create_connection(door.getsockname(), 20))

        def take(client: socket.SocketType, _: object) -> None:
            taken.append(client)
            stack.callback(client.close)

        listener = Listener(door, loop, place, take)
        listener.resume()
        turn()
        if census:
            census.note(1, of_other)
        while not taken:
            turn()
        assert len(taken) == expected
        while len(taken) < 20:
            turn()


def test_bound_holds_over_many_rounds(serve: Serve, site: Path) -> None:
    """Places that become free are taken again, however often."""
    server = serve(site, "--workers", "2", "--max-connections", "2")

    for _ in range(50):
        with Client(server.port) as first, Client(server.port) as second:
            first.send(get("/digits.txt", "Connection: close"))
            second.send(get("/kib.bin", "Connection: close"))
            assert first.response().body == b"0123456789"
            first.socket.close()
            assert second.response().is_complete


def test_low_limit_of_files_lowers_the_bound(serve: Serve, site: Path) -> None:
    """The operator is told what the limit allows, and that much is served."""
    server = serve(site, "--workers", "1", prefix=limited("-n", "80"))
    assert "ulimit -n) allows 8 connections, not 8192" in server.log.read_text()

    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(8)]
        for client in clients:
            assert client.request("/mib.bin").is_complete
        waiting = stack.enter_context(Client(server.port))
        waiting.send(get("/hello.txt"))
        assert not gets_answer(waiting, 0.7)

        clients[3].socket.close()
        assert waiting.response().body == b"hello\n"


def test_soft_limit_of_files_is_raised(serve: Serve, site: Path) -> None:
    """A low soft limit alone is no reason to warn."""
    options = ("--workers", "1", "--max-connections", "100")
    server = serve(site, *options, prefix=limited("-S", "-n", "80"))

    assert "ulimit" not in server.log.read_text()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(server.port)) for _ in range(100)]
        for client in clients:
            assert client.request("/digits.txt").status == 200


@pytest.mark.parametrize("error", ["EMFILE", "ENOBUFS", "EINVAL"])
def test_failure_pauses_and_recovers(serve: Serve, site: Path, error: str) -> None:
    """As out of descriptors, accepting pauses, says so once, and goes on by itself."""
    fault = f"inject=accept4:error={error}:when=1..3"
    server = serve(
        site,
        *("--workers", "1"),
        prefix=("strace", "-f", "-qq", "-o", "/dev/null", "-e", fault),
    )

    with Client(server.port) as client:
        assert client.request("/digits.txt").body == b"0123456789"
        assert fetch(server.port, "/hello.txt").body == b"hello\n"
    assert server.log.read_text().count("accepting pauses") == 1
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("error", ["ECONNABORTED", "EPROTO", "EPERM"])
def test_connection_that_was_given_up_is_nothing(
    serve: Serve, site: Path, error: str
) -> None:
    """A client that left before it was accepted is neither logged nor waited for."""
    fault = f"inject=accept4:error={error}:when=1..3"
    server = serve(
        site,
        *("--workers", "1"),
        prefix=("strace", "-f", "-qq", "-o", "/dev/null", "-e", fault),
    )

    assert fetch(server.port, "/digits.txt").body == b"0123456789"
    assert len(server.log.read_text().splitlines()) == 1


# Where.


@pytest.mark.parametrize(
    "workers",
    [
        "1",
        "2",
    ],
)
def test_unix_socket_and_tcp_serve_at_once(
    serve: Serve, site: Path, tmp_path: Path, workers: str
) -> None:
    """Both addresses lead to the same tree, and the socket file goes at the end."""
    path = tmp_path / "socket"
    listen = ("--listen", f"unix:{path}", "--listen", "127.0.0.1:0")
    server = serve(site, *listen, "--workers", workers)

    assert f"unix:{path}" in server.log.read_text()
    for place in (str(path), server.port):
        with Client(place) as client:
            assert client.request("/mib.bin").body == bytes(range(256)) * 4096
            assert client.request("/digits.txt").body == b"0123456789"
    assert server.stop() == 0
    assert not path.exists()


def is_left(path: Path) -> bool:
    """Tell whether nobody listens at the file of a socket."""
    with socket.socket(socket.AF_UNIX) as peer:
        return peer.connect_ex(str(path)) == errno.ECONNREFUSED


def test_socket_file_of_the_next_server_is_left_to_it(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """Whoever has stopped takes away what is its own, and not what came after it."""
    path = tmp_path / "socket"
    listen = ("--listen", f"unix:{path}", "--workers", "1")
    with (site / "big.bin").open("wb") as file:
        file.truncate(64 << 20)
    first = serve(site, *listen)
    with Client(str(path)) as client:
        client.send(get("/big.bin"))
        client.socket.recv(1, socket.MSG_PEEK)
        first.process.terminate()
        wait_until(lambda: is_left(path), "it to listen no more")
        second = serve(site, *listen)
        assert client.response().is_complete
    assert first.process.wait(20) == 0
    assert fetch(str(path), "/digits.txt").body == b"0123456789"
    assert second.stop() == 0


def test_socket_file_of_a_killed_server_is_no_obstacle(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """A socket file that nobody listens on is replaced; one in use is not."""
    path = tmp_path / "socket"
    listen = ("--listen", f"unix:{path}", "--workers", "1")
    first = serve(site, *listen)
    first.process.kill()
    first.process.wait(20)
    assert path.exists()

    serve(site, *listen)
    assert fetch(str(path), "/hello.txt").body == b"hello\n"
    with pytest.raises(AssertionError, match="it is in use"):
        serve(site, *listen)
    assert fetch(str(path), "/hello.txt").body == b"hello\n"


def test_ipv6_serves(serve: Serve, site: Path) -> None:
    """An address in brackets is listened on, and shown so that it can be clicked."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        give_up("this machine has no IPv6")
    server = serve(site, "--listen", "[::1]:0", "--listen", "127.0.0.1:0")

    log = server.log.read_text()
    port = int(log.partition("http://[::1]:")[2].partition("/")[0])
    with socket.create_connection(("::1", port), 20) as client:
        client.sendall(get("/digits.txt", "Connection: close"))
        answer = b""
        while data := client.recv(65536):
            answer += data
    assert answer.endswith(b"\r\n\r\n0123456789")


def test_many_silent_connections_keep_nobody_out(serve: Serve, site: Path) -> None:
    """Clients that connect ahead and say nothing cost others no time."""
    server = serve(site, "--workers", "1")

    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Client(server.port)) for _ in range(200)]
        assert fetch(server.port, "/digits.txt").body == b"0123456789"
        for client in silent[::20]:
            assert client.request("/hello.txt").body == b"hello\n"
