"""A raw HTTP client that knows only CRLF, Content-Length and end of stream."""

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from sendfile_server.transport.room import unacknowledged

DEADLINE_S = 20.0


def get(target: str, *fields: str, method: str = "GET") -> bytes:
    """Return the head of one HTTP/1.1 request."""
    lines = (f"{method} {target} HTTP/1.1", "Host: localhost", *fields, "", "")
    return "\r\n".join(lines).encode("latin-1")


@dataclass
class Response:
    """One response as it came."""

    status: int
    fields: dict[str, str]
    body: bytes
    is_complete: bool


Pair = tuple[socket.socket, socket.socket]
"""A socket of ours, which never waits, and its peer."""


class Client:
    """One connection to 127.0.0.1, or to a Unix socket."""

    def __init__(self, place: int | str) -> None:
        if isinstance(place, int):
            self.socket = socket.create_connection(("127.0.0.1", place), DEADLINE_S)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(DEADLINE_S)
            self.socket.connect(place)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def response(self, method: str = "GET") -> Response:
        """Read one response; of a body that ends early, what there is."""
        while b"\r\n\r\n" not in self._buffer:
            data = self.socket.recv(65536)
            assert data, f"the end, before a whole head: {self._buffer!r}"
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        fields = {name.lower(): value for name, value in pairs}
        status = int(first.split(" ")[1])
        has_body = method != "HEAD" and status not in (204, 304)
        length = int(fields.get("content-length", "0")) if has_body else 0
        pieces, size = [self._buffer], len(self._buffer)
        while size < length:
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            if not data:
                break
            pieces.append(data)
            size += len(data)
        body = b"".join(pieces)
        self._buffer = body[length:]
        return Response(status, fields, body[:length], size >= length)

    def request(self, target: str, *fields: str, method: str = "GET") -> Response:
        """Ask for *target* and read the answer."""
        self.send(get(target, *fields, method=method))
        return self.response(method)

    def is_closed(self) -> bool:
        """Wait for the server to close, and tell whether it said nothing more."""
        try:
            return not self._buffer and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


def fetch(place: int | str, target: str, *fields: str, method: str = "GET") -> Response:
    """Make one request on a connection of its own."""
    with Client(place) as client:
        return client.request(target, *fields, method=method)


def converse(place: str, pieces: Iterable[bytes]) -> bytes:
    """Send *pieces*, then the end, to a Unix socket, and return all that comes back.

    Each piece waits until the server has read the one before it, so that no two
    of them are ever received together.
    """
    received = bytearray()
    with Client(place) as client:
        sock = client.socket
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                sock.sendall(piece)
                received += _read_until_taken(sock)
            sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(1 << 20):
                received += data
    return bytes(received)


def fill(sock: socket.socket) -> int:
    """Send without blocking until there is no room; return how much that took."""
    sent = 0
    while True:
        try:
            sent += sock.send(bytes(65536))
        except BlockingIOError:
            return sent


def _read_until_taken(sock: socket.socket) -> bytes:
    """Read what comes while the peer has not read all that was sent.

    Of a Unix socket, bytes are unacknowledged until they are read.
    """
    received = bytearray()
    end = time.monotonic() + DEADLINE_S
    while unacknowledged(sock):
        assert time.monotonic() < end, "the server does not read"
        if select.select((sock,), (), (), 0)[0]:
            received += sock.recv(1 << 20)
        os.sched_yield()
    return bytes(received)
