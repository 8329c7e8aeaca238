"""Request targets (RFC 9112 section 3.2): bytes to a path below the root."""

import re
from dataclasses import dataclass

from sendfile_server.semantics.authorities import is_authority

_ABSOLUTE_FORM = re.compile(rb"(?i:https?)://([^/?]*)")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})?")
# pchar of RFC 3986 section 3.3 without its escapes.
_SAFE = "A-Za-z0-9._~!$&'()*+,;=:@-"
_UNSAFE_IN_SEGMENT = re.compile(f"[^{_SAFE}]".encode())
# And of its section 3.4; whatever is an escape stays one.
_UNSAFE_IN_QUERY = re.compile(f"[^%/?{_SAFE}]|%(?![0-9A-Fa-f]{{2}})".encode())
_BASE_PATH = re.compile(rf"/(?:(?!\.\.?/)[{_SAFE}]+/)*")
# The one dot directory that is meant to be public (RFC 8615).
_WELL_KNOWN = b".well-known"

Base = tuple[bytes, ...]
"""The segments of the path that stands for the root; none if that is ``/``."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a target points: decoded once, dot segments resolved.

    *segments* hold no slash, no backslash and no NUL, and none is empty or a
    dot segment, so that joined by slashes they never leave the root.
    """

    segments: tuple[bytes, ...]
    names_directory: bool
    """Whether the path ended in a slash."""
    query: bytes
    """What follows the path, raw, with its question mark; may be empty."""
    base: Base = ()
    """The segments that came before *segments*."""

    @property
    def is_hidden(self) -> bool:
        """Tell whether a dotfile or dot directory, not /.well-known/, is on the way."""
        public = self.segments[:1] == (_WELL_KNOWN,)
        return any(name.startswith(b".") for name in self.segments[public:])

    @property
    def path(self) -> bytes:
        """The path relative to the root, without slashes at its ends."""
        return b"/".join(self.segments) or b"."


def is_base_path(value: str) -> bool:
    """Tell whether a root can be served at *value*.

    It begins and ends with a slash, and has one form only: no dot segment, nothing
    empty, nothing to escape.
    """
    return _BASE_PATH.fullmatch(value) is not None


def split_base_path(value: str) -> Base:
    """Return the segments of *value*, which is a base path."""
    return tuple(value.encode().split(b"/")[1:-1])


def parse_target(raw: bytes, base: Base = ()) -> Target | int:
    """Return what *raw*, in origin-form or absolute-form, points to below *base*.

    Otherwise the status of the refusal: 400 if *raw* is no such target, 404 if
    it names what can't exist here (an encoded slash, a backslash, a path that
    climbs above the top, or is not below *base* once its dots are resolved).
    """
    absolute = _ABSOLUTE_FORM.match(raw)
    if absolute:
        if not is_authority(absolute[1]):
            return 400
        raw = raw[absolute.end() :]
        if not raw.startswith(b"/"):
            raw = b"/" + raw
    if not raw.startswith(b"/") or b"#" in raw:
        return 400
    path, mark, query = raw.partition(b"?")
    segments: list[bytes] = []
    encoded = path.split(b"/")
    for each in encoded:
        segment = _decode(each)
        if segment is None or b"\0" in segment:
            return 400
        if b"/" in segment or b"\\" in segment:
            return 404
        if segment == b"..":
            if not segments:
                return 404
            segments.pop()
        elif segment not in (b"", b"."):
            segments.append(segment)
    if tuple(segments[: len(base)]) != base:
        return 404
    below, last = tuple(segments[len(base) :]), _decode(encoded[-1])
    return Target(below, last in (b"", b".", b".."), mark + query, base)


def format_location(target: Target) -> bytes:
    """Return the absolute path of *target* with a slash at its end, and the query.

    Both are encoded. It has no scheme, no host and no empty segment, so that it can
    never lead away from this server.
    """
    names = (*target.base, *target.segments)
    path = b"".join(_encode(name) + b"/" for name in names)
    return b"/" + path + _UNSAFE_IN_QUERY.sub(_escape, target.query)


def _decode(segment: bytes) -> bytes | None:
    """Undo the percent-encoding, once; None if an escape is cut or not hex."""
    if b"%" not in segment:
        return segment
    if any(escape[1] is None for escape in _ESCAPE.finditer(segment)):
        return None
    return _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), segment)


def _encode(segment: bytes) -> bytes:
    return _UNSAFE_IN_SEGMENT.sub(_escape, segment)


def _escape(byte: re.Match[bytes]) -> bytes:
    return b"%%%02X" % ord(byte[0])
