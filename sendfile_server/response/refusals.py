"""Answers that carry no file: short fixed bodies that never show a path."""

from sendfile_server.response.heads import REASONS, Fields, Plan
from sendfile_server.semantics.methods import ALLOWED

# Whatever a client may have put into a target, no browser guesses at a type.
NO_SNIFFING = (b"X-Content-Type-Options", b"nosniff")

_ALLOW = (b"Allow", b", ".join(ALLOWED))
_FIELDS_OF_STATUS: dict[int, Fields] = {
    405: (_ALLOW,),
    503: ((b"Retry-After", b"1"),),
}


def plan_refusal(status: int, extra: Fields = ()) -> Plan:
    """Return the answer of an error or redirect *status*, with its body."""
    body = b"%d %s\n" % (status, REASONS[status])
    fields = (
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(body)),
        NO_SNIFFING,
        *_FIELDS_OF_STATUS.get(status, ()),
        *extra,
    )
    return Plan(status, fields, (body,))


def plan_redirect(location: bytes) -> Plan:
    """Return the permanent redirect to *location*, method kept (15.4.9)."""
    return plan_refusal(308, ((b"Location", location),))


def plan_options() -> Plan:
    """Return what can be done with any target here (RFC 9110 section 9.3.7)."""
    return Plan(204, (_ALLOW,))
