"""Work that is remembered: heads that were parsed, and answers that were planned.

The pipeline's stages are functions of (head, file state), so their results hold
for as long as the file does. A head is taken apart into its request line and its
tail; the tail, reduced to the lines that can matter, is a `Kind` of request, and a
kind remembers an `Answer` for each request line:

    data ──reduce──► kind, line ──look up──► answer ──look at the file──► wire

Rules of this file:

1. Nothing enters that the gate and h11 have not accepted, both as it came and in
   its reduced form, with the same result.
2. An answer is used only if one look at its path shows the state that it was made
   from, within the freshness.
3. What is kept is bounded in bytes. What was not asked for for the longest time, to
   the second, is forgotten first.
"""

import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sendfile_server.errors import ProtocolError
from sendfile_server.protocol.gate import Gate
from sendfile_server.protocol.parser import parse_head
from sendfile_server.protocol.reduction import (
    cut_holes,
    cut_range,
    parse_request_line,
    reduce_head,
)
from sendfile_server.resource.files import Evidence, OpenFile
from sendfile_server.resource.resolver import Resolver
from sendfile_server.response.heads import restamp
from sendfile_server.semantics.ranges import Positions, Span, format_range
from sendfile_server.semantics.requests import Request
from sendfile_server.server.reply import Reply
from sendfile_server.transport.lending import Loan

# Whoever frames a message by more than its head, or asks for more than an answer.
_NEVER_REMEMBERED = (
    b"content-length",
    b"transfer-encoding",
    b"upgrade",
    b"expect",
)
# What objects and tables take beside their bytes, measured with 100,000 answers.
_ANSWER_OVERHEAD = 900
_KIND_OVERHEAD = 1500
_LOOK_EACH_TIME = -1


def _no_file() -> None:
    return None


@dataclass(slots=True, eq=False)
class Answer:
    """A response as it was sent, but for its Date."""

    wire: bytes
    """The head with this second's Date, and the body unless it is *span*."""
    size: int
    """Bytes of the wire and the span."""
    status: int
    body_size: int
    evidence: Evidence
    span: Span | None = None
    """What of the file follows the wire."""
    file: Callable[[], OpenFile | None] = _no_file
    """Where the span is from, for as long as something else keeps it open."""
    tick: int = _LOOK_EACH_TIME
    """The wall second in which the wire can leave as it is."""
    checked: int = 0
    """When the evidence was last seen to hold."""
    loan: Loan | None = None
    """The wire once more, to be lent instead of copied; or a copy of the span."""
    uses: int = 0
    """How often it has left in this second, if it may be lent."""
    warm_tick: int = _LOOK_EACH_TIME
    """The wall second in which the beginning of the span was seen to be in memory."""
    part_head: bytes = b""
    """The head of a part of the span, with %d for length, first and last position."""
    part_tick: int = _LOOK_EACH_TIME
    """The wall second in which that head can leave as it is."""
    line: bytes = b""
    """The request line that it is remembered by, if it is."""

    @property
    def is_at_hand(self) -> bool:
        """Tell whether all of it is in memory, or in a file that is still open."""
        return self.span is None or self.file() is not None


class Kind:
    """What requests with the same reduced tail have in common."""

    __slots__ = ("answers", "fields", "is_forgotten", "keeps_alive", "seen", "tail")

    def __init__(
        self, tail: bytes, fields: Mapping[bytes, bytes], *, keeps_alive: bool
    ) -> None:
        self.tail = tail
        """What their heads are, reduced, without the request line."""
        self.fields = fields
        self.keeps_alive = keeps_alive
        self.answers: dict[bytes, Answer] = {}
        """By request line."""
        self.is_forgotten = False
        self.seen = 0
        """The wall second in which it was last asked for, as far as is noticed."""

    def request(self, line: bytes, part: Positions | None) -> Request | None:
        """Return the request that *line* begins, or None if it must be parsed."""
        parts = parse_request_line(line)
        if parts is None:
            return None
        method, target = parts
        fields = {**self.fields, b"range": format_range(part)} if part else self.fields
        return Request(method, target, fields, False, self.keeps_alive, has_body=False)

    @property
    def connection(self) -> bytes:
        """The value of Connection in answers, or nothing."""
        return b"" if self.keeps_alive else b"close"

    def forget(self) -> None:
        """Let go of all answers, for good: someone may still hold the kind."""
        self.is_forgotten = True
        self.answers = {}


NO_KIND = Kind(b"", {}, keeps_alive=False)
"""Has no answers and gets none."""
NO_KIND.forget()


Known = tuple[Kind, bytes, bytes, Positions | None]
"""The kind of a head, its request line, its tail, and what part it asks for.

The tail is all after the request line, but for the line that asks for a part.
"""


class Memory:
    """The kinds and answers of one worker; used on the loop only."""

    def __init__(self, resolver: Resolver, capacity: int, freshness: int) -> None:
        """Keep about *capacity* bytes; look at files after *freshness* seconds."""
        self._resolver = resolver
        self._capacity = capacity
        self._freshness = freshness
        self._kinds: dict[bytes, Kind] = {}
        """By tail."""
        # The latest answer to each line: kinds that get the same share it.
        self._shared: dict[bytes, Answer] = {}
        # All answers, with the kinds that have them, and all kinds, with nothing: in
        # the order of the seconds in which they were last asked for.
        self._order: OrderedDict[Answer | Kind, list[Kind]] = OrderedDict()
        self.size = 0
        """About how many bytes it takes."""
        self.now = 0
        """The wall second, moved on by `tick`."""

    def tick(self, now: int) -> None:
        """Let *now* be the wall second."""
        if now < self.now:
            self.forget()  # what was found in a future that is no more
        self.now = now

    def forget(self) -> None:
        """Let go of everything."""
        for kind in self._kinds.values():
            kind.forget()
        self._kinds, self._shared, self._order = {}, {}, OrderedDict()
        self.size = 0

    def close(self) -> None:
        """Let go of everything and keep nothing more."""
        self._capacity = 0
        self.forget()

    def recognize(self, head: bytes, part: Positions | None = None) -> Known | None:
        """Return what *head* consists of, if its kind is known.

        *head* may be anything that was received. What asks for *part* was cut out.
        """
        reduced = reduce_head(head)
        if reduced:
            line, tail = reduced
            kind = self._kinds.get(tail) or self._derive(tail)
            if kind:
                if kind.seen != self.now:
                    self._touch(kind)
                return kind, line, head[len(line) :], part
        cut = None if part else cut_range(head)
        return self.recognize(*cut) if cut else None

    def recall(self, kind: Kind, line: bytes) -> Answer | None:
        """Return the answer of *kind* to *line* if it holds, ready to be sent."""
        answer = kind.answers.get(line)
        if answer is None or (answer.is_at_hand and answer.tick == self.now):
            return answer
        if not self._refresh(answer):
            self._let_go(answer)
            return None
        self._touch(kind)
        return answer

    def learn(self, head: bytes, request: Request) -> None:
        """Remember the kind of *request*, which *head* was parsed to."""
        if not self._capacity or not _is_rememberable(request):
            return
        cut = cut_range(head)
        reduced = reduce_head(cut[0] if cut else head)
        if reduced is None:
            return
        _, tail = reduced
        shape, values = cut_holes(tail) or (tail, {})
        if shape in self._kinds:
            return
        cut_out = {b"range", *values} if cut else values.keys()
        fields = {k: v for k, v in request.fields.items() if k not in cut_out}
        if b"range" not in fields:  # every such range may be another
            self._learn_kind(shape, fields, keeps_alive=request.keeps_alive)

    def remember(self, kind: Kind, line: bytes, head: bytes, reply: Reply) -> None:
        """Remember that requests of *kind* with *line* get *reply*.

        *head* is its head, now.
        """
        answer = _as_answer(head, reply)
        if answer is None or kind.is_forgotten:
            return
        answer.checked = self.now
        self._make_current(answer)
        known = self._shared.get(line)
        if (
            known
            and known.evidence == answer.evidence
            and self._refresh(known)
            and known.wire == answer.wire
        ):
            answer = known
        self._enter(kind, line, answer)

    def _refresh(self, answer: Answer) -> bool:
        """Make *answer* right for this second, or return False."""
        now, rest = self.now, self.now - answer.checked
        if not answer.is_at_hand:
            return False
        if rest >= self._freshness:
            if not self._resolver.still_holds(answer.evidence, answer.checked, now):
                return False
            answer.checked = now
        answer.wire = restamp(answer.wire, now)
        answer.uses = 0
        if answer.span is None:
            answer.loan = None
        self._make_current(answer)
        self._order.move_to_end(answer)
        return True

    def _make_current(self, answer: Answer) -> None:
        if self._freshness:
            answer.tick = self.now

    def _derive(self, tail: bytes) -> Kind | None:
        """Return a new kind, which is a known one with conditions of its own."""
        holes = cut_holes(tail)
        if holes is None:
            return None
        shape, values = holes
        base = self._kinds.get(shape)
        if base is None or not base.fields.keys().isdisjoint(values):
            return None
        self._touch(base)
        fields, keeps_alive = {**base.fields, **values}, base.keeps_alive
        return self._keep(Kind(tail, fields, keeps_alive=keeps_alive))

    def _learn_kind(
        self, tail: bytes, fields: Mapping[bytes, bytes], *, keeps_alive: bool
    ) -> None:
        gate = Gate()
        gate.feed(b"GET / HTTP/1.1" + tail)
        try:
            head = gate.take_head()
            request = parse_head(head) if head else None
        except ProtocolError:
            return
        if request and request.fields == fields and request.keeps_alive is keeps_alive:
            self._keep(Kind(tail, fields, keeps_alive=keeps_alive))

    def _touch(self, kind: Kind) -> None:
        kind.seen = self.now
        self._order.move_to_end(kind)

    def _keep(self, kind: Kind) -> Kind:
        self._kinds[kind.tail], self._order[kind] = kind, []
        kind.seen = self.now
        self.size += _size_of_kind(kind)
        self._make_room()
        return kind

    def _enter(self, kind: Kind, line: bytes, answer: Answer) -> None:
        former = kind.answers.get(line)
        if former is answer:
            return
        if former:
            self._let_go(former)
        if answer not in self._order:
            answer.line, self._order[answer] = line, []
            self.size += len(answer.wire)
        self._order[answer].append(kind)
        self.size += len(line) + _ANSWER_OVERHEAD
        kind.answers[line] = self._shared[line] = answer
        self._touch(kind)
        self._make_room()

    def _let_go(self, answer: Answer) -> None:
        line, kinds = answer.line, self._order.pop(answer)
        self.size -= len(answer.wire) + len(kinds) * (len(line) + _ANSWER_OVERHEAD)
        for kind in kinds:
            del kind.answers[line]
        if self._shared.get(line) is answer:
            del self._shared[line]

    def _part(self, kind: Kind, line: bytes, answer: Answer) -> None:
        """Let others keep *answer*, which *kind* has no more."""
        kinds = self._order[answer]
        kinds.remove(kind)
        self.size -= len(line) + _ANSWER_OVERHEAD
        if not kinds:
            self._let_go(answer)

    def _make_room(self) -> None:
        while self.size > self._capacity:
            oldest = next(iter(self._order))
            if isinstance(oldest, Answer):
                self._let_go(oldest)
            elif oldest.answers:
                self._part(oldest, *oldest.answers.popitem())
            else:
                self.size -= _size_of_kind(oldest)
                del self._order[oldest], self._kinds[oldest.tail]
                oldest.forget()


def _size_of_kind(kind: Kind) -> int:
    return len(kind.tail) + _KIND_OVERHEAD


def _as_answer(head: bytes, reply: Reply) -> Answer | None:
    """Return what is to be remembered of *reply*; None if that is not possible."""
    plan, evidence, size = reply.plan, reply.evidence, reply.plan.body_size
    if evidence is None:
        return None
    if reply.file and len(plan.body) == 1 and isinstance(plan.body[0], Span):
        if reply.file.is_remote:
            return None  # one look before each use would wait for another machine
        file = weakref.ref(reply.file)
        return Answer(
            head,
            len(head) + size,
            plan.status,
            size,
            evidence,
            plan.body[0],
            file,
        )
    pieces = [part for part in plan.body if isinstance(part, bytes)]
    if len(pieces) < len(plan.body):
        return None
    wire = b"".join((head, *pieces))
    return Answer(wire, len(wire), plan.status, size, evidence)


def _is_rememberable(request: Request) -> bool:
    return (
        not request.is_http_1_0
        and request.method in (b"GET", b"HEAD")
        and not any(name in request.fields for name in _NEVER_REMEMBERED)
    )
