"""The end of a connection: at once where that harms nobody, else with patience."""

import contextlib
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from running import Serve, Server, clock_ahead, wait_until
from sendfile_server.server.responder import SMALL_BODY
from sendfile_server.transport.farewell import Farewell
from sendfile_server.transport.lingering import abort
from sendfile_server.transport.room import unacknowledged
from wire import Client, Pair, fetch, get

MIB = 1 << 20
BODIES = {
    "/empty.txt": b"",
    "/kib.bin": bytes(range(256)) * 4,
    "/most.bin": bytes(range(256))
    * (SMALL_BODY // 256),  # the largest that leaves in one piece
    "/mib.bin": bytes(range(256)) * 4096,
}
CLOSE = "Connection: close"
TCP_CLOSE = 7

# By itself, with a clock that the tests move on.


def test_silent_client_is_given_some_seconds(pair: Pair) -> None:
    """Each time anew, but not for ever."""
    farewell = Farewell(pair[0], 100)
    assert farewell.read(100) == 105
    assert farewell.read(103) == 108
    assert farewell.read(124) == 129
    assert farewell.read(127) == 130


@pytest.mark.parametrize("is_reset", [False, True])
def test_end_of_the_client_is_the_end(pair: Pair, is_reset: bool) -> None:
    """Whether it closes or resets, and whatever came before."""
    client, peer = pair
    farewell = Farewell(client, 100)
    peer.sendall(bytes(1000))
    if is_reset:
        abort(peer)
    peer.close()
    wait_until(lambda: farewell.read(100) is None, "the end")


def test_client_that_never_stops_is_left(pair: Pair) -> None:
    """After about 1 MiB, though it sends without a pause."""
    client, peer = pair
    farewell = Farewell(client, 100)
    sent = 0
    while farewell.read(100) is not None:
        with contextlib.suppress(TimeoutError):
            sent += peer.send(bytes(65536))
        assert sent < 16 * MIB
    assert sent > MIB


# As the connections of a server end.


@pytest.fixture
def server(serve: Serve, site: Path, tmp_path: Path) -> Server:
    """Run one that knows what it is asked for below."""
    (site / "most.bin").write_bytes(BODIES["/most.bin"])
    server = serve(site, "--workers", "1", prefix=clock_ahead(tmp_path))
    for target in BODIES:
        for _ in range(3):
            fetch(server.port, target, CLOSE)
            fetch(server.port, target)
    return server


def read_all(client: Client) -> bytes:
    """Read up to the end; a reset is an error."""
    pieces = []
    while data := client.socket.recv(MIB):
        pieces.append(data)
    return b"".join(pieces)


def state_of(client: Client) -> int:
    """Return the state of the connection as its client's kernel sees it."""
    return client.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def test_client_that_asked_for_the_close_sees_the_end(
    server: Server, subtests: pytest.Subtests
) -> None:
    """The whole answer and an end of stream, without closing its own side first."""
    for target, body in BODIES.items():
        with subtests.test(target), Client(server.port) as client:
            client.send(get(target, CLOSE))
            assert read_all(client).partition(b"\r\n\r\n")[2] == body


def test_nothing_is_left_of_a_connection_that_was_to_close(server: Server) -> None:
    """No descriptor waits for a client that asked for the close and sent no more."""
    with Client(server.port) as client:
        client.send(get("/kib.bin", CLOSE))
        read_all(client)
        client.send(b"x")  # nobody is there to take it
        wait_until(lambda: state_of(client) == TCP_CLOSE, "the reset")


@pytest.mark.parametrize(
    "more",
    [
        pytest.param(b"\r\n", id="an empty line"),
        pytest.param(get("/kib.bin"), id="a request"),
        pytest.param(get("/kib.bin", CLOSE), id="a request to close"),
        pytest.param(bytes(10_000), id="garbage"),
    ],
)
def test_client_that_sent_more_reads_its_answer(
    server: Server, more: bytes, subtests: pytest.Subtests
) -> None:
    """All of it and nothing else, even if all has come before it is read."""
    for target, body in BODIES.items():
        with subtests.test(target), Client(server.port) as client:
            os.kill(server.worker, signal.SIGSTOP)
            client.send(get(target, CLOSE) + more)
            wait_until(lambda: not unacknowledged(client.socket), "it to come")
            os.kill(server.worker, signal.SIGCONT)
            assert read_all(client).partition(b"\r\n\r\n")[2] == body


def test_client_that_sends_on_and_on_reads_its_answer(
    server: Server, subtests: pytest.Subtests
) -> None:
    """More than the server takes at once, while it answers and after that."""
    for target, body in BODIES.items():
        with subtests.test(target), Client(server.port) as client:
            data = get(target, CLOSE) + bytes(700_000)
            sending = threading.Thread(target=client.send, args=(data,), daemon=True)
            sending.start()
            sending.join(20)
            assert read_all(client).partition(b"\r\n\r\n")[2] == body


def test_client_that_closed_its_side_gets_its_answers(
    server: Server, subtests: pytest.Subtests
) -> None:
    """Two of them for two requests and an end of stream, which come together."""
    for target, body in [*BODIES.items()] * 2:
        with subtests.test(target), Client(server.port) as client:
            client.send(get(target) + get(target, CLOSE))
            client.socket.shutdown(socket.SHUT_WR)
            assert [client.response().body for _ in range(2)] == [body, body]
            assert client.is_closed()
