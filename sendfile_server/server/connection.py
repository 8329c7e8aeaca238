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
from time import perf_counter

from sendfile_server.errors import (
    ClientDisconnectedError,
    ProtocolError,
    TransferError,
)
from sendfile_server.protocol.gate import MAX_HEAD, MAX_REQUEST_LINE, Gate
from sendfile_server.protocol.parser import parse_head
from sendfile_server.protocol.reduction import cut_range
from sendfile_server.resource.files import OpenFile, is_unchanged
from sendfile_server.response.heads import Plan, format_head
from sendfile_server.response.refusals import plan_refusal
from sendfile_server.semantics.ranges import Span
from sendfile_server.semantics.requests import Request
from sendfile_server.server.delivery import LOOP_QUANTUM, Body, Delivery
from sendfile_server.server.lending import LEAST_LENT
from sendfile_server.server.parts import cut_part
from sendfile_server.server.remembered import NO_KIND, Answer, Kind, Known
from sendfile_server.server.reply import Reply
from sendfile_server.server.responder import Responder
from sendfile_server.server.service import Service
from sendfile_server.transport.farewell import Farewell
from sendfile_server.transport.lending import Loan
from sendfile_server.transport.lingering import finish_sending
from sendfile_server.transport.room import unread
from sendfile_server.transport.sendfile import send_at_once

_log = logging.getLogger(__name__)

# Holds the largest head that the gate lets pass, so that one call is enough.
_RECEIVE_SIZE = 65536
# Python's own allocator gives that much, faster than the one of the C library.
_SMALL_SIZE = 478
# With any request line before it, it is no larger than a head may be.
_MAX_TAIL = MAX_HEAD - MAX_REQUEST_LINE
# Pipelined heads that are answered before others get their turn.
_HEADS_PER_TURN = 16


class _Phase(Enum):
    READING = auto()
    """Waiting for a head; the only phase in which heads are taken."""
    ASKING = auto()
    """A job finds or reads the file; nothing has been sent yet."""
    SENDING = auto()
    LINGERING = auto()
    CLOSED = auto()


_READING = _Phase.READING  # a name that is looked up faster


class Connection:
    """A client's connection, from accept to close."""

    __slots__ = (
        "_asked",
        "_asks_parts",
        "_began",
        "_client",
        "_closed",
        "_delivery",
        "_farewell",
        "_gate",
        "_has_ended",
        "_head_size",
        "_is_reading",
        "_keeps_alive",
        "_kind",
        "_line",
        "_peer",
        "_phase",
        "_receive_size",
        "_requests",
        "_responder",
        "_rest",
        "_service",
        "_status",
        "_tail",
        "deadline",
    )

    def __init__(
        self,
        client: socket.SocketType,
        peer: bytes,
        service: Service,
        responder: Responder,
        closed: Callable[["Connection"], None],
    ) -> None:
        """Take over *client*, non-blocking; *closed* is told when it is no more."""
        self._client = client
        self._peer = peer
        self._service = service
        self._responder = responder
        self._closed = closed
        self._gate: Gate | None = None  # while there is input that awaits its turn
        self._phase = _READING
        self._receive_size = _RECEIVE_SIZE
        self._requests = 0
        self._has_ended = False
        self._is_reading = False
        self._farewell: Farewell | None = None
        # Of the last request that was recognized.
        self._kind, self._tail, self._asks_parts = NO_KIND, b"", False
        # Of the request and response that are under way.
        self._asked: tuple[Kind, bytes] | None = None
        self._line, self._rest = b"", b""  # which are its head
        self._began = 0.0
        self._head_size = 0
        self._status = 0
        self._keeps_alive = False
        self._delivery: Delivery | None = None
        self.deadline = service.clock.elapsed + service.config.header_timeout
        """When `expire` is due, by the clock's elapsed seconds."""

    @property
    def is_idle(self) -> bool:
        """Tell whether no request is under way, as far as is known."""
        return self._phase is _READING and not self._gate

    # Reading.

    def read(self) -> None:
        """Receive what has come, and serve what is complete."""
        if self._phase is not _READING:
            self._read_out_of_turn()
            return
        answered = self._requests
        # Whoever sends nothing back must look for a reset itself: libuv tells of
        # one only once, maybe together with the bytes that came before it.
        while self._phase is _READING and self._requests == answered:
            try:
                data = self._client.recv(self._receive_size)
            except BlockingIOError:
                self._want_read()
                return
            except OSError:
                self.close()
                return
            if self._gate is None and self._recall(data):
                if not self._is_reading and self._phase is _READING:
                    self._want_read()
                return
            self._receive_size = _RECEIVE_SIZE
            self._take_in(data)
            self._serve()

    def _read_out_of_turn(self) -> None:
        if self._farewell:
            self._read_farewell(self._farewell)
        else:
            # An unread byte or end of stream would wake the loop for ever.
            self._stop_reading()

    def _take_in(self, data: bytes) -> None:
        if not data:
            self._has_ended = True
            self._stop_reading()
            return
        if self.is_idle:
            self._set_deadline(self._service.config.header_timeout)
        if self._gate is None:
            self._gate = Gate()
        self._gate.feed(data)

    def _serve(self) -> None:
        """Answer the heads that are buffered, in order."""
        for _ in range(_HEADS_PER_TURN):
            if self._phase is not _READING or not self._serve_one():
                return
        # Nothing more is taken in until what is here is answered.
        self._stop_reading()
        self._service.loop.call_soon(self._serve)

    def _serve_one(self) -> bool:
        """Take and answer one head; False if the loop has to come back for it."""
        try:
            head = self._gate.take_head() if self._gate else None
        except ProtocolError as error:
            return self._refuse(error.status)
        if head is None:
            self._await_input()
            return False
        if not self._gate:
            self._gate = None
        self._began = perf_counter()
        if self._recall(head):
            return self._phase is _READING
        self._requests += 1
        self._line, self._rest = _split(head)
        self._asked = None
        try:
            request = parse_head(head)
        except ProtocolError as error:
            return self._refuse(error.status)
        self._service.memory.learn(head, request)
        return self._answer(request)

    def _await_input(self) -> None:
        if not self._has_ended:
            self._want_read()
        elif self._gate:
            self._refuse(400)
        else:
            self.close()

    # What is remembered goes the short way.

    def _recall(self, head: bytes) -> bool:
        """Answer *head* as its like was answered before; False if none was.

        It may be anything that was received.
        """
        service = self._service
        if self._requests >= service.last_request:
            return False  # the last answer of a connection says so
        # Most often the tail is that of the request before, and the line is known.
        kind, tail, part = self._kind, self._tail, None
        line = head.removesuffix(tail)
        # A line without its tail is no head yet.
        answer = kind.answers.get(line) if line is not head else None
        if answer is None:
            known = self._recognize(head)
            if known is None:
                return False
            kind, line, tail, part = known
            answer = kind.answers.get(line)
        if answer is None or answer.tick != service.memory.now:
            answer = service.memory.recall(kind, line)
        if part:
            answer = cut_part(service, kind, line, answer, part)
        if answer and self._repeat(kind, line, tail, answer):
            return True
        request = kind.request(line, part)
        if request is None:
            return False
        self._requests += 1
        self._began = perf_counter()
        self._line, self._rest = line, tail
        self._asked = None if part else (kind, line)
        self._answer(request)
        return True

    def _recognize(self, head: bytes) -> Known | None:
        """Return what *head* consists of, if its kind is known, and keep the kind."""
        cut = cut_range(head) if self._asks_parts else None
        if cut:
            line = cut[0].removesuffix(self._tail)
            if line in self._kind.answers:
                return self._kind, line, self._tail, cut[1]
        known = self._service.memory.recognize(head)
        if known is None:
            return None
        kind, line, tail, part = known
        if len(head) < _SMALL_SIZE:
            self._receive_size = _SMALL_SIZE
        if kind.keeps_alive and len(tail) <= _MAX_TAIL:
            self._kind, self._tail, self._asks_parts = kind, tail, part is not None
        return known

    def _repeat(self, kind: Kind, line: bytes, tail: bytes, answer: Answer) -> bool:
        """Send *answer* as it is remembered; False if its file is not at hand."""
        service = self._service
        body: Body = answer.loan if answer.span else None
        began = perf_counter() if service.is_timing else 0.0
        if answer.span is None:
            client, size = self._client, answer.size
            loan = answer.loan
            if loan is None and size >= LEAST_LENT:
                loan = service.lending.lend_wire(answer)
            try:
                sent = loan.send(client) if loan else client.send(answer.wire)
            except OSError:
                sent = 0  # whatever it is, it will be said again
        elif answer.loan:
            answer.uses += 1
            number, span = answer.loan.number, answer.loan.span
            sent = send_at_once(self._client, answer.wire, number, span, service.ways)
        else:
            body = file = answer.file()
            if file is None or not is_unchanged(file):
                return False
            sent = self._send_at_once(answer, file, answer.span)
        self._requests += 1
        if sent < answer.size:
            self._began = began
            self._line, self._rest = line, tail
            self._keeps_alive = kind.keeps_alive
            self._deliver_rest(answer, body, sent)
            return True
        if service.exchanges:
            now, took = service.memory.now, 0.0
            if service.is_timing:
                took = perf_counter() - began
            service.exchanges.append(
                (self._peer, now, took, line, tail, answer.status, answer.body_size)
            )
        if kind.keeps_alive:
            self.deadline = service.clock.idle_deadline
        else:
            self._part()
        return True

    def _send_at_once(self, answer: Answer, file: OpenFile, span: Span) -> int:
        """Send what two calls can send of *answer*, and return how much."""
        service = self._service
        start, stop, now = span.start, span.stop, service.clock.now
        service.lending.note_body(answer, file, span, now)
        if stop - start > LOOP_QUANTUM:
            stop = start + LOOP_QUANTUM
            span = Span(start, stop)
        if answer.warm_tick != now:
            if not service.residency.is_warm(file, start, stop, now):
                return 0
            answer.warm_tick = now
        number = file.descriptor.number
        return send_at_once(self._client, answer.wire, number, span, service.ways)

    def _deliver_rest(self, answer: Answer, body: Body, sent: int) -> None:
        """Send what is left of *answer* after its first *sent* bytes."""
        chunks: tuple[bytes | Span, ...] = (answer.wire[sent:],)
        span = body.span if isinstance(body, Loan) else answer.span
        if span:
            start = span.start + max(0, sent - len(answer.wire))
            chunks = (*chunks, Span(start, span.stop))
        head_size = answer.size - answer.body_size - sent
        self._deliver(
            chunks if chunks[0] else chunks[1:], body, answer.status, head_size
        )

    # Answering.

    def _answer(self, request: Request) -> bool:
        service = self._service
        self._keeps_alive = (
            request.keeps_alive
            and not request.has_body
            and self._requests <= service.last_request
            and not service.is_draining
        )
        self._phase = _Phase.ASKING
        self._set_deadline(service.config.send_timeout)
        reply = self._responder.respond(request, self._replied)
        return reply is not None and self._send(reply)

    def _replied(self, reply: Reply) -> None:
        # Unless it took too long, and the client has been told so.
        if self._phase is _Phase.ASKING and self._send(reply):
            self._serve()

    def _refuse(self, status: int) -> bool:
        """Answer what is no request, or did not come in time; then close."""
        self._keeps_alive = False
        if not self._line and self._gate:
            self._line, self._began = self._gate.first_line(), perf_counter()
        plan = plan_refusal(status)
        if self._line.startswith(b"HEAD "):
            plan = plan.without_body
        head = format_head(plan, self._service.clock.now, b"close")
        return self._begin(plan, head, None)

    def _send(self, reply: Reply) -> bool:
        request = reply.request
        connection = b"keep-alive" if request.is_http_1_0 else b""
        if not self._keeps_alive:
            connection = b"close"
        head = format_head(reply.plan, self._service.clock.now, connection)
        if self._asked and self._keeps_alive is request.keeps_alive:
            self._service.memory.remember(*self._asked, head, reply)
        return self._begin(reply.plan, head, reply.file)

    def _begin(self, plan: Plan, head: bytes, file: OpenFile | None) -> bool:
        self._service.planned += 1
        chunks = (head, *plan.body) if file else _join(head, plan.body)
        return self._deliver(chunks, file, plan.status, len(head))

    def _deliver(
        self,
        chunks: tuple[bytes | Span, ...],
        body: Body,
        status: int,
        head_size: int,
    ) -> bool:
        """Send *chunks*; True if they were sent whole and the next head may follow."""
        self._phase = _Phase.SENDING
        self._status = status
        self._head_size = head_size
        self._set_deadline(self._service.config.send_timeout)
        self._delivery = Delivery(
            self._client, chunks, body, self._service, self._responder.pool
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
        if not self._keeps_alive:
            self._linger()
            return False
        self._phase = _READING
        config = self._service.config
        self._set_deadline(
            config.header_timeout if self._gate else config.keepalive_timeout
        )
        return True

    def _abort(self, error: TransferError) -> None:
        """End a response that can't be finished: the client sees it cut short."""
        line = self._line
        self._tell()
        if not isinstance(error, ClientDisconnectedError):
            _log.warning("%s: %r cut short: %s", self._peer.decode(), line, error)
        self.close()

    def _tell(self) -> None:
        """Note the end of a response in the log, and let go of what it held."""
        exchanges, delivery = self._service.exchanges, self._delivery
        if exchanges and delivery:
            sent = max(0, delivery.sent - self._head_size)
            now = self._service.clock.now
            took = perf_counter() - self._began if self._service.is_timing else 0.0
            exchanges.append(
                (self._peer, now, took, self._line, self._rest, self._status, sent)
            )
        self._delivery, self._asked = None, None
        self._line, self._rest = b"", b""

    # Waiting and closing.

    def expire(self) -> None:
        """Act on the deadline, which has passed."""
        match self._phase:
            case _Phase.READING if self._gate:
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

    def _part(self) -> None:
        """Close as the client asked; at once, unless it sent more all the same."""
        if self._gate or unread(self._client):
            self._linger()
        else:
            self.close()

    def _linger(self) -> None:
        if self._has_ended or not finish_sending(self._client):
            self.close()
            return
        self._phase = _Phase.LINGERING
        self._farewell = Farewell(self._client, self._service.clock.elapsed)
        self._read_farewell(self._farewell)

    def _read_farewell(self, farewell: Farewell) -> None:
        deadline = farewell.read(self._service.clock.elapsed)
        if deadline is None:
            self.close()
            return
        self.deadline = deadline
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


def _split(head: bytes) -> tuple[bytes, bytes]:
    """Return the request line of *head*, and all that follows it."""
    line = head[: head.find(b"\r\n")]
    return line, head[len(line) :]


def _join(head: bytes, body: tuple[bytes | Span, ...]) -> tuple[bytes]:
    """Make one piece of a response without spans, so that it takes one send."""
    return (b"".join((head, *(part for part in body if isinstance(part, bytes)))),)
