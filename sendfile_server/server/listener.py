"""Accept connections from one listening socket, one for each readiness event.

Accepting until there is none would let one worker take them all. One that has many
more than another leaves the next to it, for a moment.

Error handling: a connection that was given up before it could be accepted is
nothing. Out of descriptors or memory (accept(2)), accepting pauses, and is tried
again when a connection closes or a second has passed; the queue of the kernel
holds whoever comes meanwhile.
"""

import errno
import logging
import socket
from collections.abc import Callable

from sendfile_server.server.connection import Connection
from sendfile_server.server.pool import Pool
from sendfile_server.server.responder import Responder
from sendfile_server.server.service import Service

_log = logging.getLogger(__name__)

# Long enough for a worker that is awake, and for others short enough.
_TURN_OF_OTHERS_S = 0.001

_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))
_GIVEN_UP = frozenset(
    (
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.EPERM,  # a firewall
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
    )
)


class Listener:
    """One listening socket in one worker, with the connections that came by it."""

    def __init__(
        self,
        sock: socket.socket,
        service: Service,
        pool: Pool,
        opened: Callable[[Connection], None],
        closed: Callable[[Connection], None],
    ) -> None:
        """Prepare; *opened* and *closed* are told of each connection."""
        self._socket = sock
        # As plain numbers, which take no time to convert.
        self._kind = int(sock.family), int(sock.type), sock.proto
        self._is_tcp = sock.family != socket.AF_UNIX
        self._service = service
        self._responder = Responder(service, pool)
        self._opened = opened
        self._closed = closed
        self._is_accepting = False
        self._is_exhausted = False

    def resume(self) -> None:
        """Accept, or go on accepting."""
        if not self._is_accepting:
            self._is_accepting = True
            self._service.loop.add_reader(self._socket.fileno(), self._accept_in_turn)

    def pause(self) -> None:
        """Leave whoever comes in the kernel's queue."""
        if self._is_accepting:
            self._is_accepting = False
            self._service.loop.remove_reader(self._socket.fileno())

    def stop(self) -> None:
        """Take in who is in the queue already, then accept no more."""
        self.resume()
        while self._is_accepting and self._accept():
            pass
        self.pause()
        self._socket.close()

    def _accept_in_turn(self) -> None:
        if not self._service.place.is_ahead():
            self._accept()
            return
        self._service.loop.remove_reader(self._socket.fileno())
        self._service.loop.call_later(_TURN_OF_OTHERS_S, self._accept_after_others)

    def _accept_after_others(self) -> None:
        if self._is_accepting:
            self._service.loop.add_reader(self._socket.fileno(), self._accept_in_turn)
            self._accept()  # whoever is still there was left alone by all others

    def _accept(self) -> bool:
        """Take one connection; False if there is none."""
        try:
            # What `accept` of the standard library calls: its wrapping in a class
            # costs as much as the system call.
            number, address = self._socket._accept()  # type: ignore[attr-defined]  # noqa: SLF001
        except BlockingIOError:
            return False  # another worker was faster
        except OSError as error:
            if error.errno in _GIVEN_UP:
                return True
            if error.errno not in _EXHAUSTED:
                raise
            self._pause_exhausted(error)
            return False
        self._is_exhausted = False
        client = socket.SocketType(*self._kind, number)
        client.setblocking(False)
        peer = address[0].encode() if self._is_tcp else b"unix:"
        connection = Connection(
            client, peer, self._service, self._responder, self._closed
        )
        self._opened(connection)
        # Most often the request is there already; then a connection that does
        # not stay is never registered with the loop.
        connection.read()
        return True

    def _pause_exhausted(self, error: OSError) -> None:
        self.pause()
        if not self._is_exhausted:
            self._is_exhausted = True
            _log.error("accepting pauses: %s", error.strerror)
