"""A close that waits for the client to see what was sent (RFC 9112 section 9.6).

Input that nobody read would turn the close into a reset, and the reset would throw
away what the client has not read yet. So input is read, within bounds, until the
client closes too.
"""

import socket

from sendfile_server.transport.lingering import discard

# Seconds of silence and in all, and bytes.
_SILENCE_S = 5
_LONGEST_S = 30
_MOST_BYTES = 1024 * 1024


class Farewell:
    """What is left to do for a client that was told that no more will come."""

    __slots__ = ("_client", "_discarded", "_end")

    def __init__(self, client: socket.SocketType, elapsed: float) -> None:
        """Begin at *elapsed* seconds."""
        self._client = client
        self._discarded = 0
        self._end = elapsed + _LONGEST_S

    def read(self, elapsed: float) -> float | None:
        """Throw away what has come; return when to give up, None if that is now."""
        # Until there is no more: a reset is told of only once.
        while count := discard(self._client):
            self._discarded += count
            if self._discarded > _MOST_BYTES:
                return None
        return None if count is None else min(elapsed + _SILENCE_S, self._end)
