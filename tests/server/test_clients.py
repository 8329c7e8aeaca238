"""Who the log says that a client is, behind proxies and without."""

import json
import socket
from pathlib import Path

import pytest

from running import Serve, wait_until
from sendfile_server.options import parse_network
from sendfile_server.server.clients import client_finder
from wire import Client, get

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n"
TRUSTED = [parse_network("10.0.0.0/8"), parse_network("unix:")]


@pytest.mark.parametrize(
    ("source", "peer", "fields", "client"),
    [
        (None, "10.0.0.1", "X-Forwarded-For: 1.2.3.4", "10.0.0.1"),
        ("proxy", "10.0.0.1", "X-Forwarded-For: 1.2.3.4", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.1", "", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.1", "X-Forwarded-For: 6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("x-forwarded-for", "8.8.8.8", "X-Forwarded-For: 1.2.3.4", "8.8.8.8"),
        ("x-forwarded-for", "unix:", "x-forwarded-for:\t1.2.3.4 ", "1.2.3.4"),
        ("x-forwarded-for", "unix:", "X-Forwarded-For: me", "unix:"),
        ("x-forwarded-for", "10.0.0.1", "Forwarded: for=1.2.3.4", "10.0.0.1"),
        ("forwarded", "10.0.0.1", "Forwarded: for=1.2.3.4", "1.2.3.4"),
        ("forwarded", "10.0.0.1", 'Forwarded: for="[2001:DB8::1]:8"', "2001:db8::1"),
        ("forwarded", "10.0.0.1", "X-Forwarded-For: 1.2.3.4", "10.0.0.1"),
    ],
)
def test_one_source_is_read(
    source: str | None, peer: str, fields: str, client: str
) -> None:
    """No other is, though a client can send it through a proxy."""
    find = client_finder(source, TRUSTED)
    head = HEAD % (f"{fields}\r\n".encode() if fields else b"")

    assert list(find([peer.encode()], [head])) == [client.encode()]


def test_several_lines_are_one() -> None:
    """Each proxy may add a line of its own."""
    find = client_finder("x-forwarded-for", TRUSTED)
    lines = b"X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 10.0.0.9\r\n"

    assert list(find([b"10.0.0.1"], [HEAD % lines])) == [b"1.2.3.4"]


def clients_in(log: Path, count: int) -> list[tuple[str, str]]:
    """Wait for *count* lines, and return what client and peer they have."""
    wait_until(lambda: log.read_bytes().count(b"\n") >= count, f"{count} lines")
    lines = map(json.loads, log.read_text().splitlines())
    return [(line["client"], line["peer"]) for line in lines]


def test_log_has_the_client(serve: Serve, site: Path, tmp_path: Path) -> None:
    """Whether its answer is remembered or not, each request has its own client."""
    log = tmp_path / "log"
    options = ("--client-address", "x-forwarded-for", "--trusted-proxy", "127.0.0.1")
    wanted = ("--access-log", str(log), "--access-log-format", "json")
    server = serve(site, *options, *wanted, "--workers", "1")
    names = [f"192.0.2.{number}" for number in range(5)]
    with Client(server.port) as client:
        for name in names:
            client.request("/hello.txt", f"X-Forwarded-For: {name}")

    assert clients_in(log, 5) == [(name, "127.0.0.1") for name in names]


def test_proxy_header_tells_the_client(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """It comes once, and holds for all requests of its connection."""
    log = tmp_path / "log"
    options = ("--client-address", "proxy", "--trusted-proxy", "127.0.0.1")
    wanted = ("--access-log", str(log), "--access-log-format", "json")
    server = serve(site, *options, *wanted, "--workers", "1")
    with Client(server.port) as client:
        line = b"PROXY TCP4 192.0.2.1 198.51.100.2 40000 443\r\n"
        client.send(line + get("/hello.txt"))
        assert client.response().body == b"hello\n"
        assert client.request("/mib.bin").is_complete
    with Client(server.port) as client:
        client.send(b"PROXY UNKNOWN\r\n" + get("/hello.txt"))
        assert client.response().body == b"hello\n"

    assert clients_in(log, 3) == [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "127.0.0.1"),
    ]


@pytest.mark.parametrize(
    ("trusted", "first"),
    [
        pytest.param("127.0.0.1", b"", id="no header"),
        pytest.param("192.0.2.1", b"PROXY UNKNOWN\r\n", id="not trusted"),
    ],
)
def test_nobody_else_is_served(
    serve: Serve, site: Path, trusted: str, first: bytes
) -> None:
    """Without the header of a trusted proxy, there is a reset and no answer."""
    server = serve(site, "--client-address", "proxy", "--trusted-proxy", trusted)
    with socket.socket() as client:
        # Without a timeout yet, so that Python does not ask once more how it ended.
        client.connect(("127.0.0.1", server.port))
        client.settimeout(20)
        client.sendall(first + get("/hello.txt"))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    wait_until(lambda: "refused 127.0.0.1:" in server.log.read_text(), "the line")


def test_bound_unix_client_has_no_address(
    serve: Serve, site: Path, tmp_path: Path
) -> None:
    """Whatever its own socket is named."""
    log, path = tmp_path / "log", str(tmp_path / "socket")
    serve(site, "--listen", f"unix:{path}", "--access-log", str(log), "--workers", "1")
    with socket.socket(socket.AF_UNIX) as client:
        client.bind(str(tmp_path / "own"))
        client.connect(path)
        client.sendall(get("/hello.txt"))
        assert client.recv(100).startswith(b"HTTP/1.1 200")

    wait_until(lambda: log.read_bytes().startswith(b"unix: - - ["), "the line")
