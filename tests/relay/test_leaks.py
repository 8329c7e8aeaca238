"""After many connections, however they ended, all is as it was before."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import uvloop

from cycles import Collector
from relaying import Relay, descriptors, reset
from running import Server, wait_until

PARALLEL = 100
# Where clients are, by their numbers: at ports that the kernel gives to nobody, or it
# would have none left for other tests, until those of closed connections are forgotten.
SOURCES = [f"127.0.0.{number}" for number in range(2, 22)]
FIRST_PORT = 10_000

Serve = Callable[[socket.socket], Awaitable[None]]


async def echo(client: socket.socket) -> None:
    """Send back all that comes."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(client, 65536):
        await loop.sock_sendall(client, data)


async def break_off(client: socket.socket) -> None:
    """Reset after the first byte."""
    await asyncio.get_running_loop().sock_recv(client, 1)
    reset(client)


async def serve(listener: socket.socket, handle: Serve) -> None:
    """Hand each connection to *handle*, and close it then."""
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def look_after(client: socket.socket) -> None:
        with client, suppress(OSError):
            await handle(client)

    while True:
        client, _ = await loop.sock_accept(listener)
        task = asyncio.create_task(look_after(client))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def receive(client: socket.socket, size: int) -> bytes:
    """Return what comes, up to *size* bytes."""
    received = b""
    while len(received) < size:
        data = await asyncio.get_running_loop().sock_recv(client, size)
        if not data:
            break
        received += data
    return received


async def get_back(client: socket.socket, number: int) -> None:
    """Send some bytes that are nobody else's; they come back. Now and then, many."""
    data = number.to_bytes(4, "big") * (50_000 if number % 60 == 0 else 4)
    loop = asyncio.get_running_loop()
    _, received = await asyncio.gather(
        loop.sock_sendall(client, data), receive(client, len(data))
    )
    assert received == data


async def leave(client: socket.socket, _number: int) -> None:
    """Close at once."""


async def leave_by_reset(client: socket.socket, number: int) -> None:
    """Send something, and reset."""
    await asyncio.get_running_loop().sock_sendall(client, bytes(number % 1000 + 1))
    reset(client)


async def be_let_down(client: socket.socket, _number: int) -> None:
    """Send something to which nothing comes back."""
    with suppress(ConnectionError):
        await asyncio.get_running_loop().sock_sendall(client, b"x")
        assert await receive(client, 100) == b""


# Whom a client comes to, and what it does then.
USES = (
    ("echo", get_back),
    ("echo", get_back),
    ("echo", leave),
    ("echo", leave_by_reset),
    ("resets", be_let_down),
    ("refuses", be_let_down),
)


@pytest.fixture
def listeners() -> Iterator[dict[str, socket.socket]]:
    """Listen for the targets; one of them is only bound, so that it refuses."""
    with ExitStack() as stack:
        made = {}
        for name in ("echo", "resets", "refuses"):
            made[name] = stack.enter_context(socket.socket())
            made[name].bind(("127.0.0.1", 0))
            made[name].setblocking(False)
        made["echo"].listen(1024)
        made["resets"].listen(1024)
        yield made


async def use(ports: dict[str, int], first: int, count: int) -> None:
    """Make so many connections, in all the ways there are."""
    loop = asyncio.get_running_loop()
    numbers = iter(range(first, first + count))

    async def make_some() -> None:
        for number in numbers:
            door, how = USES[number % len(USES)]
            with socket.socket() as client:
                client.setblocking(False)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                port, source = divmod(number, len(SOURCES))
                client.bind((SOURCES[source], FIRST_PORT + port))
                await loop.sock_connect(client, ("127.0.0.1", ports[door]))
                await how(client, number)

    async with asyncio.timeout(120):
        await asyncio.gather(*(make_some() for _ in range(PARALLEL)))


async def run(
    listeners: dict[str, socket.socket], ports: dict[str, int], first: int, count: int
) -> None:
    """Serve the targets meanwhile."""
    targets = [
        asyncio.create_task(serve(listeners["echo"], echo)),
        asyncio.create_task(serve(listeners["resets"], break_off)),
    ]
    await use(ports, first, count)
    for target in targets:
        target.cancel()


def pss_kib(server: Server) -> int:
    """Return the memory of *server* that is of no file (proc(5), smaps_rollup).

    What is of a file counts the more, the fewer others have it open.
    """
    files = (Path(f"/proc/{pid}/smaps_rollup") for pid in server.processes())
    lines = (line.split() for file in files for line in file.read_text().splitlines())
    return sum(int(words[1]) for words in lines if words[0] == "Pss_Anon:")


@pytest.mark.parametrize("count", [3_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_nothing_leaks(
    relay: Relay, listeners: dict[str, socket.socket], count: int, tmp_path: Path
) -> None:
    """Neither descriptors nor pipes nor memory, and no byte went to a stranger.

    Nothing is part of a cycle either: workers hardly ever look for them among all that
    they have.
    """
    collector = Collector(tmp_path)
    places = [f"127.0.0.1:{each.getsockname()[1]}" for each in listeners.values()]
    more = [f"--forward=127.0.0.1:0={place}" for place in places[1:]]
    options = ("--workers", "1", *more)
    server = relay(places[0], *options, prefix=collector.prefix)
    own = re.findall(r"127\.0\.0\.1:(\d+) to", server.log.read_text())
    ports = dict(zip(listeners, map(int, own), strict=True))
    sockets, pipes = descriptors(server, "socket"), descriptors(server, "pipe")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(listeners, ports, 0, 2000))  # whatever is made once, is made now
        memory = pss_kib(server)
        runner.run(run(listeners, ports, 2000, count))
    wait_until(lambda: descriptors(server, "socket") == sockets, "all to be closed")
    assert descriptors(server, "pipe") <= pipes + 2 * 16  # kept for the next
    assert collector.count() == 0
    assert pss_kib(server) < memory + 2048
    assert "Traceback" not in server.log.read_text()
    server.stop()
    assert f"{2000 + count} connections" in server.log.read_text()
