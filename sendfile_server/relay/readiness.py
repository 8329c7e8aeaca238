"""Which sockets are ready, as one epoll of the relay's own tells.

A loop makes a handle of each registration, asks the kernel once more not to block on
the socket, and takes three calls to remove it: together more than all else that a
short connection needs. Here the loop watches nothing but the epoll, which is ready
when something in it is (epoll(7)), and closing a socket takes it out.
"""

import asyncio
import select
import socket
from collections.abc import Callable

Resume = Callable[[], None]

_READ, _WRITE = select.EPOLLIN, select.EPOLLOUT
# So many are told of before the loop has its turn.
_MOST = 256


class Readiness:
    """What is waited for in one worker; used on the loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell of it on *loop*."""
        self.epoll = select.epoll()
        self.sides: dict[int, Side] = {}
        """Those that are in it, by descriptor."""
        loop.add_reader(self.epoll.fileno(), self._tell)

    def _tell(self) -> None:
        ready = self.epoll.poll(0, _MOST)
        # Found before anyone is told: who is, may close one of them, and open another
        # by the same number.
        for side, events in [(self.sides.get(each), what) for each, what in ready]:
            if side:
                side.tell(events)


class Side:
    """One socket, and who goes on when it is ready; nobody at first."""

    __slots__ = ("_events", "_number", "_read", "_readiness", "_write")

    def __init__(self, sock: socket.SocketType, readiness: Readiness) -> None:
        """Prepare; `leave` must be called before *sock* is closed."""
        self._number = sock.fileno()
        self._readiness = readiness
        self._events = 0
        self._read: Resume | None = None
        self._write: Resume | None = None

    def when_readable(self, resume: Resume | None) -> None:
        """Call *resume* whenever there is something to read, an end or an error."""
        self._read = resume
        self._follow((_READ if resume else 0) | (self._events & _WRITE))

    def when_writable(self, resume: Resume | None) -> None:
        """Call *resume* whenever there is room to write, or an error."""
        self._write = resume
        self._follow((_WRITE if resume else 0) | (self._events & _READ))

    def tell(self, events: int) -> None:
        """Call those who wait for one of *events*: an error is for all."""
        if self._read and events & ~_WRITE:
            self._read()
        if self._write and events & ~_READ:
            self._write()

    def leave(self) -> None:
        """Call nobody any more."""
        self._read = self._write = None
        if self._events:
            self._events = 0
            del self._readiness.sides[self._number]

    def _follow(self, events: int) -> None:
        before = self._events
        if events == before:
            return
        self._events = events
        epoll, sides = self._readiness.epoll, self._readiness.sides
        if not before:
            sides[self._number] = self
            epoll.register(self._number, events)
        elif events:
            epoll.modify(self._number, events)
        else:
            # Otherwise an end of both directions would be told for ever.
            del sides[self._number]
            epoll.unregister(self._number)
