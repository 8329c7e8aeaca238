"""A planned response, and its head as bytes (RFC 9112 section 4)."""

from collections.abc import Iterable
from dataclasses import dataclass

from sendfile_server.semantics.dates import IMF_FIXDATE_SIZE, format_http_date
from sendfile_server.semantics.ranges import Span

REASONS = {
    200: b"OK",
    204: b"No Content",
    206: b"Partial Content",
    304: b"Not Modified",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    412: b"Precondition Failed",
    414: b"URI Too Long",
    416: b"Range Not Satisfiable",
    417: b"Expectation Failed",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    505: b"HTTP Version Not Supported",
}
"""Every status that this server sends, with its reason phrase."""

Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One response but for Date and Connection, which are the connection's."""

    status: int
    fields: Fields
    body: tuple[bytes | Span, ...] = ()
    """What follows the head, in order; a span is one of the file that was planned."""

    @property
    def body_size(self) -> int:
        """The length of the body in bytes."""
        return sum(map(len, self.body))

    @property
    def without_body(self) -> "Plan":
        """What a HEAD gets, for which this would be the answer to a GET."""
        return Plan(self.status, self.fields)

    def filled(self, pieces: Iterable[bytes]) -> "Plan":
        """Return the same plan with its spans replaced by *pieces*, in order."""
        left = iter(pieces)
        body = (next(left) if isinstance(part, Span) else part for part in self.body)
        return Plan(self.status, self.fields, tuple(body))


def restamp(wire: bytes, now: int) -> bytes:
    """Return *wire*, which begins with a head, with the Date of *now*."""
    # The Date is the second line, and no reason phrase looks like it.
    start = wire.index(b"\r\nDate: ") + 8
    return b"%b%b%b" % (
        wire[:start],
        format_http_date(now),
        wire[start + IMF_FIXDATE_SIZE :],
    )


def format_head(plan: Plan, now: int, connection: bytes) -> bytes:
    """Return the head of *plan*, sent at *now* (seconds since the epoch).

    *connection* is the value of that field; empty leaves it out.
    """
    lines = [
        b"HTTP/1.1 %d %s" % (plan.status, REASONS[plan.status]),
        b"Date: " + format_http_date(now),
        *(b"%s: %s" % field for field in plan.fields),
    ]
    if connection:
        lines.append(b"Connection: " + connection)
    return b"\r\n".join(lines) + b"\r\n\r\n"
