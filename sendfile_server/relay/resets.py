"""Resets of sockets that nobody waits for.

Where nothing is to be read for now, what has come or an end would wake the loop
again and again. So of all these sockets at once the kernel is asked, now and then.
"""

import select
import socket
from collections.abc import Iterable
from typing import Protocol


def is_gone(sock: socket.SocketType) -> bool:
    """Tell whether TCP has ended both ways (POLLHUP), of which we have ended none."""
    if sock.family == socket.AF_UNIX:
        return False  # whoever has closed is gone, too
    poll = select.poll()
    poll.register(sock, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


class Breakable(Protocol):
    """A connection that may be reset where nobody waits for it."""

    @property
    def unwatched(self) -> list[socket.SocketType]:
        """The sockets that may be reset without anyone being told."""

    def break_off(self) -> None:
        """Reset both sides: one of them is no more, and the other must know."""

    def cut_short(self) -> None:
        """Close, by a reset if a side would miss what has come: it has not ended."""


def break_reset(connections: Iterable[Breakable]) -> None:
    """Break those of *connections* one side of which was reset (poll(2), POLLERR).

    An end is none, even of both directions (POLLHUP): bytes may wait before it.
    """
    poll = select.poll()
    owners = {}
    for connection in connections:
        for sock in connection.unwatched:
            owners[sock.fileno()] = connection
            poll.register(sock, 0)
    for number, events in poll.poll(0):
        if events & select.POLLERR:
            owners[number].break_off()
