"""Room in a socket's queue: how much there is, how much is in use, and who waits."""

import contextlib
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Iterator

_INT = struct.Struct("i")
_TIMEVAL = struct.Struct("ll")
# tcpi_bytes_acked in struct tcp_info, of <linux/tcp.h>.
_ACKNOWLEDGED = struct.Struct("Q")
_ACKNOWLEDGED_AT = 120


def deepen_queue(client: socket.SocketType, size: int) -> None:
    """Let the kernel take *size* bytes that are not on their way yet (tcp(7))."""
    if client.family != socket.AF_UNIX:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)


def unacknowledged(client: socket.SocketType) -> int:
    """Count the bytes that the client has not taken yet (SIOCOUTQ, tcp(7))."""
    return _count(client, termios.TIOCOUTQ)


def unread(sock: socket.SocketType) -> int:
    """Count the bytes that have come and were not taken (SIOCINQ, tcp(7))."""
    return _count(sock, termios.FIONREAD)


def acknowledged(client: socket.SocketType) -> int:
    """Count the bytes that the client's kernel has ever taken (TCP_INFO, tcp(7))."""
    size = _ACKNOWLEDGED_AT + _ACKNOWLEDGED.size
    info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    count: int = _ACKNOWLEDGED.unpack_from(info, _ACKNOWLEDGED_AT)[0]
    return count


def let_wait(sock: socket.SocketType, receive_ms: int, send_ms: int) -> None:
    """Let calls on *sock* wait for what has come or for room, for so long each time.

    A call that has waited in vain returns as one that would block (SO_RCVTIMEO and
    SO_SNDTIMEO, socket(7)).
    """
    for option, timeout_ms in (
        (socket.SO_RCVTIMEO, receive_ms),
        (socket.SO_SNDTIMEO, send_ms),
    ):
        timeout = _TIMEVAL.pack(*divmod(timeout_ms * 1000, 1_000_000))
        sock.setsockopt(socket.SOL_SOCKET, option, timeout)
    os.set_blocking(sock.fileno(), True)


@contextlib.contextmanager
def waiting(client: socket.SocketType, timeout_ms: int) -> Iterator[None]:
    """Let calls on *client* wait meanwhile; see `let_wait`.

    Nobody else may use it but to shut it down.
    """
    let_wait(client, timeout_ms, timeout_ms)
    try:
        yield
    finally:
        os.set_blocking(client.fileno(), False)


def _count(sock: socket.SocketType, request: int) -> int:
    count: int = _INT.unpack(fcntl.ioctl(sock.fileno(), request, bytes(_INT.size)))[0]
    return count
