"""Move a span of a file to a socket, by sendfile(2) or, refused, by copying."""

import errno
import os
import socket
from dataclasses import dataclass

from sendfile_server.errors import (
    ClientDisconnectedError,
    FileTruncatedError,
    FileUnreadableError,
)
from sendfile_server.semantics.ranges import Span

# A copy holds this much memory for one call, whatever the span.
COPY_SIZE = 65536

# Some file systems have no pages to lend (sendfile(2), ERRORS).
_REFUSED = frozenset((errno.EINVAL, errno.ENOSYS, errno.ENOTSUP))
_DISCONNECTED = frozenset(
    (
        errno.EPIPE,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
    )
)


@dataclass(slots=True)
class Ways:
    """How many bytes of files left in which way."""

    sendfile: int = 0
    copied: int = 0


def send_at_once(
    client: socket.SocketType, head: bytes, descriptor: int, span: Span, ways: Ways
) -> int:
    """Send *head* and *span* of *descriptor*, as far as two calls bring it.

    The span must be in memory. Returns how many bytes were sent in all; why they
    were not more, the next call will tell.
    """
    sent = 0
    try:
        sent = client.send(head, socket.MSG_MORE)
        if sent == len(head):
            count = span.stop - span.start
            count = os.sendfile(client.fileno(), descriptor, span.start, count)
            ways.sendfile += count
            sent += count
    except OSError:
        pass
    return sent


def send_span(
    client: socket.SocketType,
    descriptor: int,
    span: tuple[int, int],
    limit: int,
    ways: Ways,
) -> int:
    """Send at most *limit* bytes of a span of *descriptor*, given as start and stop.

    Returns how many were sent; 0 if the socket has no room. They are counted in
    *ways*. Raises FileTruncatedError at a premature end of file,
    FileUnreadableError and ClientDisconnectedError.
    """
    start, stop = span
    count = min(stop - start, limit)
    try:
        # Never more than is wanted: an excess would leave the kernel waiting for
        # it, and hold back the last segment for 200 ms.
        sent = os.sendfile(client.fileno(), descriptor, start, count)
    except BlockingIOError:
        return 0
    except OSError as error:
        if error.errno in _REFUSED:
            return _copy_span(client, descriptor, span, count, ways)
        raise translate(error) from None
    if sent == 0:  # end of file: someone truncated it under us
        raise FileTruncatedError(stop - start)
    ways.sendfile += sent
    return sent


def translate(error: OSError) -> ClientDisconnectedError | FileUnreadableError:
    """Return what a failed call on a socket and a file means."""
    if error.errno in _DISCONNECTED:
        return ClientDisconnectedError(str(error))
    return FileUnreadableError(str(error))


def _copy_span(
    client: socket.SocketType,
    descriptor: int,
    span: tuple[int, int],
    count: int,
    ways: Ways,
) -> int:
    start, stop = span
    try:
        data = os.pread(descriptor, min(count, COPY_SIZE), start)
        if not data:
            raise FileTruncatedError(stop - start)
        # What does not fit is read again: nothing is held for a slow client.
        sent = client.send(data)
    except BlockingIOError:
        return 0
    except OSError as error:
        raise translate(error) from None
    ways.copied += sent
    return sent
