"""One connection: reuse, deadlines, half-closes, resets, and how it ends."""

import contextlib
import os
import re
import signal
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from running import Serve, cpu_seconds, pass_time, wait_until
from tools import need, need_folder
from wire import Client, fetch, get

MIB = bytes(range(256)) * 4096
RESET = struct.pack("ii", 1, 0)


def reset(client: Client) -> None:
    """Close with a reset, whatever is still on its way."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.socket.close()


def make_big(site: Path) -> None:
    """Add a file that no buffer of a socket holds."""
    with (site / "big.bin").open("wb") as file:
        file.truncate(64 << 20)


def take_little(client: Client) -> None:
    """Keep the client's kernel from taking much that nobody reads."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)


def test_file_that_is_shorter_than_it_says_is_an_error(serve: Serve) -> None:
    """As those of sysfs are: it is found again a few times, and not for ever."""
    folder = Path("/sys/class/net/lo").resolve()
    need_folder(folder)
    server = serve(folder, "--workers", "1")
    with Client(server.port) as client:
        assert client.request("/mtu").status == 500
        assert client.request("/missing").status == 404
    assert "b'mtu' is shorter than it says" in server.log.read_text()


# Reuse.


def test_connection_is_reused(serve: Serve, site: Path) -> None:
    """One connection carries a file, an error, an empty file and a HEAD."""
    server = serve(site, "--workers", "1")

    with Client(server.port) as client:
        assert client.request("/digits.txt").body == b"0123456789"
        assert client.request("/missing").status == 404
        assert client.request("/empty.txt").body == b""
        assert client.request("/mib.bin", method="HEAD").status == 200
        assert client.request("/mib.bin").body == MIB
        assert client.request("/hello.txt").body == b"hello\n"


PIPELINE = [
    ("/digits.txt", 200, b"0123456789"),
    ("/missing", 404, b"404 Not Found\n"),
    ("/empty.txt", 200, b""),
    ("/kib.bin", 200, bytes(range(256)) * 4),
] * 10


@pytest.mark.parametrize("step", [1 << 20, 1], ids=["one-write", "byte-by-byte"])
def test_pipelined_requests_are_answered_in_order(
    serve: Serve, site: Path, step: int
) -> None:
    """Forty requests get forty answers, however their bytes arrive."""
    server = serve(site, "--workers", "1")
    data = b"".join(get(target) for target, _, _ in PIPELINE)

    with Client(server.port) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), step):
            client.send(data[start : start + step])
        answers = [client.response() for _ in PIPELINE]

    got = [(answer.status, answer.body) for answer in answers]
    assert got == [(status, body) for _, status, body in PIPELINE]


def test_no_more_is_received_than_was_answered(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """Whoever sends heads without end gets turns like all others, and no memory."""
    need("strace")
    log = tmp_path / "strace"
    calls = "trace=recvfrom,sendto"
    prefix = ("strace", "-f", "-qq", "-s", "1", "-o", str(log), "-e", calls)
    options = ("--workers", "1", "--keepalive-requests", "1000000")
    server = serve(site, *options, prefix=prefix)
    worker, request = server.worker, get("/digits.txt", method="HEAD")
    count = 8 * 65536 // len(request)
    with Client(server.port) as client, ThreadPoolExecutor() as threads:
        first = client.request("/digits.txt", method="HEAD")
        threads.submit(client.send, request * count)
        for _ in range(count):
            assert client.response("HEAD").status == first.status == 200
    assert server.stop() == 0

    received = answered = 0
    call = rf"(?m)^{worker} .*(recvfrom|sendto)(?:\(| resumed).* = ([0-9]+)"
    for name, size in re.findall(call, log.read_text()):
        if name == "recvfrom":
            assert received - answered < len(request)
            received += int(size)
        else:
            answered += len(request)
    assert answered == len(request) * (1 + count)


def test_requests_behind_an_unfinished_answer_are_served(
    serve: Serve, site: Path
) -> None:
    """What is asked while an answer is under way is answered after it."""
    make_big(site)
    server = serve(site, "--workers", "1")

    with Client(server.port) as client:
        client.send(get("/big.bin"))
        client.socket.recv(1, socket.MSG_PEEK)
        client.send(get("/digits.txt") + get("/hello.txt"))

        assert client.response().body == bytes(64 << 20)
        assert client.response().body == b"0123456789"
        assert client.response().body == b"hello\n"


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        pytest.param(b" HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b" HTTP/1.1\r\nHost: a\r\n", 400, id="no end"),
        pytest.param(b" HTTP/1.3\r\nHost: a\r\n\r\n", 505, id="version"),
        pytest.param(b"a" * 8192, 414, id="line"),
        pytest.param(b" HTTP/1.1\r\nHost: %b" % (b"a" * 16384), 431, id="head"),
    ],
)
def test_refused_head_gets_no_content(
    serve: Serve, site: Path, rest: bytes, status: int
) -> None:
    """Whatever the status (RFC 9110 section 9.3.2)."""
    server = serve(site, "--workers", "1")
    with Client(server.port) as client:
        client.send(b"HEAD /digits.txt" + rest)
        client.socket.shutdown(socket.SHUT_WR)
        answer = client.response("HEAD")
        assert answer.status == status
        assert answer.fields["content-length"] != "0"
        assert client.is_closed()


def test_http_1_0_closes_unless_asked(serve: Serve, site: Path) -> None:
    """A request of HTTP/1.0 without Connection gets one answer and the end."""
    server = serve(site, "--workers", "1")

    with Client(server.port) as client:
        client.send(b"GET /digits.txt HTTP/1.0\r\n\r\n")
        answer = client.response()

        assert answer.body == b"0123456789"
        assert answer.fields["connection"] == "close"
        assert client.is_closed()


def test_http_1_0_is_kept_alive_when_asked(serve: Serve, site: Path) -> None:
    """Connection: keep-alive is answered with the same, and the connection stays."""
    server = serve(site, "--workers", "1")

    with Client(server.port) as client:
        for _ in range(3):
            client.send(b"GET /digits.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = client.response()
            assert answer.fields["connection"] == "keep-alive"
            assert answer.body == b"0123456789"


def test_last_request_of_a_connection_says_close(serve: Serve, site: Path) -> None:
    """The answer that reaches the limit announces the close, and no other does."""
    server = serve(site, "--workers", "1", "--keepalive-requests", "3")

    with Client(server.port) as client:
        client.send(get("/digits.txt") * 5)
        answers = [client.response() for _ in range(3)]

        closes = [answer.fields.get("connection") for answer in answers]
        assert closes == [None, None, "close"]
        assert client.is_closed()


# Deadlines.


def test_dripping_head_gets_408(serve: Serve, site: Path) -> None:
    """The deadline is for the whole head: a byte now and then does not extend it."""
    server = serve(site, "--workers", "1", "--header-timeout", "1")
    began = time.monotonic()

    with Client(server.port) as client:
        client.socket.settimeout(0.2)
        for byte in get("/digits.txt", "X-Long: " + "x" * 1000):
            client.send(bytes((byte,)))
            with contextlib.suppress(TimeoutError):
                client.socket.recv(1, socket.MSG_PEEK)
                break
        client.socket.settimeout(20)
        answer = client.response()

        assert answer.status == 408
        assert answer.fields["connection"] == "close"
        assert client.is_closed()
    assert time.monotonic() - began < 5


def test_silent_connection_is_closed_without_a_byte(serve: Serve, site: Path) -> None:
    """Who never sends anything gets no answer to it."""
    server = serve(site, "--workers", "1", "--header-timeout", "1")

    with Client(server.port) as client:
        assert client.is_closed()


def test_idle_connection_is_closed_after_its_time(serve: Serve, site: Path) -> None:
    """A connection without a next request ends, silently, and never before.

    Whenever between two ticks of the server's clock it became idle.
    """
    server = serve(site, "--workers", "1", "--keepalive-timeout", "1")

    with contextlib.ExitStack() as stack:
        idle = []
        for _ in range(5):
            client = stack.enter_context(Client(server.port))
            client.request("/digits.txt")
            pass_time(0.2)
            idle.append((client, time.monotonic()))
            client.request("/digits.txt")
        for client, began in idle:
            assert client.is_closed()
            assert 1 < time.monotonic() - began < 5


def test_stalled_reader_is_cut_and_logged(serve: Serve, site: Path) -> None:
    """A client that takes nothing for the send timeout loses its answer."""
    make_big(site)
    server = serve(site, "--workers", "1", "--send-timeout", "1")

    with Client(server.port) as client:
        take_little(client)
        client.send(get("/big.bin"))
        wait_until(lambda: "cut short:" in server.log.read_text(), "the log line")
        assert not client.response().is_complete

    lines = [
        line for line in server.log.read_text().splitlines() if "cut short:" in line
    ]
    assert len(lines) == 1
    assert "GET /big.bin HTTP/1.1" in lines[0]


def test_slow_but_steady_reader_is_served_whole(serve: Serve, site: Path) -> None:
    """Some progress within each send timeout is enough, for many of them."""
    server = serve(site, "--workers", "1", "--send-timeout", "2")

    with Client(server.port) as client:
        take_little(client)
        client.send(get("/mib.bin", "Connection: close"))
        pieces = []
        for _ in range(45):
            pieces.append(client.socket.recv(16384))
            pass_time(0.12)
        while data := client.socket.recv(1 << 20):
            pieces.append(data)

    assert b"".join(pieces).endswith(b"\r\n\r\n" + MIB)
    assert "cut short:" not in server.log.read_text()


# Input that nobody reads, and a close.


def send_in_background(client: Client, data: bytes) -> threading.Thread:
    """Send *data* for as long as the server is there to take it."""

    def send() -> None:
        with contextlib.suppress(ConnectionError):
            client.send(data)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


def test_body_on_get_does_not_damage_the_answer(serve: Serve, site: Path) -> None:
    """A client that goes on sending its body, and reads late, gets 1 MiB whole."""
    server = serve(site, "--workers", "1")
    body = bytes(900_000)

    with Client(server.port) as client:
        client.send(get("/mib.bin", f"Content-Length: {len(body)}"))
        sending = send_in_background(client, body)
        pass_time(0.5)
        answer = client.response()
        sending.join(20)

        assert answer.status == 200
        assert answer.fields["connection"] == "close"
        assert answer.body == MIB
        assert client.is_closed()


def test_body_that_comes_after_the_answer_does_not_damage_it(
    serve: Serve, site: Path
) -> None:
    """Bytes that meet the finished answer are discarded, not reset upon."""
    server = serve(site, "--workers", "1")

    with Client(server.port) as client:
        client.send(get("/mib.bin", "Content-Length: 500000"))
        client.socket.recv(1, socket.MSG_PEEK)
        for _ in range(10):
            client.send(bytes(10_000))
            pass_time(0.05)

        assert client.response().body == MIB
        assert client.is_closed()


def test_garbage_after_connection_close_does_not_damage_the_answer(
    serve: Serve, site: Path
) -> None:
    """What follows the last request is thrown away, and the answer arrives."""
    server = serve(site, "--workers", "1")
    garbage = b"\0\r\n GET " * 80_000

    with Client(server.port) as client:
        request = get("/mib.bin", "Connection: close")
        sending = send_in_background(client, request + garbage)
        pass_time(0.5)
        answer = client.response()
        sending.join(20)

        assert answer.body == MIB
        assert client.is_closed()


@pytest.mark.parametrize("target", ["/bad path", "/" + "x" * 9000])
def test_error_survives_the_unread_rest(serve: Serve, site: Path, target: str) -> None:
    """A refusal reaches a client that has sent much more than was read."""
    server = serve(site, "--workers", "1")

    with Client(server.port) as client:
        sending = send_in_background(client, get(target) + bytes(500_000))
        pass_time(0.3)
        answer = client.response()
        sending.join(20)

        assert answer.status in (400, 414)
        assert client.is_closed()


# The end of the client's stream.


@pytest.mark.parametrize("has_begun", [False, True])
def test_half_close_while_sending_leaves_the_answer_whole(
    serve: Serve, site: Path, has_begun: bool
) -> None:
    """End of stream is not an abort: what was asked is finished, then closed."""
    server = serve(site, "--workers", "1")

    with Client(server.port) as client:
        client.send(get("/mib.bin") + get("/digits.txt"))
        if has_begun:
            client.socket.recv(1, socket.MSG_PEEK)
        client.socket.shutdown(socket.SHUT_WR)
        pass_time(0.2)

        assert client.response().body == MIB
        assert client.response().body == b"0123456789"
        assert client.is_closed()


def test_half_closed_head_gets_400(serve: Serve, site: Path) -> None:
    """A head that will never be whole is refused, not waited for."""
    server = serve(site, "--workers", "1")

    with Client(server.port) as client:
        client.send(b"GET /digits.txt HTTP/1.1\r\nHost: loc")
        client.socket.shutdown(socket.SHUT_WR)

        assert client.response().status == 400
        assert client.is_closed()


def test_resets_harm_no_later_connection(serve: Serve, site: Path) -> None:
    """Descriptor numbers of connections that were reset answer to new ones."""
    make_big(site)
    server = serve(site, "--workers", "1")

    for round_ in range(30):
        victims = [Client(server.port) for _ in range(8)]
        for number, victim in enumerate(victims):
            victim.send(get("/big.bin"))
            if (round_ + number) % 2:
                victim.socket.recv(1000)
        for victim in victims:
            reset(victim)
        heirs = [Client(server.port) for _ in range(8)]
        for heir in heirs:
            heir.send(get("/mib.bin"))
        for heir in heirs:
            with heir:
                answer = heir.response()
                assert answer.body == MIB
                assert heir.request("/digits.txt").body == b"0123456789"

    descriptors = Path(f"/proc/{server.worker}/fd")
    wait_until(lambda: len(list(descriptors.iterdir())) < 40, "descriptors to go")


@pytest.mark.alone
@pytest.mark.parametrize("is_half_close", [True, False])
def test_unread_input_does_not_spin(
    serve: Serve, site: Path, is_half_close: bool
) -> None:
    """A byte or an end of stream behind a stalled answer costs no CPU time."""
    make_big(site)
    server = serve(site, "--workers", "1")

    with Client(server.port) as client:
        take_little(client)
        client.send(get("/big.bin"))
        client.socket.recv(1, socket.MSG_PEEK)
        if is_half_close:
            client.socket.shutdown(socket.SHUT_WR)
        else:
            client.send(get("/digits.txt"))
        pass_time(0.3)
        before = cpu_seconds(server)
        pass_time(1)

        assert cpu_seconds(server) - before <= 0.1


@pytest.mark.alone
def test_lingering_does_not_spin(serve: Serve, site: Path) -> None:
    """A client that neither closes nor sends after the last answer costs nothing."""
    server = serve(site, "--workers", "1")

    with Client(server.port) as client:
        client.request("/digits.txt", "Connection: close")
        before = cpu_seconds(server)
        pass_time(1)

        assert cpu_seconds(server) - before <= 0.1


# Refusals.


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ("POST", 405),
        ("PUT", 405),
        ("DELETE", 405),
        ("TRACE", 405),
        ("BREW", 501),
        ("get", 501),
    ],
)
def test_other_methods_are_refused(
    serve: Serve, site: Path, method: str, status: int
) -> None:
    """A known method is not allowed, an unknown one not implemented; none echoes."""
    server = serve(site, "--workers", "1")

    answer = fetch(server.port, "/digits.txt", "X-Secret: squirrel", method=method)

    assert answer.status == status
    assert ("allow" in answer.fields) == (status == 405)
    assert b"squirrel" not in answer.body
    assert b"0123456789" not in answer.body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get("/missing-squirrel"), 404),
        (get("/digits.txt/squirrel"), 404),
        (get("/squirrel%00"), 400),
        (get("/%2e%2e/%2e%2e/squirrel"), 404),
        (get("/squirrel" + "x" * 300), 404),
        (get("/squirrel", "Host: other"), 400),
        (b"GET /squirrel HTTP/1.1\r\n\r\n", 400),
        (b"GET /squirrel HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        (b"GET /squirrel HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", 400),
        (get("/squirrel", method="POST"), 405),
        (get("/digits.txt", "Range: bytes=99-"), 416),
    ],
)
def test_errors_never_show_a_path(
    serve: Serve, site: Path, request_: bytes, status: int
) -> None:
    """An error tells neither what was asked, nor where we looked, nor what failed."""
    server = serve(site, "--workers", "1")

    with Client(server.port) as client:
        client.send(request_)
        answer = client.response()

    text = answer.body.decode() + repr(answer.fields)
    assert answer.status in ({400, 404} if b"%2e" in request_ else {status})
    assert len(answer.body) < 100
    for word in ("squirrel", str(site), site.name, "Errno", "such file", "Traceback"):
        assert word not in text


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"GET /hel", id="half a head"),
        pytest.param(b"\r\n", id="an empty line"),
        pytest.param(b"\0GET", id="what is refused"),
    ],
)
def test_reset_that_comes_with_bytes_is_seen(
    serve: Serve, site: Path, rest: bytes
) -> None:
    """Bytes and a reset in one event end the connection, long before its time."""
    server = serve(site, "--workers", "1")
    folder = Path(f"/proc/{server.worker}/fd")
    before = len(list(folder.iterdir()))
    clients = [Client(server.port) for _ in range(20)]
    for client in clients:
        assert client.request("/hello.txt").status == 200
    os.kill(server.worker, signal.SIGSTOP)
    for client in clients:
        client.send(rest)
        reset(client)
    os.kill(server.worker, signal.SIGCONT)

    # Within DEADLINE_S, which is less than any deadline of the server's.
    wait_until(lambda: len(list(folder.iterdir())) <= before, "all to be closed")
