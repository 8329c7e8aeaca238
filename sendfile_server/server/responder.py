"""From a request to what to reply: the stages between parsing and sending.

What can't wait is done at once, on the loop; what can, by the pool for cold files.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sendfile_server.hosting.pool import Pool
from sendfile_server.resource.files import Evidence, OpenFile, is_unchanged, read
from sendfile_server.resource.resolver import Found
from sendfile_server.response.heads import Plan
from sendfile_server.response.plan import plan_response, plan_without_file
from sendfile_server.semantics.etags import EntityTag, hash_content, tag_content
from sendfile_server.semantics.preconditions import depends_on_time
from sendfile_server.semantics.ranges import Span
from sendfile_server.semantics.representations import Refusal, Representation
from sendfile_server.semantics.requests import Request
from sendfile_server.server.content_tags import ContentTags
from sendfile_server.server.delivery import LOOP_QUANTUM
from sendfile_server.server.reply import Reply
from sendfile_server.server.service import Service

_log = logging.getLogger(__name__)

SMALL_BODY = 65536
"""Bytes up to which head and body leave in one piece, and are remembered as such."""

# How often a file that changes while it is read or hashed is found again.
_MAX_ATTEMPTS = 3


Later = Callable[[Reply], None]
"""Is told, on the loop, of a reply that had to wait."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request for a file, and whom to tell of its reply."""

    request: Request
    later: Later
    attempts: int = _MAX_ATTEMPTS
    """How often the file may be found again."""

    def again(self) -> "_Asked":
        return _Asked(self.request, self.later, self.attempts - 1)


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
        return self._find(_Asked(request, later))

    def _find(self, asked: _Asked) -> Reply | None:
        resolver, now = self._service.resolver, self._service.clock.now
        target = asked.request.target
        found = self._service.open_files.try_resolve(target, now)
        if found is not None:
            return self._plan(asked, found)

        def plan_later(found: Found) -> Reply | None:
            # A look of an earlier second would be taken for one of this.
            if self._service.clock.now != now:
                found = Found(found.outcome)
            return self._plan(asked, found)

        return self._ask_pool(asked, lambda: resolver.resolve(target, now), plan_later)

    def _plan(self, asked: _Asked, found: Found) -> Reply | None:
        file, evidence, tags = found.outcome, found.evidence, self._service.content_tags
        if not isinstance(file, OpenFile):
            plan = plan_response(asked.request, file, self._service.clock.now)
            return Reply(asked.request, plan, evidence=evidence)
        if tags is None:
            return self._plan_file(asked, file, file.representation, evidence)
        if file.representation.size <= SMALL_BODY:
            return self._read_and_plan(asked, file, evidence)
        labelled = tags.label(file)
        if labelled:
            return self._plan_file(asked, file, labelled, evidence)
        return self._hash(asked, file, evidence, tags)

    def _plan_file(
        self,
        asked: _Asked,
        file: OpenFile,
        labelled: Representation,
        evidence: Evidence | None,
    ) -> Reply | None:
        """Plan what to send of *file*, which is *labelled* so."""
        reply = self._draft(asked.request, file, labelled, evidence)
        spans = _spans(reply.plan)
        if not spans:
            return reply.filled(())
        if reply.plan.body_size <= SMALL_BODY:
            return self._read(asked, file, spans, reply.filled)
        first = spans[0]
        stop = min(first.stop, first.start + LOOP_QUANTUM)
        if not self.pool.has_room and not self._service.residency.is_warm(
            file, first.start, stop, self._service.clock.now
        ):
            return self._decline(asked.request, 503)
        return reply

    def _read_and_plan(
        self, asked: _Asked, file: OpenFile, evidence: Evidence | None
    ) -> Reply | None:
        """Plan what to send of a small *file* when its content is known."""
        whole = Span(0, file.representation.size)

        def plan(pieces: list[bytes]) -> Reply:
            content = b"".join(pieces)
            tag = tag_content(hash_content(content))
            labelled = file.representation.tagged(tag)
            reply = self._draft(asked.request, file, labelled, evidence)
            spans = _spans(reply.plan)
            return reply.filled([content[span.start : span.stop] for span in spans])

        return self._read(asked, file, [whole] if whole else [], plan)

    def _hash(
        self,
        asked: _Asked,
        file: OpenFile,
        evidence: Evidence | None,
        tags: ContentTags,
    ) -> Reply | None:
        """Plan what to send of *file* when it was hashed."""
        if not tags.has_room:
            return self._decline(asked.request, 503)
        now = self._service.clock.now

        def hashed(tag: EntityTag | None) -> None:
            if tag is None and asked.attempts and not is_unchanged(file):
                reply = self._find(asked.again())
            else:
                is_current = tag is not None and self._service.clock.now == now
                labelled = file.representation.tagged(tag)
                reply = self._plan_file(
                    asked, file, labelled, evidence if is_current else None
                )
            if reply:
                asked.later(reply)

        tags.hash(file, hashed)
        return None

    def _draft(
        self,
        request: Request,
        file: OpenFile,
        labelled: Representation,
        evidence: Evidence | None,
    ) -> Reply:
        now = self._service.clock.now
        plan = plan_response(request, labelled, now)
        if depends_on_time(request.fields, labelled.validators, now):
            evidence = None
        return Reply(request, plan, file, evidence)

    def _read(
        self,
        asked: _Asked,
        file: OpenFile,
        spans: list[Span],
        then: Callable[[list[bytes]], Reply],
    ) -> Reply | None:
        """Read *spans*, so that what *then* makes of them leaves in one piece."""
        residency = self._service.residency
        now = self._service.clock.now

        def fill(pieces: list[bytes], *, is_same: bool) -> Reply | None:
            is_whole = sum(map(len, pieces)) == sum(map(len, spans))
            is_one_version = is_whole and is_same
            # Nothing was promised yet; and a head belongs to its body.
            if asked.attempts and not is_one_version:
                return self._find(asked.again())
            if not is_whole:
                _log.error("%r is shorter than it says", file.path)
                return self._decline(asked.request, 500)
            is_current = is_one_version and self._service.clock.now == now
            reply = then(pieces)
            return reply if is_current else replace(reply, evidence=None)

        def read_all() -> tuple[list[bytes], bool]:
            pieces = [read(file, span.start, span.stop) for span in spans]
            return pieces, is_unchanged(file)

        def fill_later(result: tuple[list[bytes], bool]) -> Reply | None:
            pieces, is_same = result
            for span, piece in zip(spans, pieces, strict=True):
                if piece:
                    stop = span.start + len(piece)
                    residency.note_sent(file, span.start, stop)
            return fill(pieces, is_same=is_same)

        tried = [residency.try_read(file, span.start, span.stop) for span in spans]
        pieces = [piece for piece in tried if piece is not None]
        if len(pieces) == len(spans):
            return fill(pieces, is_same=is_unchanged(file))
        return self._ask_pool(asked, read_all, fill_later)

    def _ask_pool(
        self,
        asked: _Asked,
        job: Callable[[], Any],
        then: Callable[[Any], Reply | None],
    ) -> Reply | None:
        """Run *job* in the pool, and go on with its result."""
        if not self.pool.has_room:
            return self._decline(asked.request, 503)

        def done(result: Any) -> None:  # noqa: ANN401 - as the job's
            if isinstance(result, Exception):
                _log.error("a job failed", exc_info=result)
                reply: Reply | None = self._decline(asked.request, 500)
            else:
                reply = then(result)
            if reply:
                asked.later(reply)

        self.pool.submit(job, done)
        return None

    def _decline(self, request: Request, status: int) -> Reply:
        now = self._service.clock.now
        return Reply(request, plan_response(request, Refusal(status), now))


def _spans(plan: Plan) -> list[Span]:
    return [chunk for chunk in plan.body if isinstance(chunk, Span)]
