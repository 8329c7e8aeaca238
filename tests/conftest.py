"""Fixtures that most tests need: a running server, and a tree of files."""

import asyncio
import fcntl
import re
import signal
import socket
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import uvloop

import running
from running import Serve, Server, launch, wait_until
from wire import Pair

# Those that start processes of ours.
STARTERS = {"serve", "relay"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know an option for who wants to see each thing done, but not in all cases."""
    parser.addoption(
        "--first-rows",
        action="store_true",
        help="of a table of cases for which servers are started, run the first only",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what --first-rows does not ask for."""
    if not config.getoption("--first-rows"):
        return
    kept: dict[tuple[Path, str], pytest.Item] = {}
    rest: list[pytest.Item] = []
    for item in items:
        assert isinstance(item, pytest.Function)
        starts = bool(STARTERS & set(item.fixturenames))
        test = (item.path, item.originalname if starts else item.name)
        if kept.setdefault(test, item) is not item:
            rest.append(item)
    items[:] = kept.values()
    config.hook.pytest_deselected(items=rest)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test beside others, or alone, among all processes of pytest.

    Who is to be alone waits at the door until all others have left, and so keeps out
    who comes meanwhile; else there would always be somebody.
    """
    is_alone = item.get_closest_marker("alone") is not None
    with Path(__file__).open() as room:
        with Path(running.__file__).open() as door:
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        return (yield)


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Run servers on free ports, ready when returned, and stop them at the end.

    *prefix* is a command that runs the server, such as strace.
    """
    servers: list[Server] = []

    def start(
        directory: Path | str, *options: str, prefix: tuple[str, ...] = ()
    ) -> Server:
        log = tmp_path_factory.mktemp("server") / "stderr"
        chosen = {"--listen", "--port", "--config"} & set(options)
        places = () if chosen else ("--port", "0")
        command = [sys.executable, "-m", "sendfile_server", str(directory)]
        process = launch(log, [*prefix, *command, *places, *options])
        server = Server(process, 0, log)
        servers.append(server)

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            return "Serving" in log.read_text()

        wait_until(is_ready, "the line that says what is served")
        port = re.search(r"http://[^ ]*:([0-9]+)/", log.read_text())
        server.port = int(port[1]) if port else 0
        return server

    yield start
    for server in servers:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


@pytest.fixture
def free_port() -> Iterator[int]:
    """Keep a port that nobody else is given."""
    with running.free_port() as port:
        yield port


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Make the loop that a worker has."""
    loop = uvloop.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Connect a non-blocking socket, ours, to a peer by TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname(), 20)
        client, _ = listener.accept()
    client.setblocking(False)
    with client, peer:
        yield client, peer


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Make a small tree of known bytes."""
    root = tmp_path / "site"
    (root / "dir").mkdir(parents=True)
    (root / "index.html").write_bytes(b"<!doctype html><title>index</title>\n")
    (root / "dir" / "index.html").write_bytes(b"DIR\n")
    (root / "hello.txt").write_bytes(b"hello\n")
    (root / "digits.txt").write_bytes(b"0123456789")
    (root / "empty.txt").write_bytes(b"")
    (root / "kib.bin").write_bytes(bytes(range(256)) * 4)
    (root / "mib.bin").write_bytes(bytes(range(256)) * 4096)
    return root
