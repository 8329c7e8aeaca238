"""A sequence of chunks on its way to one socket."""

import socket
from collections import deque
from collections.abc import Iterable
from enum import Enum, auto
from typing import Protocol

from sendfile_server.semantics.ranges import Span
from sendfile_server.transport.sendfile import Ways, send_span, translate


class Progress(Enum):
    """Why a turn of sending ended."""

    DONE = auto()
    """Everything was given to the kernel."""
    BLOCKED = auto()
    """The socket has no room: wait until it is writable."""
    SPENT = auto()
    """The quantum is used up, or the next span begins: take another turn."""


class Source(Protocol):
    """Whatever keeps a file open; held, so that its number stays its own."""

    number: int


class Sending:
    """Chunks, in order, to a non-blocking socket, in bounded turns.

    Only one thread at a time may call it; it does not care which.
    """

    __slots__ = ("_chunks", "_client", "_source", "_ways", "sent")

    def __init__(
        self,
        client: socket.socket,
        chunks: Iterable[bytes | Span],
        source: Source | None,
        ways: Ways,
    ) -> None:
        """Prepare; spans are of the file that *source* keeps open."""
        self._client = client
        self._chunks = deque(chunks)
        self._source = source
        self._ways = ways
        self.sent = 0
        """Bytes that the kernel has taken so far."""

    def next_span(self, quantum: int) -> Span | None:
        """Return what the next turn takes from the file, if anything."""
        for chunk in self._chunks:
            if isinstance(chunk, Span):
                return Span(chunk.start, min(chunk.stop, chunk.start + quantum))
        return None

    @property
    def unsent_of_file(self) -> int:
        """How many bytes of the file are still to be sent."""
        return sum(len(chunk) for chunk in self._chunks if isinstance(chunk, Span))

    def advance(self, quantum: int, *, is_warm: bool) -> Progress:
        """Send until done or blocked, at most *quantum* bytes of one span.

        *is_warm* says that the span can be read without waiting, so that the
        bytes before it may wait for it and leave in one segment with it.
        Raises TransferError.
        """
        while self._chunks:
            chunk = self._chunks[0]
            if isinstance(chunk, bytes):
                sent = self._send_bytes(chunk, is_warm=is_warm)
            elif quantum:
                sent = self._send_span(chunk, quantum)
                quantum -= sent
            else:
                return Progress.SPENT
            if not sent:
                return Progress.BLOCKED
            self.sent += sent
            if sent < len(chunk):
                self._chunks[0] = _rest(chunk, sent)
                continue
            self._chunks.popleft()
            if self._chunks and isinstance(chunk, Span):
                return Progress.SPENT
        return Progress.DONE

    def _send_bytes(self, chunk: bytes, *, is_warm: bool) -> int:
        # MSG_MORE where nothing followed at once would cost 200 ms.
        joins = is_warm and len(self._chunks) > 1
        try:
            return self._client.send(chunk, socket.MSG_MORE if joins else 0)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise translate(error) from None

    def _send_span(self, span: Span, quantum: int) -> int:
        assert self._source is not None, "a span without its file"
        number = self._source.number
        return send_span(self._client, number, span, quantum, self._ways)


def _rest(chunk: bytes | Span, sent: int) -> bytes | Span:
    if isinstance(chunk, Span):
        return Span(chunk.start + sent, chunk.stop)
    return chunk[sent:]
