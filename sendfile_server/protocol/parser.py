"""One head that the gate let pass to one `Request`: h11, then what h11 allows."""

import h11

from sendfile_server.errors import ProtocolError
from sendfile_server.semantics.authorities import is_authority
from sendfile_server.semantics.requests import KEPT_FIELDS, Request


def parse_head(head: bytes) -> Request:
    """Return the request that *head* is.

    Raises ProtocolError: 400 for what RFC 9112 forbids, 501 for a transfer
    coding other than chunked.
    """
    event = _parse_with_h11(head)
    is_http_1_0 = event.http_version == b"1.0"
    fields: dict[bytes, bytes] = {}
    for name, value in event.headers:
        if name in KEPT_FIELDS:
            fields[name] = fields[name] + b", " + value if name in fields else value
    if b"host" in fields and not is_authority(fields[b"host"]):
        raise ProtocolError(400, "malformed Host")
    if b"transfer-encoding" in fields and (is_http_1_0 or b"content-length" in fields):
        # RFC 9112 section 6.1: the marks of request smuggling.
        raise ProtocolError(400, "ambiguous framing")
    return Request(
        method=event.method,
        target=event.target,
        fields=fields,
        is_http_1_0=is_http_1_0,
        keeps_alive=_keeps_alive(
            fields.get(b"connection", b""), is_http_1_0=is_http_1_0
        ),
        has_body=(
            b"transfer-encoding" in fields
            or int(fields.get(b"content-length", b"0")) > 0
        ),
    )


def _parse_with_h11(head: bytes) -> h11.Request:
    # A connection of h11 lives for one message: it keeps no state that we need.
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise ProtocolError(error.error_status_hint, str(error)) from None
    if not isinstance(event, h11.Request):
        raise ProtocolError(400, "not a request")
    return event


def _keeps_alive(connection: bytes, *, is_http_1_0: bool) -> bool:
    """RFC 9112 section 9.3; ``close`` wins over all else."""
    options = {option.strip(b" \t") for option in connection.lower().split(b",")}
    return b"close" not in options and (not is_http_1_0 or b"keep-alive" in options)
