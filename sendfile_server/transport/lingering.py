"""Look after a connection that nothing more is sent on, or nothing moves on.

A close with unread input makes the kernel send a reset, and the reset makes the
client's kernel throw away what the client has not read yet. So input is read,
and thrown away, until the client has seen the end (RFC 9112 section 9.6).
"""

import socket
import struct

_scratch = bytearray(65536)
_ABORT = struct.pack("ii", 1, 0)


def finish_sending(client: socket.SocketType) -> bool:
    """Say that nothing more will come; False if the client is gone already."""
    try:
        client.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return True


def discard(client: socket.SocketType) -> int | None:
    """Throw away what has arrived and return its size; None at its end.

    0 means that nothing has arrived for now.
    """
    try:
        return client.recv_into(_scratch) or None
    except BlockingIOError:
        return 0
    except OSError:
        return None


def abort(client: socket.SocketType) -> None:
    """Make the coming close a reset, which frees what is queued at once."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
