"""The probe: an exit code for a page, and one line for what is wrong with it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from running import DEADLINE_S, Serve, wait_until
from sendfile_server import __version__
from sendfile_server.options import Address, TcpAddress, UnixAddress
from sendfile_server.probe import parse_page
from wire import Client, get

COMMAND = "from sendfile_server.probe import main; main()"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command, which must end by itself."""
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


def assert_complains(
    done: subprocess.CompletedProcess[str], code: int, words: str
) -> None:
    """Check for exit code *code*, and one line with *words*."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("sendfile-probe: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def answer_with(wire: bytes) -> str:
    """Return the URL of a server that says *wire* to the first who comes, and waits."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with (
            listener,
            listener.accept()[0] as client,
            contextlib.suppress(ConnectionError),
        ):
            client.settimeout(DEADLINE_S)
            client.recv(65536)
            client.sendall(wire)
            client.recv(65536)

    threading.Thread(target=answer, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        pytest.param("/hello.txt", "", id="a file"),
        pytest.param("/hello.txt?x=1", "", id="with a query"),
        pytest.param("", "", id="the root, unsaid"),
        pytest.param("/dir", "sendfile-probe: status 308\n", id="a redirect"),
        pytest.param("/no", "sendfile-probe: status 404\n", id="no file"),
    ],
)
def test_code_tells_whether_the_page_is_given(
    serve: Serve, site: Path, tmp_path: Path, target: str, complaint: str
) -> None:
    """A status of 2xx is success, any other is told; over TCP and a Unix socket."""
    path = tmp_path / "socket"
    server = serve(site, "--listen", "127.0.0.1:0", "--listen", f"unix:{path}")

    for url in (f"{server.url}{target}", f"unix:{path}:{target or '/'}"):
        done = run(url)
        assert done.stderr == complaint
        assert done.returncode == (1 if complaint else 0)


def test_readiness_is_told(serve: Serve, site: Path, tmp_path: Path) -> None:
    """A server that drains lives, and is not ready."""
    path = tmp_path / "metrics"
    server = serve(site, "--workers", "1", "--metrics", f"unix:{path}")
    assert run(f"unix:{path}:/ready").returncode == 0
    with Client(server.port) as client:
        client.send(get("/hello.txt")[:-1])  # not whole, so it is waited for
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: run(f"unix:{path}:/ready").returncode, "the end to be told")

        assert_complains(run(f"unix:{path}:/ready"), 1, "status 503")
        assert run(f"unix:{path}:/live").returncode == 0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("http://127.0.0.1:1/", "Connection refused", id="nobody there"),
        pytest.param("http://[::1]:1/", "", id="nobody there by IPv6"),
        pytest.param("unix:/no:/", "No such file", id="no socket"),
        pytest.param("http://no.such.invalid:80/", "", id="no such host"),
        pytest.param("http://a..b:80/", "not a name", id="never a host"),
    ],
)
def test_absence_is_told(url: str, words: str) -> None:
    """Whatever keeps an answer from coming is code 1 and one line."""
    assert_complains(run(url), 1, words)


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        pytest.param(b"SSH-2.0-x\r\n", "not HTTP", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + bytes(99999), "not HTTP", id="long"),
        pytest.param(b"", "no answer within 0.5 s", id="silence"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", "no answer", id="half a head"),
    ],
)
def test_no_answer_is_told(wire: bytes, words: str) -> None:
    """What is no answer, or none in time, is code 1 and one line."""
    assert_complains(run("--timeout", "0.5", answer_with(wire)), 1, words)


def test_body_is_not_waited_for() -> None:
    """The head decides, however long the rest takes."""
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"

    assert run(answer_with(wire)).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param((), "required: URL", id="nothing"),
        pytest.param(("http://a:1/", "b"), "unrecognized", id="two"),
        pytest.param(("a\nb",), "expected http://", id="no URL"),
        pytest.param(("http://a:1/", "b\nc"), "b c", id="line break"),
        pytest.param(("https://a:1/",), "expected http://", id="TLS"),
        pytest.param(("http://a:/",), "whole number", id="a colon and no port"),
        pytest.param(("http://::1/",), "HOST:PORT", id="IPv6 without brackets"),
        pytest.param(("http://a:1/b c",), "expected http://", id="space"),
        pytest.param(("http://a:1/#b",), "expected http://", id="fragment"),
        pytest.param(("unix:/run/a",), "unix:PATH:/PATH", id="no target"),
        pytest.param(("unix::/live",), "unix:PATH:/PATH", id="no socket"),
        pytest.param(("http://a:1/", "--timeout", "0"), "above 0", id="no time"),
        pytest.param(("http://a:1/", "--time", "1"), "unrecognized", id="abbreviated"),
    ],
)
def test_wrong_call_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    """What can't be asked for is code 2 and one line."""
    assert_complains(run(*arguments), 2, words)


def test_version_is_told() -> None:
    """--version names the command and the version."""
    assert run("--version").stdout == f"sendfile-probe, version {__version__}\n"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a/", TcpAddress("a", 80)),
        ("http://a:8080/", TcpAddress("a", 8080)),
        ("http://[::1]", TcpAddress("::1", 80)),
        ("http://[::1]:1", TcpAddress("::1", 1)),
        ("unix:/run/a:/", UnixAddress("/run/a")),
    ],
)
def test_port_is_80_unless_it_is_said(url: str, expected: Address) -> None:
    """As in any URL of this scheme."""
    assert parse_page(url).place == expected


def test_nothing_of_the_server_is_imported() -> None:
    """The probe brings in the standard library and how an address is written."""
    code = "import sendfile_server.probe, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    modules = done.stdout.split()

    ours = {name for name in modules if name.startswith("sendfile_server.")}
    assert ours == {"sendfile_server.options", "sendfile_server.probe"}
    assert not {"asyncio", "click", "h11", "uvloop"} & set(modules)
