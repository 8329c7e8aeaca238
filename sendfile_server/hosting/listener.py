"""Accept connections from one listening socket.

Each readiness event is for one of them, since accepting until there is none would
let one worker take them all; one that has many more than another leaves the next to
it, for a moment. Only a worker that is alone takes several at once, and one that has
waited for others who accept nobody.

Error handling: a connection that was given up before it could be accepted is
nothing. At any other error, such as to be out of descriptors or memory (accept(2)),
accepting pauses, and is tried again when a connection closes or a second has passed;
the queue of the kernel holds whoever comes meanwhile.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

from sendfile_server.hosting.census import Place

_log = logging.getLogger(__name__)

# Long enough for a worker that is awake, and for others short enough.
_TURN_OF_OTHERS_S = 0.001
# So many are accepted at once before those who have come get their turn.
_BURST = 16

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
    """One listening socket in one worker."""

    def __init__(
        self,
        sock: socket.socket,
        loop: asyncio.AbstractEventLoop,
        place: Place,
        take: Callable[[socket.SocketType, Any], None],
    ) -> None:
        """Prepare; *take* is given each non-blocking socket, and its peer's address."""
        self._socket = sock
        # As plain numbers, which take no time to convert.
        self._kind = int(sock.family), int(sock.type), sock.proto
        self._loop = loop
        self._place = place
        self._take = take
        self._at_once = _BURST if place.workers == 1 else 1
        self._is_accepting = False
        self._has_failed = False

    def resume(self) -> None:
        """Accept, or go on accepting."""
        if not self._is_accepting:
            self._is_accepting = True
            self._loop.add_reader(self._socket.fileno(), self._accept_in_turn)

    def pause(self) -> None:
        """Leave whoever comes in the kernel's queue."""
        if self._is_accepting:
            self._is_accepting = False
            self._loop.remove_reader(self._socket.fileno())

    def stop(self) -> None:
        """Take in who is in the queue already, then accept no more."""
        self.resume()
        while self._is_accepting and self._accept():
            pass
        self.pause()
        self._socket.close()

    def _accept_in_turn(self) -> None:
        if self._place.is_ahead():
            self._loop.remove_reader(self._socket.fileno())
            others = self._place.others()
            self._loop.call_later(_TURN_OF_OTHERS_S, self._accept_after_others, others)
            return
        self._accept_some(self._at_once)

    def _accept_after_others(self, former: int) -> None:
        if self._is_accepting:
            self._loop.add_reader(self._socket.fileno(), self._accept_in_turn)
            # Whoever is still there was left alone by all others. If they had nothing
            # to do with connections at all, they may have been stopped, or be dead.
            is_idle = self._place.others() == former
            self._accept_some(_BURST if is_idle else 1)

    def _accept_some(self, count: int) -> None:
        for _ in range(count):
            if not (self._is_accepting and self._accept()):
                return

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
            self._pause_failed(error)
            return False
        self._has_failed = False
        client = socket.SocketType(*self._kind, number)
        client.setblocking(False)
        self._take(client, address)
        return True

    def _pause_failed(self, error: OSError) -> None:
        self.pause()
        if not self._has_failed:
            self._has_failed = True
            _log.error("accepting pauses: %s", error.strerror)
