"""One request for a page about the server, its answer, and a close.

It is asked seldom, and by few: so each connection has one exchange. Everything
runs on the loop, and no page takes long to make.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping

from sendfile_server.errors import ProtocolError
from sendfile_server.hosting.clock import Clock
from sendfile_server.hosting.guest import Closed
from sendfile_server.protocol.gate import Gate
from sendfile_server.protocol.parser import parse_head
from sendfile_server.response.heads import Plan, format_head
from sendfile_server.response.refusals import plan_options, plan_refusal
from sendfile_server.semantics.methods import ALLOWED, REGISTERED
from sendfile_server.semantics.requests import Request
from sendfile_server.transport.farewell import Farewell
from sendfile_server.transport.lingering import finish_sending

# For a request to come, and for its answer to be taken.
_TIMEOUT_S = 10

Pages = Mapping[bytes, Callable[[], Plan]]
"""What makes the page of each request target."""


class Exchange:
    """A client that is given one of *pages*."""

    def __init__(
        self,
        client: socket.SocketType,
        pages: Pages,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        closed: Closed,
    ) -> None:
        """Take over *client*, non-blocking; *closed* is told when it is no more."""
        self._client = client
        self._pages = pages
        self._loop = loop
        self._clock = clock
        self._closed = closed
        self._gate = Gate()
        self._unsent = b""
        self._farewell: Farewell | None = None
        self.deadline: float = clock.elapsed + _TIMEOUT_S
        """When `expire` is due, by the clock's elapsed seconds."""
        loop.add_reader(client.fileno(), self.read)

    @property
    def is_idle(self) -> bool:
        """Tell whether closing it now would cut nothing short."""
        return self._farewell is not None

    def read(self) -> None:
        """Take in what has come: some of the request, or what is thrown away."""
        if self._farewell:
            self._leave(self._farewell)
            return
        try:
            data = self._client.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._gate.feed(data)
        wire = self._answer()
        if wire:
            self._unsent = wire
            self._loop.remove_reader(self._client.fileno())
            self._send()

    def expire(self) -> None:
        """Give up."""
        self.close()

    def close(self) -> None:
        """Take the socket off the loop and close it."""
        self._loop.remove_reader(self._client.fileno())
        self._loop.remove_writer(self._client.fileno())
        self._client.close()
        self._closed(self)

    def _answer(self) -> bytes:
        """Return the response to what has come so far; nothing if it needs more."""
        is_head = self._gate.first_line().startswith(b"HEAD ")
        try:
            head = self._gate.take_head()
            if head is None:
                return b""
            request = parse_head(head)
        except ProtocolError as error:
            plan = plan_refusal(error.status)
        else:
            plan = self._plan(request)
        head = format_head(plan, self._clock.now, b"close")
        if is_head:
            plan = plan.without_body
        # No page is made of spans.
        body = [part for part in plan.body if isinstance(part, bytes)]
        return b"".join((head, *body))

    def _plan(self, request: Request) -> Plan:
        if request.method == b"OPTIONS":
            return plan_options()
        if request.method not in ALLOWED:
            return plan_refusal(405 if request.method in REGISTERED else 501)
        make_page = self._pages.get(request.target.partition(b"?")[0])
        return make_page() if make_page else plan_refusal(404)

    def _send(self) -> None:
        try:
            sent = self._client.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._loop.add_writer(self._client.fileno(), self._send)
            return
        self._loop.remove_writer(self._client.fileno())
        if not finish_sending(self._client):
            self.close()
            return
        self._farewell = Farewell(self._client, self._clock.elapsed)
        self._loop.add_reader(self._client.fileno(), self.read)

    def _leave(self, farewell: Farewell) -> None:
        deadline = farewell.read(self._clock.elapsed)
        if deadline is None:
            self.close()
        else:
            self.deadline = deadline
