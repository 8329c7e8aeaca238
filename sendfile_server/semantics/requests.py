"""A validated request: all that an answer may depend on."""

from collections.abc import Mapping
from dataclasses import dataclass

KEPT_FIELDS = frozenset(
    (
        b"host",
        b"connection",
        b"content-length",
        b"transfer-encoding",
        b"expect",
        b"upgrade",
        b"range",
        b"if-match",
        b"if-none-match",
        b"if-modified-since",
        b"if-unmodified-since",
        b"if-range",
    )
)
"""Names of the fields that `Request` exposes, in lower case.

An answer cannot depend on any other field, because nothing past the parser can
see it. Who needs another one adds it here.
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request whose framing is beyond doubt (RFC 9112)."""

    method: bytes
    target: bytes
    """The request target as it came: origin-form, absolute-form, or ``*``."""
    fields: Mapping[bytes, bytes]
    """Kept fields by lower-case name; several lines of one name joined by ``, ``."""
    is_http_1_0: bool
    keeps_alive: bool
    """Whether the client wants the connection to go on (RFC 9112 section 9.3)."""
    has_body: bool
    """Whether content follows the head; nothing here ever reads it."""
