"""One part of a remembered file: every range may be another, so none is remembered.

What is remembered is the head that the planner gives a part, with its numbers cut
out. The rest is arithmetic and a read.
"""

from sendfile_server.resource.files import OpenFile, is_unchanged
from sendfile_server.response.heads import format_head
from sendfile_server.response.plan import plan_response
from sendfile_server.semantics.preconditions import depends_on_time
from sendfile_server.semantics.ranges import Positions, Span
from sendfile_server.server.remembered import Answer, Kind
from sendfile_server.server.reply import Reply
from sendfile_server.server.responder import SMALL_BODY
from sendfile_server.server.service import Service

# A part that every file has, to see what its head is like.
_FIRST_BYTE: Positions = (0, 0)


def cut_part(
    service: Service, kind: Kind, line: bytes, whole: Answer, part: Positions
) -> Answer | None:
    """Return the answer that is *part* of *whole*, which *kind* gets to *line*.

    None if it is another answer, or if a disk would have to be waited for.
    """
    file, span = whole.file(), whole.span
    if (
        file is None
        or span is None
        or whole.status != 200
        or b"if-range" in kind.fields
    ):
        return None
    positions = _locate(part, span.stop)
    if positions is None:
        return None
    start, stop = positions
    now = service.memory.now
    if whole.part_tick != now:
        request = kind.request(line, _FIRST_BYTE)
        if request is None:
            return None
        plan = plan_response(request, file.representation, now)
        whole.part_head = _cut_numbers(format_head(plan, now, kind.connection))
        whole.part_tick = now
    size = stop - start
    wire = whole.part_head % (size, start, stop - 1)
    if size > SMALL_BODY:
        sizes = len(wire) + size, 206, size
        return Answer(wire, *sizes, whole.evidence, Span(start, stop), whole.file)
    data = service.residency.try_read(file, start, stop)
    if data is None or not is_unchanged(file):
        return None
    wire += data
    return Answer(wire, len(wire), 206, size, whole.evidence)


def remember_whole(service: Service, kind: Kind, line: bytes) -> Answer | None:
    """Plan what *kind* would get to *line* without a range, for parts to be cut of it.

    Only for a big file that is found without waiting; else None.
    """
    request, now = kind.request(line, None), service.memory.now
    found = request and service.open_files.try_resolve(request.target, now)
    if not request or not found or not isinstance(found.outcome, OpenFile):
        return None
    file, state = found.outcome, found.outcome.representation
    if state.size <= SMALL_BODY or depends_on_time(kind.fields, state.validators, now):
        return None
    plan = plan_response(request, state, now)
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


def _cut_numbers(head: bytes) -> bytes:
    """Return the head of the first byte with %d in the place of its numbers."""
    head = head.replace(b"%", b"%%")
    head = head.replace(b"\r\nContent-Length: 1\r\n", b"\r\nContent-Length: %d\r\n")
    return head.replace(b"bytes 0-0/", b"bytes %d-%d/")
