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

    __slots__ = ("_chunks", "_client", "_position", "_source", "_ways", "sent")

    def __init__(
        self,
        client: socket.SocketType,
        chunks: Iterable[bytes | Span],
        source: Source | None,
        ways: Ways,
    ) -> None:
        """Prepare; spans are of the file that *source* keeps open."""
        self._client = client
        self._chunks = deque(chunks)
        self._source = source
        self._ways = ways
        self._position = 0
        """How much of the first chunk has been sent."""
        self.sent = 0
        """Bytes that the kernel has taken so far."""

    def next_span(self) -> tuple[int, int] | None:
        """Return start and stop of what is unsent of the next span, if any is."""
        position = self._position
        for chunk in self._chunks:
            if isinstance(chunk, Span):
                return chunk.start + position, chunk.stop
            position = 0
        return None

    def advance(self, quantum: int, *, is_warm: bool) -> Progress:
        """Send until done or blocked, at most *quantum* bytes of one span.

        *is_warm* says that the span can be read without waiting, so that the
        bytes before it may wait for it and leave in one segment with it.
        Raises TransferError.
        """
        chunks = self._chunks
        while chunks:
            chunk, position = chunks[0], self._position
            if isinstance(chunk, Span):
                if not quantum:
                    return Progress.SPENT
                sent = self._send_span((chunk.start + position, chunk.stop), quantum)
                quantum -= sent
            else:
                sent = self._send_bytes(chunk, is_warm=is_warm)
            self.sent += sent
            if position + sent < len(chunk):
                self._position = position + sent
                # While it is sent, the client makes room: again, until there is none.
                if not sent:
                    return Progress.BLOCKED
                continue
            chunks.popleft()
            self._position = 0
            if chunks and isinstance(chunk, Span):
                return Progress.SPENT
        return Progress.DONE

    def _send_bytes(self, chunk: bytes, *, is_warm: bool) -> int:
        # MSG_MORE where nothing followed at once would cost 200 ms.
        joins = is_warm and len(self._chunks) > 1
        rest = chunk[self._position :] if self._position else chunk
        try:
            return self._client.send(rest, socket.MSG_MORE if joins else 0)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise translate(error) from None

    def _send_span(self, span: tuple[int, int], quantum: int) -> int:
        assert self._source is not None, "a span without its file"
        number = self._source.number
        return send_span(self._client, number, span, quantum, self._ways)
