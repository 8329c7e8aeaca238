"""The PROXY protocol as others speak it: HAProxy and nginx on either side of ours."""

import hashlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from fronts import MAIN
from relaying import Relay, Target, echo, read_all
from running import wait_until
from tools import need
from wire import fetch

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024

# Each of the first two answers with what it was told: the source, and where to.
HAPROXY_BEHIND = """
defaults
    mode http
    timeout connect 20s
    timeout client 20s
    timeout server 20s
frontend told
    bind unix@{folder}/told accept-proxy
    http-request return content-type text/plain \
lf-string "%[src]:%[src_port] %[dst]:%[dst_port]"
"""
NGINX_BEHIND = MAIN.replace(
    "{included}",
    """server {{
        listen unix:{folder}/told proxy_protocol;
        set $source "$proxy_protocol_addr:$proxy_protocol_port";
        return 200 "$source $proxy_protocol_server_addr:$proxy_protocol_server_port";
    }}""",
)
HAPROXY_BEFORE = """
defaults
    mode tcp
    timeout connect 20s
    timeout client 20s
    timeout server 20s
listen before
    bind fd@{inherited}
    unique-id-format %ci-%cp
    server relay 127.0.0.1:{port} {how} check inter 50ms
"""
HAPROXY = ("haproxy", "-db", "-f")
NGINX = ("nginx", "-e", "stderr", "-c")


Before = Callable[[int, str], int]
"""Starts an HAProxy in front; see `before`."""


class Run(Protocol):
    """Starts a program; see `run`."""

    def __call__(self, *command: str, config: str, inherited: int = ...) -> None: ...


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Run programs with their configurations, and stop them at the end."""
    with ExitStack() as stack:

        def start(*command: str, config: str, inherited: int = 2) -> None:
            need(command[0])
            file = tmp_path / f"{command[0]}.conf"
            file.write_text(config)
            process = subprocess.Popen(
                [*command, file], stdin=subprocess.DEVNULL, pass_fds=(inherited,)
            )
            stack.callback(process.wait, 20)
            stack.callback(process.kill)

        yield start


@pytest.fixture(params=["haproxy", "nginx"])
def teller(request: pytest.FixtureRequest, run: Run, tmp_path: Path) -> str:
    """Run what answers with what it was told of a connection, and return where."""
    config = HAPROXY_BEHIND if request.param == "haproxy" else NGINX_BEHIND
    command = HAPROXY if request.param == "haproxy" else NGINX
    run(*command, config=config.format(folder=tmp_path))
    place = f"{tmp_path}/told"

    def is_listening() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(place) == 0

    wait_until(is_listening, f"{request.param} to listen")
    return f"unix:{place}"


@pytest.fixture
def before(run: Run) -> Iterator[Before]:
    """Run an HAProxy that passes on to a port what comes to it, and return its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def start(port: int, how: str) -> int:
            number = listener.fileno()
            config = HAPROXY_BEFORE.format(inherited=number, port=port, how=how)
            run(*HAPROXY, config=config, inherited=number)
            own: int = listener.getsockname()[1]
            return own

        yield start


def ask(port: int, source: str = "127.0.0.1") -> tuple[str, str]:
    """Connect from *source*; return what the answer says, and what would be right."""
    place = ("127.0.0.1", port)
    with socket.create_connection(place, 20, source_address=(source, 0)) as client:
        own_port = client.getsockname()[1]
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        _, _, said = read_all(client).partition(b"\r\n\r\n")
    return said.decode(), f"{source}:{own_port} 127.0.0.1:{port}"


VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])
HOW = pytest.mark.parametrize(
    "how",
    [
        pytest.param("send-proxy", id="v1"),
        pytest.param("send-proxy-v2", id="v2"),
        pytest.param(
            "send-proxy-v2 proxy-v2-options crc32c,unique-id", id="v2 and more"
        ),
    ],
)


@VERSIONS
def test_others_read_what_we_send(relay: Relay, teller: str, version: str) -> None:
    """They learn the address that the client connects from, and where to."""
    server = relay(teller, "--send-proxy", version)
    for source in ("127.0.0.1", "127.0.0.5"):
        said, expected = ask(server.port, source)
        assert said == expected


@VERSIONS
def test_others_accept_who_has_no_address(
    relay: Relay, teller: str, tmp_path: Path, version: str
) -> None:
    """A client of a Unix socket is served as any other."""
    place = f"{tmp_path}/relay"
    relay(teller, "--send-proxy", version, listen=f"unix:{place}")
    assert fetch(place, "/").status == 200


@HOW
@VERSIONS
def test_we_pass_on_what_others_send(
    relay: Relay, teller: str, before: Before, how: str, version: str
) -> None:
    """Behind two proxies, the client's own address is known."""
    options = ("--accept-proxy", "--trusted-proxy", "127.0.0.1/32")
    server = relay(teller, *options, "--send-proxy", version)
    said, expected = ask(before(server.port, how), "127.0.0.5")
    assert said == expected


@HOW
def test_we_take_only_the_header(
    relay: Relay, target: Target, before: Before, how: str
) -> None:
    """All else comes through, and a proxy that only looks after us is let do so."""
    met: list[None] = []

    def note_and_echo(client: socket.socket) -> None:
        met.append(None)
        echo(client)

    options = ("--accept-proxy", "--trusted-proxy", "127.0.0.0/8", "--workers", "1")
    server = relay(target(note_and_echo), *options)
    data = hashlib.shake_128(b"data").digest(8 * MIB)
    place = ("127.0.0.1", before(server.port, how))
    with socket.create_connection(place, 60) as client, ThreadPoolExecutor() as threads:
        received = threads.submit(read_all, client)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert received.result(60) == data
    wait_until(lambda: len(met) > 3, "checks of our health")
    assert server.stop() == 0
    assert "; 0 refused" in server.log.read_text()
