"""Clients that load large files, at a given rate, while something else is measured.

The rate makes servers comparable: none is quick with small responses because it
neglects the large ones. What has come is taken without a copy (``MSG_TRUNC``,
tcp(7)), which leaves the client's core to the clients that are timed.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks import BenchmarkError
from benchmarks.load import HOST
from benchmarks.wire import format_request

DEADLINE_S = 20.0

_PERIOD_S = 0.001
_MOST_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What one client loads, again and again."""

    path: str
    head: int
    """The length of a response's head, in bytes."""
    body: int


@dataclass(slots=True)
class Downloads:
    """What all of the clients have taken."""

    bytes: int = 0
    seconds: float = 0.0

    @property
    def mib_per_s(self) -> float:
        """What they took in a second, all together."""
        return self.bytes / self.seconds / 2**20


class Client:
    """One connection, which loads one file again as soon as it has it."""

    def __init__(self, port: int, file: File) -> None:
        self.file = file
        self.socket = socket.socket()
        # A small window, as over a network: loopback moves whatever a window has
        # room for in one go, for milliseconds, on the core of whoever opened it.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW_BYTES)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.taken = 0
        """Bytes of bodies, so far."""
        self._ask()

    def take(self, most: int, buffer: bytearray) -> None:
        """Take up to *most* of the bytes that have come.

        *buffer* is as large, and is not written to but for a head. Raises
        BenchmarkError if the response failed, or is short.
        """
        with contextlib.suppress(BlockingIOError):
            if len(self._head) < self.file.head:
                self._take_head()
            count = self.socket.recv_into(
                buffer, min(most, self._missing), socket.MSG_TRUNC
            )
            if not count:
                raise BenchmarkError(f"{self.file.path}: {self._missing} bytes short")
            self.taken += count
            self._missing -= count
            if not self._missing:
                self._ask()

    def _ask(self) -> None:
        self._head, self._missing = b"", self.file.body
        self.socket.send(format_request(self.file.path, (HOST,)))

    def _take_head(self) -> None:
        while len(self._head) < self.file.head:
            data = self.socket.recv(self.file.head - len(self._head))
            if not data:
                raise BenchmarkError(f"{self.file.path}: no response")
            self._head += data
        length = f"\r\ncontent-length: {self.file.body}\r\n".encode()
        is_right = (
            self._head.startswith(b"HTTP/1.1 200 ")
            and self._head.endswith(b"\r\n\r\n")
            and length in self._head.lower()
        )
        if not is_right:
            raise BenchmarkError(f"{self.file.path}: {self._head!r}")


@contextlib.contextmanager
def download(
    port: int, files: Sequence[File], *, mib_per_s: float, cpu: int
) -> Iterator[Downloads]:
    """Load each of *files* over a connection of its own within a ``with`` block.

    The block begins when all have begun. All together take *mib_per_s*, or less
    if the server sends less. The counts are complete after the block, which raises
    BenchmarkError if a response failed or was short.
    """
    downloads, begun, stop = Downloads(), threading.Event(), threading.Event()
    rate = mib_per_s * 2**20 / len(files)

    def run() -> None:
        # Of this thread alone. What is timed goes first: a client that waits for
        # its turn on the core (some ms) would count that as the server's.
        os.sched_setaffinity(0, {cpu})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        try:
            with contextlib.ExitStack() as stack:
                clients = [Client(port, file) for file in files]
                for client in clients:
                    stack.enter_context(client.socket)
                _take_first(clients, begun)
                _take_all(clients, rate, stop, downloads)
        finally:
            begun.set()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(run)
        begun.wait()
        try:
            yield downloads
        finally:
            stop.set()
        done.result()


def _take_first(clients: list[Client], begun: threading.Event) -> None:
    end, buffer = time.monotonic() + DEADLINE_S, bytearray(1)
    while not all(client.taken for client in clients):
        if time.monotonic() > end:
            raise BenchmarkError(f"not all downloads began within {DEADLINE_S:g} s")
        for client in clients:
            client.take(1, buffer)
        begun.wait(_PERIOD_S)
    begun.set()


def _take_all(
    clients: list[Client], rate: float, stop: threading.Event, downloads: Downloads
) -> None:
    buffer = bytearray(_MOST_BYTES)
    since, before = time.monotonic(), {each: each.taken for each in clients}
    while not stop.wait(_PERIOD_S):
        due = rate * (time.monotonic() - since)
        for client in clients:
            most = int(due) - (client.taken - before[client])
            if most > 0:
                client.take(min(most, _MOST_BYTES), buffer)
    downloads.seconds = time.monotonic() - since
    downloads.bytes = sum(each.taken - before[each] for each in clients)
