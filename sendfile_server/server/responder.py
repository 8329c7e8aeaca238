"""From a request to what to reply: the stages between parsing and sending.

What can't wait is done at once, on the loop; what can, by the pool for cold files.
"""

import logging
from collections.abc import Callable
from typing import Any

from sendfile_server.hosting.pool import Pool
from sendfile_server.resource.files import OpenFile, is_unchanged, read
from sendfile_server.resource.resolver import Found
from sendfile_server.response.plan import plan_response, plan_without_file
from sendfile_server.semantics.preconditions import depends_on_time
from sendfile_server.semantics.ranges import Span
from sendfile_server.semantics.representations import Refusal
from sendfile_server.semantics.requests import Request
from sendfile_server.server.delivery import LOOP_QUANTUM
from sendfile_server.server.reply import Reply
from sendfile_server.server.service import Service

_log = logging.getLogger(__name__)

SMALL_BODY = 65536
"""Bytes up to which head and body leave in one piece, and are remembered as such."""

# How often a small file that changes while it is read is read again.
_MAX_ATTEMPTS = 3


Later = Callable[[Reply], None]
"""Is told, on the loop, of a reply that had to wait."""


class Responder:
    """Decides for all connections of one listener."""

    def __init__(self, service: Service, pool: Pool) -> None:
        self.pool = pool
        """Where what it decides is sent from, too."""
        self._service = service

    def respond(self, request: Request, later: Later) -> Reply | None:
        """Return the reply to *request*; None if *later* is told of it."""
        plan = plan_without_file(request)
        if plan is not None:
            return Reply(request, plan)
        return self._find(request, later, _MAX_ATTEMPTS)

    def _find(self, request: Request, later: Later, attempts: int) -> Reply | None:
        resolver, now = self._service.resolver, self._service.clock.now
        found = self._service.open_files.try_resolve(request.target, now)
        if found is not None:
            return self._plan(request, found, later, attempts)

        def plan_later(found: Found) -> Reply | None:
            # A look of an earlier second would be taken for one of this.
            if self._service.clock.now != now:
                found = Found(found.outcome)
            return self._plan(request, found, later, attempts)

        return self._ask_pool(
            request, lambda: resolver.resolve(request.target, now), plan_later, later
        )

    def _plan(
        self, request: Request, found: Found, later: Later, attempts: int
    ) -> Reply | None:
        outcome, evidence, now = found.outcome, found.evidence, self._service.clock.now
        if not isinstance(outcome, OpenFile):
            plan = plan_response(request, outcome, now)
            return Reply(request, plan, evidence=evidence)
        representation = outcome.representation
        plan = plan_response(request, representation, now)
        if depends_on_time(request.fields, representation.validators, now):
            evidence = None
        spans = [chunk for chunk in plan.body if isinstance(chunk, Span)]
        if not spans:
            return Reply(request, plan, evidence=evidence)
        reply = Reply(request, plan, outcome, evidence)
        if plan.body_size <= SMALL_BODY:
            return self._read(reply, outcome, spans, later, attempts)
        first = spans[0]
        stop = min(first.stop, first.start + LOOP_QUANTUM)
        if not self.pool.has_room and not self._service.residency.is_warm(
            outcome, first.start, stop, now
        ):
            return self._decline(request, 503)
        return reply

    def _read(
        self,
        reply: Reply,
        file: OpenFile,
        spans: list[Span],
        later: Later,
        attempts: int,
    ) -> Reply | None:
        """Read the spans of *reply*, so that it leaves in one piece."""
        residency, request = self._service.residency, reply.request
        now = self._service.clock.now

        def fill(pieces: list[bytes]) -> Reply | None:
            is_whole = sum(map(len, pieces)) == sum(map(len, spans))
            is_one_version = is_whole and is_unchanged(file)
            # Nothing was promised yet; and a head belongs to its body.
            if not is_whole or (attempts and not is_one_version):
                return self._find(request, later, max(0, attempts - 1))
            is_current = is_one_version and self._service.clock.now == now
            evidence = reply.evidence if is_current else None
            return Reply(request, reply.plan.filled(pieces), None, evidence)

        def fill_later(pieces: list[bytes]) -> Reply | None:
            for span, piece in zip(spans, pieces, strict=True):
                if piece:
                    stop = span.start + len(piece)
                    residency.note_sent(file, span.start, stop)
            return fill(pieces)

        tried = [residency.try_read(file, span.start, span.stop) for span in spans]
        pieces = [piece for piece in tried if piece is not None]
        if len(pieces) == len(spans):
            return fill(pieces)
        return self._ask_pool(
            request,
            lambda: [read(file, span.start, span.stop) for span in spans],
            fill_later,
            later,
        )

    def _ask_pool(
        self,
        request: Request,
        job: Callable[[], Any],
        then: Callable[[Any], Reply | None],
        later: Later,
    ) -> Reply | None:
        """Run *job* in the pool, and go on with its result."""
        if not self.pool.has_room:
            return self._decline(request, 503)

        def done(result: Any) -> None:  # noqa: ANN401 - as the job's
            if isinstance(result, Exception):
                _log.error("a job failed", exc_info=result)
                reply: Reply | None = self._decline(request, 500)
            else:
                reply = then(result)
            if reply:
                later(reply)

        self.pool.submit(job, done)
        return None

    def _decline(self, request: Request, status: int) -> Reply:
        now = self._service.clock.now
        return Reply(request, plan_response(request, Refusal(status), now))
