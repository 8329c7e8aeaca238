"""One connection: the stages called in order, for one request after another.

Rules of this file:

1. Everything runs on the loop; only what is given to a pool does not.
2. A connection has one owner, the loop or a job. While a job sends on it, its
   `Delivery` may shut the socket down, and the end of the job closes it.
3. `close` is the only place that closes, and it takes the descriptor off the
   loop first: a forgotten registration would poison its number.
4. End of stream from the client is a half-close: what was asked is finished.
"""

import logging
import socket
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from sendfile_server.errors import (
    ClientDisconnectedError,
    ProtocolError,
    TransferError,
)
from sendfile_server.protocol.gate import Gate
from sendfile_server.protocol.parser import parse_head
from sendfile_server.resource.files import OpenFile, read
from sendfile_server.resource.resolver import Outcome
from sendfile_server.response.heads import Plan, format_head
from sendfile_server.response.plan import plan_response, plan_without_file
from sendfile_server.response.refusals import plan_refusal
from sendfile_server.semantics.ranges import Span
from sendfile_server.semantics.representations import Refusal
from sendfile_server.semantics.requests import Request
from sendfile_server.server.access_log import Record
from sendfile_server.server.delivery import LOOP_QUANTUM, Delivery
from sendfile_server.server.service import Pools, Service
from sendfile_server.transport.lingering import discard, finish_sending

_log = logging.getLogger(__name__)

# Holds the largest head that the gate lets pass, so that one call is enough.
_RECEIVE_SIZE = 65536
# Pipelined heads that are answered before others get their turn.
_HEADS_PER_TURN = 16
# Up to here, head and body leave in one send: cheaper than two system calls.
_SMALL_BODY = 65536
# How long a lingering close reads, in seconds of silence and in all, and how much.
_LINGER_SILENCE_S = 5
_LINGER_S = 30
_LINGER_BYTES = 1024 * 1024


class _Phase(Enum):
    READING = auto()
    """Waiting for a head; the only phase in which heads are taken."""
    ASKING = auto()
    """A job finds or reads the file; nothing has been sent yet."""
    SENDING = auto()
    LINGERING = auto()
    CLOSED = auto()


class Connection:
    """A client's connection, from accept to close."""

    __slots__ = (
        "_client",
        "_closed",
        "_delivery",
        "_discarded",
        "_gate",
        "_has_ended",
        "_head",
        "_head_size",
        "_is_reading",
        "_keeps_alive",
        "_linger_end",
        "_peer",
        "_phase",
        "_pools",
        "_requests",
        "_service",
        "_status",
        "deadline",
    )

    def __init__(
        self,
        client: socket.socket,
        peer: bytes,
        service: Service,
        pools: Pools,
        closed: Callable[["Connection"], None],
    ) -> None:
        """Take over *client*, non-blocking; *closed* is told when it is no more."""
        self._client = client
        self._peer = peer
        self._service = service
        self._pools = pools
        self._closed = closed
        self._gate = Gate()
        self._phase = _Phase.READING
        self._requests = 0
        self._has_ended = False
        self._is_reading = False
        self._discarded = 0
        self._linger_end = 0
        # Of the response that is under way.
        self._head = b""
        self._head_size = 0
        self._status = 0
        self._keeps_alive = False
        self._delivery: Delivery | None = None
        self.deadline = service.clock.elapsed + service.config.header_timeout
        """When `expire` is due, by the clock's elapsed seconds."""

    @property
    def is_idle(self) -> bool:
        """Tell whether no request is under way, as far as is known."""
        return self._phase is _Phase.READING and not len(self._gate)

    # Reading.

    def read(self) -> None:
        """Receive what has come, and serve what is complete."""
        if self._phase is _Phase.LINGERING:
            self._discard()
            return
        if self._phase is not _Phase.READING:
            # An unread byte or end of stream would wake the loop for ever.
            self._stop_reading()
            return
        answered = self._requests
        # Whoever sends nothing back must look for a reset itself: libuv tells of
        # one only once, maybe together with the bytes that came before it.
        while self._phase is _Phase.READING and self._requests == answered:
            if not self._receive():
                return
            self._serve()

    def _receive(self) -> bool:
        """Take in what has come; False if nothing has, or nothing ever will."""
        try:
            data = self._client.recv(_RECEIVE_SIZE)
        except BlockingIOError:
            self._want_read()
            return False
        except OSError:
            self.close()
            return False
        if not data:
            self._has_ended = True
            self._stop_reading()
        elif self.is_idle:
            self._set_deadline(self._service.config.header_timeout)
        self._gate.feed(data)
        return True

    def _serve(self) -> None:
        """Answer the heads that are buffered, in order."""
        for _ in range(_HEADS_PER_TURN):
            if self._phase is not _Phase.READING or not self._serve_one():
                return
        self._service.loop.call_soon(self._serve)

    def _serve_one(self) -> bool:
        """Take and answer one head; False if the loop has to come back for it."""
        self._head = b""
        try:
            head = self._gate.take_head()
            if head is None:
                self._await_input()
                return False
            self._head = head
            self._requests += 1
            request = parse_head(head)
        except ProtocolError as error:
            return self._refuse(error.status)
        return self._answer(request)

    def _await_input(self) -> None:
        if not self._has_ended:
            self._want_read()
        elif len(self._gate):
            self._refuse(400)
        else:
            self.close()

    # Deciding.

    def _answer(self, request: Request) -> bool:
        service = self._service
        self._keeps_alive = (
            request.keeps_alive
            and not request.has_body
            and self._requests < service.config.keepalive_requests
            and not service.is_draining
        )
        plan = plan_without_file(request)
        if plan is not None:
            return self._send(request, plan, None)
        now = service.clock.now
        outcome = service.resolver.try_resolve(request.target, now)
        if outcome is not None:
            return self._respond(request, outcome)
        return self._ask_pool(
            request,
            lambda: service.resolver.resolve(request.target, now),
            lambda outcome: self._respond(request, outcome),
        )

    def _respond(self, request: Request, outcome: Outcome) -> bool:
        now = self._service.clock.now
        if not isinstance(outcome, OpenFile):
            return self._send(request, plan_response(request, outcome, now), None)
        plan = plan_response(request, outcome.representation, now)
        spans = [chunk for chunk in plan.body if isinstance(chunk, Span)]
        if not spans:
            return self._send(request, plan, None)
        if plan.body_size <= _SMALL_BODY:
            return self._send_small(request, plan, outcome, spans)
        first = spans[0]
        stop = min(first.stop, first.start + LOOP_QUANTUM)
        if not self._pools.cold.has_room and not self._service.residency.is_warm(
            outcome, first.start, stop
        ):
            return self._respond(request, Refusal(503))
        return self._send(request, plan, outcome)

    def _send_small(
        self, request: Request, plan: Plan, file: OpenFile, spans: list[Span]
    ) -> bool:
        """Send *plan* with its spans read, so that it leaves in one piece."""
        residency = self._service.residency
        tried = [residency.try_read(file, span.start, span.stop) for span in spans]
        pieces = [piece for piece in tried if piece is not None]
        if len(pieces) == len(spans):
            return self._send(request, plan.filled(pieces), None)

        def then(pieces: list[bytes]) -> bool:
            if sum(map(len, pieces)) < sum(map(len, spans)):
                # It became shorter since it was opened, and nothing was promised.
                return self._answer(request)
            for span in spans:
                residency.note_sent(file, span.start, span.stop)
            return self._send(request, plan.filled(pieces), None)

        return self._ask_pool(
            request,
            lambda: [read(file, span.start, span.stop) for span in spans],
            then,
        )

    def _ask_pool(
        self,
        request: Request,
        job: Callable[[], Any],
        then: Callable[[Any], bool],
    ) -> bool:
        """Run *job* before anything is sent, and go on with its result."""
        if not self._pools.cold.has_room:
            return self._respond(request, Refusal(503))

        def done(result: Any) -> None:  # noqa: ANN401 - as the job's
            if self._phase is not _Phase.ASKING:
                return  # it took too long, and the client has been told so
            if isinstance(result, Exception):
                _log.error("a job failed", exc_info=result)
                is_sent = self._respond(request, Refusal(500))
            else:
                is_sent = then(result)
            if is_sent:
                self._serve()

        self._phase = _Phase.ASKING
        self._set_deadline(self._service.config.send_timeout)
        self._pools.cold.submit(job, done)
        return False

    # Sending.

    def _refuse(self, status: int) -> bool:
        """Answer what is no request, or did not come in time; then close."""
        self._keeps_alive = False
        self._head = self._head or self._gate.first_line()
        return self._begin(plan_refusal(status), b"close", None)

    def _send(self, request: Request, plan: Plan, file: OpenFile | None) -> bool:
        if not self._keeps_alive:
            return self._begin(plan, b"close", file)
        return self._begin(plan, b"keep-alive" if request.is_http_1_0 else b"", file)

    def _begin(self, plan: Plan, connection: bytes, file: OpenFile | None) -> bool:
        """Send *plan*; True if it was sent whole and the next head may follow."""
        head = format_head(plan, self._service.clock.now, connection)
        chunks = (head, *plan.body) if file else _join(head, plan.body)
        self._phase = _Phase.SENDING
        self._status = plan.status
        self._head_size = len(head)
        self._set_deadline(self._service.config.send_timeout)
        self._delivery = Delivery(
            self._client, chunks, file, self._service, self._pools
        )
        try:
            return self._delivery.start(self._delivered) and self._finish()
        except TransferError as error:
            self._abort(error)
            return False

    def _delivered(self, error: TransferError | None) -> None:
        if error:
            self._abort(error)
        elif self._finish():
            self._serve()

    def _finish(self) -> bool:
        """End a response that was sent whole; True if the connection goes on."""
        self._tell()
        self._delivery = None
        if not self._keeps_alive:
            self._linger()
            return False
        self._phase = _Phase.READING
        config = self._service.config
        is_begun = len(self._gate)
        self._set_deadline(
            config.header_timeout if is_begun else config.keepalive_timeout
        )
        return True

    def _abort(self, error: TransferError) -> None:
        """End a response that can't be finished: the client sees it cut short."""
        self._tell()
        self._delivery = None
        if not isinstance(error, ClientDisconnectedError):
            request_line = self._head.partition(b"\r\n")[0]
            peer = self._peer.decode()
            _log.warning("%s: %r cut short: %s", peer, request_line, error)
        self.close()

    def _tell(self) -> None:
        log, delivery = self._service.access_log, self._delivery
        if log and delivery:
            sent = max(0, delivery.sent - self._head_size)
            now = self._service.clock.now
            log.append(Record(self._peer, now, self._head, self._status, sent))

    # Waiting and closing.

    def expire(self) -> None:
        """Act on the deadline, which has passed."""
        match self._phase:
            case _Phase.READING if len(self._gate):
                self._refuse(408)
            case _Phase.ASKING:
                self._refuse(503)
            case _Phase.SENDING:
                self._check_progress()
            case _:
                self.close()

    def close(self) -> None:
        """Take the descriptor off the loop and close it; the one place that does.

        A response that is under way is given up first, and comes back here.
        """
        if self._phase is _Phase.CLOSED:
            return
        if self._delivery:
            self._delivery.give_up()
            return
        self._phase = _Phase.CLOSED
        self._stop_reading()
        self._client.close()
        self._closed(self)

    def _check_progress(self) -> None:
        delivery = self._delivery
        if delivery is None:
            self.close()  # its sending failed in a way that nobody foresaw
            return
        timeout = self._service.config.send_timeout
        if delivery.progressed + timeout > self._service.clock.elapsed:
            self.deadline = delivery.progressed + timeout
        elif delivery.is_stalled():
            delivery.give_up()
        else:
            self._set_deadline(timeout)

    def _linger(self) -> None:
        if self._has_ended or not finish_sending(self._client):
            self.close()
            return
        self._phase = _Phase.LINGERING
        self._linger_end = self._service.clock.elapsed + _LINGER_S
        self._discard()

    def _discard(self) -> None:
        # Until there is no more, for the same reason as in `read`.
        while count := discard(self._client):
            self._discarded += count
            if self._discarded > _LINGER_BYTES:
                break
        if count != 0:
            self.close()
            return
        self._set_deadline(_LINGER_SILENCE_S)
        self.deadline = min(self.deadline, self._linger_end)
        self._want_read()

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = self._service.clock.elapsed + seconds

    def _want_read(self) -> None:
        if not self._is_reading:
            self._is_reading = True
            self._service.loop.add_reader(self._client.fileno(), self.read)

    def _stop_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._service.loop.remove_reader(self._client.fileno())


def _join(head: bytes, body: tuple[bytes | Span, ...]) -> tuple[bytes]:
    """Make one piece of a response without spans, so that it takes one send."""
    return (b"".join((head, *(part for part in body if isinstance(part, bytes)))),)
