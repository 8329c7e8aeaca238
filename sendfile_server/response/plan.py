"""The planner: request and outcome in, `Plan` out (RFC 9110)."""

from typing import assert_never

from sendfile_server.response.heads import Fields, Plan
from sendfile_server.response.multipart import choose_boundary, frame_parts
from sendfile_server.response.refusals import (
    NO_SNIFFING,
    plan_options,
    plan_redirect,
    plan_refusal,
)
from sendfile_server.semantics.dates import format_http_date
from sendfile_server.semantics.methods import ALLOWED, REGISTERED
from sendfile_server.semantics.preconditions import (
    Validators,
    Verdict,
    allows_range,
    evaluate,
)
from sendfile_server.semantics.ranges import (
    Span,
    format_content_range,
    format_unsatisfied_range,
    parse_ranges,
)
from sendfile_server.semantics.representations import (
    Redirect,
    Refusal,
    Representation,
)
from sendfile_server.semantics.requests import Request


def plan_without_file(request: Request) -> Plan | None:
    """Return the answer that needs no file, or None if a file must be found."""
    if request.method not in ALLOWED:
        return plan_refusal(405 if request.method in REGISTERED else 501)
    if not _meets_expectations(request):
        return _without_body_for_head(request, plan_refusal(417))
    if request.method == b"OPTIONS":
        return plan_options()
    return None


def plan_response(
    request: Request, outcome: Representation | Redirect | Refusal, now: int
) -> Plan:
    """Return the answer to a GET or HEAD whose target led to *outcome*.

    *now* is in seconds since the epoch and is the Date of the response.
    """
    match outcome:
        case Refusal(status):
            plan = plan_refusal(status)
        case Redirect(location):
            plan = plan_redirect(location)
        case Representation():
            plan = _plan_file(request, outcome, now)
        case _:
            assert_never(outcome)
    return _without_body_for_head(request, plan)


def _plan_file(request: Request, file: Representation, now: int) -> Plan:
    current = file.validators
    verdict = evaluate(request.fields, current, now)
    match verdict:
        case Verdict.FAILED:
            return plan_refusal(412)
        case Verdict.NOT_MODIFIED:
            # Section 15.4.5: what guides a cache, and Date.
            return Plan(304, _validator_fields(current, now)[:1])
        case Verdict.PROCEED:
            pass
        case _:
            assert_never(verdict)
    spans = _asked_spans(request, file, current, now)
    if spans is None:
        return _plan_whole(file, current, now)
    if not spans:
        unsatisfied = format_unsatisfied_range(file.size)
        return plan_refusal(416, ((b"Content-Range", unsatisfied),))
    if len(spans) == 1:
        content_range = format_content_range(spans[0], file.size)
        fields = _file_fields(file.media_type, len(spans[0]), current, now)
        return Plan(206, (*fields, (b"Content-Range", content_range)), spans)
    return _plan_parts(file, spans, current, now)


def _plan_whole(file: Representation, current: Validators, now: int) -> Plan:
    body = (Span(0, file.size),) if file.size else ()
    return Plan(200, _file_fields(file.media_type, file.size, current, now), body)


def _plan_parts(
    file: Representation, spans: tuple[Span, ...], current: Validators, now: int
) -> Plan:
    boundary = choose_boundary(file)
    body = frame_parts(file, spans, boundary)
    size = sum(map(len, body))
    if size > file.size:
        # Ranges are there to save bytes (section 14.2, and its section 17.15).
        return _plan_whole(file, current, now)
    kind = b"multipart/byteranges; boundary=" + boundary
    return Plan(206, _file_fields(kind, size, current, now), body)


def _asked_spans(
    request: Request, file: Representation, current: Validators, now: int
) -> tuple[Span, ...] | None:
    """Return the spans to send instead of the file; None is the whole file."""
    ranges = request.fields.get(b"range")
    if ranges is None or request.method != b"GET":
        return None
    if_range = request.fields.get(b"if-range")
    if if_range is not None and not allows_range(if_range, current, now):
        return None
    return parse_ranges(ranges, file.size)


def _file_fields(
    media_type: bytes, length: int, current: Validators, now: int
) -> Fields:
    return (
        (b"Content-Type", media_type),
        (b"Content-Length", b"%d" % length),
        *_validator_fields(current, now),
        (b"Accept-Ranges", b"bytes"),
        NO_SNIFFING,
    )


def _validator_fields(current: Validators, now: int) -> Fields:
    fields: list[tuple[bytes, bytes]] = []
    if current.entity_tag:
        fields.append((b"ETag", current.entity_tag.opaque))
    if current.modified is not None:
        # Never later than Date (section 8.8.2.1).
        modified = format_http_date(min(current.modified, now))
        fields.append((b"Last-Modified", modified))
    return tuple(fields)


def _meets_expectations(request: Request) -> bool:
    """Section 10.1.1; HTTP/1.0 has no expectations."""
    expect = request.fields.get(b"expect", b"")
    members = {member.strip(b" \t") for member in expect.lower().split(b",")}
    return request.is_http_1_0 or members <= {b"", b"100-continue"}


def _without_body_for_head(request: Request, plan: Plan) -> Plan:
    return plan.without_body if request.method == b"HEAD" else plan
