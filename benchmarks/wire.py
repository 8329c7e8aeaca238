"""One response, read raw: its status, its body, and how many bytes it took."""

import re
import socket
from dataclasses import dataclass

from benchmarks import BenchmarkError

DEADLINE_S = 20.0
_CONTENT_LENGTH = re.compile(rb"(?im)^content-length: *([0-9]+) *\r$")


@dataclass(frozen=True, slots=True)
class Response:
    """One response as it came."""

    status: int
    head: bytes
    body: bytes

    @property
    def size(self) -> int:
        """How many bytes it took on the wire."""
        return len(self.head) + len(self.body)

    def field(self, name: str) -> str:
        """Return the value of a field, empty if there is none."""
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return ""


def format_request(path: str, fields: tuple[str, ...]) -> bytes:
    """Return the head of a GET, as wrk sends it."""
    return "\r\n".join((f"GET {path} HTTP/1.1", *fields, "", "")).encode()


def fetch(port: int, path: str, fields: tuple[str, ...]) -> Response:
    """Return the response to one GET, whole.

    Raises BenchmarkError if its length can't be told, or is wrong.
    """
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as client:
        client.sendall(format_request(path, fields))
        received = b""
        while b"\r\n\r\n" not in received:
            received += _receive(client)
        head, _, body = received.partition(b"\r\n\r\n")
        head += b"\r\n\r\n"
        status = int(head.split(b" ", 2)[1])
        length = _body_length(head, status)
        pieces, size = [body], len(body)
        while size < length:
            pieces.append(_receive(client))
            size += len(pieces[-1])
    if size > length:
        raise BenchmarkError(f"{size - length} bytes too many after {head!r}")
    return Response(status, head, b"".join(pieces))


def _body_length(head: bytes, status: int) -> int:
    if status == 304:
        return 0
    length = _CONTENT_LENGTH.search(head)
    if not length:
        raise BenchmarkError(f"no length in {head!r}")
    return int(length[1])


def _receive(client: socket.socket) -> bytes:
    data = client.recv(1 << 20)
    if not data:
        raise BenchmarkError("a response ended early")
    return data
