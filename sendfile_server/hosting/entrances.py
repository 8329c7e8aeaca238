"""Where clients come in, from one configuration to the next.

A socket that is listened on already is taken as it is: nobody is refused, and who
waits in its queue is not lost.
"""

import contextlib
import os
import socket
from itertools import chain

from sendfile_server.errors import ConfigError
from sendfile_server.hosting.activation import Listening, Place
from sendfile_server.hosting.sockets import Inherited, inherit, listen, remove_left
from sendfile_server.options import Access, Entrance, GivenSocket, UnixAddress, describe


class Entrances:
    """The sockets of one configuration; those of the one before are at hand."""

    def __init__(self, before: Listening, access: Access) -> None:
        """Prepare to take what is listened on *before*; *access* is for new ones."""
        self._access = access
        self._given = {k: v for k, v in before.items() if _is_given(k)}
        self._before = before
        self._open: Listening = {}

    def next(self, access: Access) -> "Entrances":
        """Return those of the next configuration."""
        return Entrances(self._before | self.passed_on, access)

    @property
    def given(self) -> tuple[GivenSocket, ...]:
        """What was given by name, whether anyone asked for it or not."""
        return tuple(e for e, _ in self._given if isinstance(e, GivenSocket))

    @property
    def unused(self) -> tuple[GivenSocket, ...]:
        """What was given, and nobody asked for."""
        return tuple(each for each in self.given if (each, 0) not in self._open)

    @property
    def passed_on(self) -> Listening:
        """What another program needs to go on from here."""
        return self._given | self._open

    def open(
        self, entrance: Entrance, inherited: Inherited = ()
    ) -> list[socket.socket]:
        """Return listening sockets for *entrance*, or raise ConfigError."""
        place = entrance, sum(asked == entrance for asked, _ in self._open)
        known = self._given | self._before
        if place in known:
            self._open[place] = known[place]
            inherit(known[place], inherited)
        elif isinstance(entrance, GivenSocket):
            why = "asked for twice" if place[1] else "not given"
            raise ConfigError(f"cannot listen on {describe(entrance)}: {why}")
        else:
            self._open[place] = listen(entrance, inherited, self._access)
        return self._open[place]

    def take_over(self) -> None:
        """End what only the one before listened on."""
        self.close_former()
        for path in _paths(self._former):
            _unlink(path)
        self._before = {}

    def close_former(self) -> None:
        """Let go of the same in this process."""
        _close(self._former)

    def give_up(self) -> None:
        """End what only this one listened on."""
        self.close_own()
        for path in _paths(self._own):
            _unlink(path)

    def close_own(self) -> None:
        """Let go of the same in this process."""
        _close(self._own)

    def close(self) -> None:
        """Let go of everything in this process: nobody is to wait in vain."""
        _close(self.passed_on)

    def remove_files(self) -> None:
        """Remove what Unix sockets leave behind, once nobody of ours listens."""
        for path in _paths(self._own):
            remove_left(path)

    @property
    def _own(self) -> Listening:
        return {k: v for k, v in self._open.items() if k not in self._before}

    @property
    def _former(self) -> Listening:
        # A given one stays: the next configuration may ask for it.
        kept = self.passed_on
        return {k: v for k, v in self._before.items() if k not in kept}


def _close(listening: Listening) -> None:
    for sock in chain.from_iterable(listening.values()):
        sock.close()


def _is_given(place: Place) -> bool:
    return isinstance(place[0], GivenSocket)


def _paths(listening: Listening) -> list[str]:
    return [each.path for each, _ in listening if isinstance(each, UnixAddress)]


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
