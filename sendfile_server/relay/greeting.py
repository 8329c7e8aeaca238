"""What comes before the bytes of a client: who it is, by the PROXY protocol."""

import logging
import socket

from sendfile_server.hosting.guest import Closed
from sendfile_server.hosting.proxy_protocol import (
    FORMATS,
    MAX_SIZE,
    Header,
    NoHeader,
    Route,
    parse_header,
    route_between,
)
from sendfile_server.hosting.trust import is_trusted
from sendfile_server.options import Address, TcpAddress, describe
from sendfile_server.relay.connection import Relayed
from sendfile_server.relay.service import RelayService
from sendfile_server.transport.lingering import abort

_log = logging.getLogger(__name__)

_NOTHING = NoHeader("the stream ended")


def introduce(
    client: socket.SocketType,
    peer: object,
    version: str | None,
    route: Route | None = None,
) -> bytes:
    """Return the header of *version*, if any, that tells a target of *client*.

    It has *route*, if a proxy before us told one, and else that from *peer* to here.
    """
    if version is None:
        return b""
    return FORMATS[version](route or route_between(peer, client.getsockname()))


class Greeting:
    """A client that a proxy has to tell of first; then it is relayed.

    Whoever is not trusted, or sends no header in time, is reset: what else it sent
    goes nowhere, and it must not believe otherwise.
    """

    def __init__(
        self,
        client: socket.SocketType,
        peer: object,
        target: Address,
        service: RelayService,
        closed: Closed,
    ) -> None:
        """Take over *client*, as `Relayed` does; *peer* is its address."""
        self._client = client
        self._peer = peer
        self._target = target
        self._service = service
        self._closed = closed
        self._received = b""
        self._is_watched = False
        self._relayed: Relayed | None = None
        self._deadline = service.clock.elapsed + service.config.proxy_timeout

    @property
    def deadline(self) -> float:
        """When `expire` is due, by the clock's elapsed seconds."""
        return self._relayed.deadline if self._relayed else self._deadline

    @property
    def is_idle(self) -> bool:
        """Tell whether closing it would cut nothing short: that is never known."""
        return False

    def read(self) -> None:
        """Begin: listen to whom is to be believed."""
        if is_trusted(self._peer, self._service.config.trusted_proxy):
            self._listen()
        else:
            self._refuse("not a trusted proxy")

    def expire(self) -> None:
        """Give up: the header has not come, or what is relayed is to be ended."""
        if self._relayed:
            self._relayed.expire()
        else:
            self._refuse("no whole PROXY header in time")

    def close(self) -> None:
        """End at once."""
        if self._relayed:
            self._relayed.close()
            return
        self._unwatch()
        self._service.tally.ended += 1
        self._client.close()
        self._closed(self)

    def _listen(self) -> None:
        # Nothing is taken but the header: what follows is for a flow to take, or for
        # the kernel to answer with a reset.
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
                self._relay(heard.route)
            case NoHeader():
                self._refuse(f"no PROXY header: {heard.reason}")
            case None:
                self._received += self._client.recv(len(data))
                self._watch()

    def _relay(self, route: Route | None) -> None:
        self._unwatch()
        version = self._service.config.send_proxy
        self._relayed = Relayed(
            self._client,
            self._target,
            self._service,
            lambda _: self._closed(self),
            introduce(self._client, self._peer, version, route),
        )
        self._relayed.read()

    def _refuse(self, reason: str) -> None:
        _log.warning("refused %s: %s", _describe_peer(self._peer), reason)
        self._service.tally.refused += 1
        abort(self._client)
        self.close()

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            self._service.loop.add_reader(self._client.fileno(), self._listen)

    def _unwatch(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._service.loop.remove_reader(self._client.fileno())


def _describe_peer(peer: object) -> str:
    match peer:
        case (str(host), int(port), *_):
            return describe(TcpAddress(host, port))
        case _:
            return "the peer of a Unix socket"
