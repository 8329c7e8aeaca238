"""What comes before the bytes of a client: who it is, by the PROXY protocol."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sendfile_server.hosting.clock import Clock
from sendfile_server.hosting.guest import Closed, Guest
from sendfile_server.hosting.proxy_protocol import (
    MAX_SIZE,
    Header,
    NoHeader,
    Route,
    parse_header,
)
from sendfile_server.hosting.trust import address_of, is_trusted
from sendfile_server.options import Network, TcpAddress, describe
from sendfile_server.transport.lingering import abort

_log = logging.getLogger(__name__)

_NOTHING = NoHeader("the stream ended")


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a worker listens to whom a proxy tells of."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    trusted: Sequence[Network]
    timeout: float
    """Seconds for the whole header."""
    refused: Callable[[], None]
    """Is told that somebody came on other terms."""


class Greeting:
    """A client that a proxy has to tell of first; then it is a guest like others.

    Whoever is not trusted, or sends no header in time, is reset: what else it sent
    goes nowhere, and it must not believe otherwise.
    """

    def __init__(
        self,
        client: socket.SocketType,
        peer: object,
        terms: Terms,
        admit: Callable[[Route | None, Closed], Guest],
        closed: Closed,
    ) -> None:
        """Take over *client*, non-blocking; *peer* is its address.

        *admit* makes a guest of it, once it is known who it is; *closed* is told
        when it is no more.
        """
        self._client = client
        self._peer = peer
        self._terms = terms
        self._admit = admit
        self._closed = closed
        self._received = b""
        self._is_watched = False
        self._guest: Guest | None = None
        self._deadline = terms.clock.elapsed + terms.timeout

    @property
    def deadline(self) -> float:
        """When `expire` is due, by the clock's elapsed seconds."""
        return self._guest.deadline if self._guest else self._deadline

    @property
    def is_idle(self) -> bool:
        """Tell whether closing it now would cut nothing short, as far as is known."""
        return self._guest.is_idle if self._guest else not self._received

    def read(self) -> None:
        """Begin: listen to whom is to be believed."""
        if self._guest:
            self._guest.read()
        elif is_trusted(address_of(self._peer), self._terms.trusted):
            self._listen()
        else:
            self._refuse("not a trusted proxy")

    def expire(self) -> None:
        """Give up: the header has not come, or its guest is to be ended."""
        if self._guest:
            self._guest.expire()
        else:
            self._refuse("no whole PROXY header in time")

    def close(self) -> None:
        """End at once."""
        if self._guest:
            self._guest.close()
            return
        self._unwatch()
        self._client.close()
        self._closed(self)

    def _listen(self) -> None:
        # Nothing is taken but the header: what follows is for the guest to take, or
        # for the kernel to answer with a reset.
        try:
            # No header is longer, so there is always room for some more.
            data = self._client.recv(MAX_SIZE - len(self._received), socket.MSG_PEEK)
        except BlockingIOError:
            self._watch()
            return
        except OSError as error:
            self._refuse(error.strerror or str(error))
            return
        heard = parse_header(self._received + data) if data else _NOTHING
        match heard:
            case Header():
                self._client.recv(heard.size - len(self._received))
                self._unwatch()
                self._guest = guest = self._admit(heard.route, self._end)
                guest.read()
            case NoHeader():
                self._refuse(f"no PROXY header: {heard.reason}")
            case None:
                self._received += self._client.recv(len(data))
                self._watch()

    def _end(self, _guest: Guest) -> None:
        self._guest = None  # it has us, too: only a collector would let go of both
        self._closed(self)

    def _refuse(self, reason: str) -> None:
        _log.warning("refused %s: %s", _describe_peer(self._peer), reason)
        self._terms.refused()
        abort(self._client)
        self.close()

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            self._terms.loop.add_reader(self._client.fileno(), self._listen)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._terms.loop.remove_reader(self._client.fileno())


def _describe_peer(peer: object) -> str:
    match peer:
        case (str(host), int(port), *_):
            return describe(TcpAddress(host, port))
        case _:
            return "the peer of a Unix socket"
