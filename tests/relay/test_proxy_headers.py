"""Headers of the PROXY protocol before the bytes of a client, in and out."""

import hashlib
import itertools
import os
import re
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from relaying import Handler, Relay, Target, connect, echo, read_all
from running import HAS_IPV6, Server, wait_until
from sendfile_server.hosting.proxy_protocol import MAX_SIZE
from tools import give_up, need
from wire import converse

MIB = 1024 * 1024
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LINE = b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n"
BINARY = SIGNATURE + bytes((0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 2))
BINARY += struct.pack("!HH", 40000, 443)
LOCAL = SIGNATURE + bytes((0x20, 0, 0, 0))
HERE = ("--accept-proxy", "--trusted-proxy", "127.0.0.1")
UNIX = ("--accept-proxy", "--trusted-proxy", "unix:")

HEADERS = {
    "v1": LINE,
    "v1 of nobody": b"PROXY UNKNOWN\r\n",
    "v2": BINARY,
    "v2 of nobody": LOCAL,
    "the longest": (
        SIGNATURE + bytes((0x21, 0x11, *divmod(MAX_SIZE - 16, 256))) + bytes(4080)
    ),
}


def recorder(heard: list[bytes]) -> Handler:
    """Make a target that notes all that comes on a connection."""

    def handle(client: socket.socket) -> None:
        heard.append(read_all(client))

    return handle


def say(client: socket.socket, sent: bytes, *, ends: bool = False) -> bytes:
    """Send, with the end or without, and return the first byte of the answer."""
    client.sendall(sent)
    if ends:
        client.shutdown(socket.SHUT_WR)
    return client.recv(1)


def own_line(client: socket.socket, server: Server) -> bytes:
    """Return the header of version 1 that tells of *client* itself."""
    ports = f"{client.getsockname()[1]} {server.port}"
    return f"PROXY TCP4 127.0.0.1 127.0.0.1 {ports}\r\n".encode()


def own_binary(client: socket.socket, server: Server) -> bytes:
    """Return that of version 2."""
    ports = struct.pack("!HH", client.getsockname()[1], server.port)
    return SIGNATURE + b"\x21\x11\0\x0c" + b"\x7f\0\0\1" * 2 + ports


# Taking headers.


def test_what_follows_the_header_is_relayed(
    relay: Relay, target: Target, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    """However both come, and with the end right behind: all of it, once."""
    place = f"{tmp_path}/relay"
    relay(target(echo), *UNIX, listen=f"unix:{place}")
    rest = hashlib.shake_128(b"data").digest(300)
    for (name, header), step in itertools.product(HEADERS.items(), (1, 7, 5000)):
        data = header + rest
        pieces = [data[start : start + step] for start in range(0, len(data), step)]
        with subtests.test(header=name, step=step):
            assert converse(place, pieces) == rest


@pytest.mark.parametrize("options", [(), ("--no-splice",)], ids=["spliced", "copied"])
def test_bulk_right_behind_the_header(
    relay: Relay, target: Target, options: tuple[str, ...]
) -> None:
    """Where the first bytes were taken with the header, the others go on."""
    heard: list[bytes] = []
    data = hashlib.shake_128(b"bulk").digest(16 * MIB)
    server = relay(target(recorder(heard)), *HERE, *options)
    with connect(server) as client:
        client.sendall(LINE + data)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
    assert heard == [data]


def test_target_is_connected_after_the_header(relay: Relay, target: Target) -> None:
    """Who has not been told of yet has no target, however long others have one."""
    met: list[None] = []

    def meet(client: socket.socket) -> None:
        met.append(None)
        echo(client)

    server = relay(target(meet), "--workers", "1", *HERE)
    with connect(server) as early, connect(server) as late:
        early.sendall(LINE[:-1])
        assert say(late, LINE + b"x") == b"x"
        assert len(met) == 1
        assert say(early, b"\nx") == b"x"
    assert len(met) == 2


@pytest.mark.parametrize(
    ("options", "sent", "reason"),
    [
        pytest.param(
            ("--trusted-proxy", "192.0.2.0/24", "--trusted-proxy", "unix:"),
            LINE,
            "not a trusted proxy",
            id="not trusted",
        ),
        pytest.param(HERE, b"GET / HTTP/1.1\r\n\r\n", "no PROXY header", id="HTTP"),
        pytest.param(HERE, LINE.replace(b"2.1", b"2.01"), "no PROXY", id="malformed"),
        pytest.param(
            (*HERE, "--proxy-timeout", "1"), b"", "in time", id="nothing at all"
        ),
        pytest.param(
            (*HERE, "--proxy-timeout", "1"), BINARY[:-1], "in time", id="not whole"
        ),
    ],
)
def test_who_is_refused_is_reset(
    relay: Relay, target: Target, options: tuple[str, ...], sent: bytes, reason: str
) -> None:
    """With a line in the log, and counted; the target never hears of it."""
    heard: list[bytes] = []
    flags = ("--accept-proxy", "--workers", "1")
    server = relay(target(recorder(heard)), *flags, *options)
    with connect(server) as client:
        port = client.getsockname()[1]
        with pytest.raises(ConnectionResetError):
            say(client, sent)
    assert server.stop() == 0
    log = server.log.read_text()
    assert re.search(f"refused 127.0.0.1:{port}: [^\n]*{reason}", log)
    assert log.count("refused 127") == 1
    assert "1 connections: 0 bytes spliced, 0 copied; 1 refused" in log
    assert heard == []


def test_end_before_the_header_is_refused(relay: Relay, target: Target) -> None:
    """It is nobody's connection, and who closed it gets no answer."""
    server = relay(target(echo), *HERE)
    with connect(server) as client, pytest.raises(ConnectionResetError):
        say(client, LINE[:-2], ends=True)
    assert "no PROXY header: the stream ended" in server.log.read_text()


def test_bytes_that_reach_no_target_are_reset(relay: Relay) -> None:
    """Who has sent some learns that they were lost, as without a header."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    server = relay(f"127.0.0.1:{port}", *HERE)
    with connect(server) as client, pytest.raises(ConnectionResetError):
        say(client, LINE + b"data")
    assert "cannot connect" in server.log.read_text()


def test_unix_is_not_trusted_unasked(
    relay: Relay, target: Target, tmp_path: Path
) -> None:
    """Not by a network, however wide."""
    place = f"{tmp_path}/relay"
    options = ("--accept-proxy", "--trusted-proxy", "0.0.0.0/0")
    server = relay(target(echo), *options, listen=f"unix:{place}")
    assert converse(place, [LINE + b"x"]) == b""
    assert "refused the peer of a Unix socket" in server.log.read_text()


def test_told_to_stop_it_still_greets(relay: Relay, target: Target) -> None:
    """A connection that had been accepted gets its target within the grace."""
    server = relay(target(echo), *HERE, "--grace", "20", "--proxy-timeout", "20")
    with connect(server) as client:
        client.sendall(LINE[:10])
        os.kill(server.pid, signal.SIGTERM)

        def is_refused() -> bool:
            try:
                connect(server).close()
            except OSError:
                return True
            return False

        wait_until(is_refused, "the listener to be closed")
        client.sendall(LINE[10:] + b"x")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"x"
    assert server.process.wait(10) == 0
    assert "cut short" not in server.log.read_text()


# Sending headers.


@pytest.mark.parametrize(
    ("version", "expected"),
    [pytest.param("v1", own_line, id="v1"), pytest.param("v2", own_binary, id="v2")],
)
def test_header_is_sent_before_the_client_speaks(
    relay: Relay, target: Target, version: str, expected: Callable[..., bytes]
) -> None:
    """The target hears whose connection it is, and may be the first to speak."""
    server = relay(
        target(lambda client: client.sendall(client.recv(1000))),
        *("--send-proxy", version),
    )
    with connect(server) as client:
        assert read_all(client) == expected(client, server)


@pytest.mark.parametrize(
    ("sent", "version", "expected"),
    [
        pytest.param(LINE, "v1", LINE, id="v1 as v1"),
        pytest.param(LINE, "v2", BINARY, id="v1 as v2"),
        pytest.param(BINARY, "v1", LINE, id="v2 as v1"),
        pytest.param(BINARY, "v2", BINARY, id="v2 as v2"),
        pytest.param(b"PROXY UNKNOWN\r\n", "v1", None, id="nobody, as a line"),
        pytest.param(LOCAL, "v1", None, id="nobody"),
    ],
)
def test_what_was_told_is_passed_on(
    relay: Relay, target: Target, sent: bytes, version: str, expected: bytes | None
) -> None:
    """In either version; where a header tells of nobody, it is the peer's own."""
    heard: list[bytes] = []
    server = relay(target(recorder(heard)), *HERE, "--send-proxy", version)
    with connect(server) as client:
        client.sendall(sent + b"data")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
        assert heard == [(expected or own_line(client, server)) + b"data"]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        pytest.param("v1", b"PROXY UNKNOWN\r\n", id="v1"),
        pytest.param("v2", LOCAL, id="v2"),
    ],
)
def test_unix_peers_have_no_address(
    relay: Relay, target: Target, tmp_path: Path, version: str, expected: bytes
) -> None:
    """The target is told just that."""
    place = f"{tmp_path}/relay"
    relay(target(echo), "--send-proxy", version, listen=f"unix:{place}")
    assert converse(place, [b"data"]) == expected + b"data"


def test_ipv6_is_told(relay: Relay, target: Target) -> None:
    """Without a zone, and in brackets nowhere."""
    if not HAS_IPV6:
        give_up("this machine has no IPv6")
    server = relay(target(echo), "--send-proxy", "v1", listen="[::1]:0")
    port = int(server.log.read_text().split("[::1]:")[1].split()[0])
    with socket.create_connection(("::1", port), 20) as client:
        ports = f"{client.getsockname()[1]} {port}"
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == f"PROXY TCP6 ::1 ::1 {ports}\r\n".encode()


@pytest.mark.parametrize(
    ("fault", "lost"),
    [
        # Who is told that 5 bytes went believes it, and they went nowhere.
        pytest.param("retval=5", 5, id="half sent"),
        pytest.param("error=EAGAIN", 0, id="no room"),
    ],
)
def test_header_that_finds_no_room_waits(
    relay: Relay, target: Target, tmp_path: Path, fault: str, lost: int
) -> None:
    """What the target does not take at once it gets later, and all else behind it."""
    need("strace")
    heard: list[bytes] = []
    log = tmp_path / "strace"
    faults = ("-e", "trace=sendto", "-e", f"inject=sendto:{fault}:when=1")
    server = relay(
        target(recorder(heard)),
        *(*HERE, "--send-proxy", "v1", "--workers", "1"),
        prefix=("strace", "-f", "-qq", "-o", str(log), *faults),
    )
    with connect(server) as client:
        client.sendall(BINARY + b"data")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
    assert "INJECTED" in log.read_text()
    assert heard == [(LINE + b"data")[lost:]]
