"""One part of a remembered file: every range may be another, so none is remembered.

What is remembered is the head that the planner gives a part, with its numbers cut
out. The rest is arithmetic and a read.
"""

import os

from sendfile_server.resource.files import OpenFile, is_unchanged
from sendfile_server.response.heads import format_head
from sendfile_server.response.plan import plan_response
from sendfile_server.semantics.preconditions import depends_on_time
from sendfile_server.semantics.ranges import Positions, Span
from sendfile_server.server.remembered import Answer, Kind
from sendfile_server.server.reply import Reply
from sendfile_server.server.responder import SMALL_BODY
from sendfile_server.server.service import Service

SMALL_PART = 32768
"""Bytes up to which a part is copied, in one call with its head: cheaper than two."""

# A part that every file has, to see what its head is like.
_FIRST_BYTE: Positions = (0, 0)


def cut_part(
    service: Service, kind: Kind, line: bytes, whole: Answer | None, part: Positions
) -> Answer | None:
    """Return the answer that is *part* of what *kind* gets to *line*.

    *whole* is what it gets, if that is remembered. None if the part's answer is
    another, or if a disk would have to be waited for.
    """
    if b"if-range" in kind.fields:
        return None  # whether it gets a part is not the same for all that get the whole
    if whole is None or not whole.is_at_hand:
        whole = _remember_whole(service, kind, line)
    file = whole.file() if whole else None
    if whole is None or whole.span is None or file is None:
        return None
    positions = _locate(part, whole.span.stop)
    now = service.memory.now
    if whole.part_tick != now:
        whole.part_head = _plan_part(service, kind, line, file)
        whole.part_tick = now
    if positions is None or not whole.part_head:
        return None
    start, stop = positions
    size = stop - start
    wire = whole.part_head % (size, start, stop - 1)
    if size > SMALL_PART:
        sizes = len(wire) + size, 206, size
        return Answer(wire, *sizes, whole.evidence, Span(start, stop), whole.file)
    if not service.residency.is_warm(file, start, stop, now):
        return None
    wire += os.pread(file.descriptor.number, size, start)
    sizes = len(wire), 206, size
    return Answer(wire, *sizes, whole.evidence) if is_unchanged(file) else None


def _plan_part(service: Service, kind: Kind, line: bytes, file: OpenFile) -> bytes:
    """Return the head of a part with %d for its numbers; empty if it gets none."""
    now = service.memory.now
    request, labelled = kind.request(line, _FIRST_BYTE), service.label(file)
    if request is None or labelled is None:
        return b""
    plan = plan_response(request, labelled, now)
    if plan.status != 206:
        return b""
    head = format_head(plan, now, kind.connection).replace(b"%", b"%%")
    head = head.replace(b"\r\nContent-Length: 1\r\n", b"\r\nContent-Length: %d\r\n")
    return head.replace(b"bytes 0-0/", b"bytes %d-%d/")


def _remember_whole(service: Service, kind: Kind, line: bytes) -> Answer | None:
    """Plan what *kind* would get to *line* without a range, for parts to be cut of it.

    Only for a big file that is found without waiting; else None.
    """
    request, now = kind.request(line, None), service.memory.now
    found = request and service.open_files.try_resolve(request.target, now)
    if not request or not found or not isinstance(found.outcome, OpenFile):
        return None
    file = found.outcome
    if file.representation.size <= SMALL_BODY:
        return None
    labelled = service.label(file)
    if not labelled or depends_on_time(kind.fields, labelled.validators, now):
        return None
    plan = plan_response(request, labelled, now)
    head = format_head(plan, now, kind.connection)
    service.memory.remember(
        kind, line, head, Reply(request, plan, file, found.evidence)
    )
    return service.memory.recall(kind, line)


def _locate(part: Positions, size: int) -> tuple[int, int] | None:
    """Return start and stop of *part* of *size* bytes; None if there is none."""
    first, last = part
    if first is None:
        start, stop = max(0, size - (last or 0)), size
    else:
        start, stop = first, size if last is None else min(last + 1, size)
    return (start, stop) if start < stop else None
