"""Fixtures of the relay: the command as a process, and targets to connect to."""

import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from relaying import COMMAND, Handler, Relay, Target
from running import Server, launch, wait_until


@pytest.fixture
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relay]:
    """Run relays on free ports, ready when returned, and stop them at the end."""
    relays: list[Server] = []

    def start(
        target: str,
        *options: str,
        listen: str = "127.0.0.1:0",
        prefix: tuple[str, ...] = (),
    ) -> Server:
        log = tmp_path_factory.mktemp("relay") / "stderr"
        command = [sys.executable, "-c", COMMAND, listen, target, *options]
        process = launch(log, [*prefix, *command])
        server = Server(process, 0, log)
        relays.append(server)

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            return "Forwarding" in log.read_text()

        wait_until(is_ready, "the line that says what is forwarded")
        port = re.search(r"Forwarding [^ ]*:([0-9]+) to ", log.read_text())
        server.port = int(port[1]) if port else 0
        return server

    yield start
    for server in relays:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


@pytest.fixture
def target() -> Iterator[Target]:
    """Run targets, whose *handle* is given each connection in a thread of its own.

    The address is returned as the relay takes it.
    """
    with ExitStack() as stack:

        def start(handle: Handler, where: str = "127.0.0.1") -> str:
            if where.startswith("unix:"):
                listener = socket.socket(socket.AF_UNIX)
                listener.bind(where.removeprefix("unix:"))
                listener.listen(128)
                address = where
            else:
                family = socket.AF_INET6 if ":" in where else socket.AF_INET
                listener = socket.create_server((where, 0), family=family, backlog=1024)
                host = f"[{where}]" if ":" in where else where
                address = f"{host}:{listener.getsockname()[1]}"

            def accept() -> None:
                while True:
                    try:
                        client, _ = listener.accept()
                    except OSError:
                        return
                    client.settimeout(60)
                    threading.Thread(target=serve, args=(client,), daemon=True).start()

            def serve(client: socket.socket) -> None:
                with client:
                    handle(client)

            acceptor = threading.Thread(target=accept, daemon=True)
            acceptor.start()
            # Before it has ended, nobody else may get the number of its socket.
            stack.callback(listener.close)
            stack.callback(acceptor.join)
            stack.callback(lambda: listener.shutdown(socket.SHUT_RDWR))
            return address

        yield start
