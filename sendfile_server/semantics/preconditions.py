"""Conditional requests (RFC 9110 section 13), in the order of section 13.2.2."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from sendfile_server.semantics.dates import parse_http_date
from sendfile_server.semantics.etags import (
    EntityTag,
    parse_entity_tag,
    parse_entity_tags,
)

_DATE_FIELDS = (b"if-modified-since", b"if-unmodified-since", b"if-range")


class Verdict(Enum):
    """What the preconditions of a GET or HEAD come to."""

    PROCEED = auto()
    NOT_MODIFIED = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Validators:
    """What the selected representation is compared by; None where it has none."""

    entity_tag: EntityTag | None
    modified: int | None
    """Seconds since the epoch, rounded down."""


def evaluate(fields: Mapping[bytes, bytes], current: Validators, now: int) -> Verdict:
    """Return the verdict of all preconditions of a GET or HEAD, If-Range apart.

    *now* is in seconds since the epoch. A field that cannot be read is treated
    as its section says: a date is ignored, a list of tags matches nothing.
    """
    if b"if-match" in fields:
        if not _matches_strongly(fields[b"if-match"], current):
            return Verdict.FAILED
    elif _is_modified_since(fields.get(b"if-unmodified-since"), current, now) is True:
        return Verdict.FAILED
    if b"if-none-match" in fields:
        if _matches_weakly(fields[b"if-none-match"], current):
            return Verdict.NOT_MODIFIED
    elif _is_modified_since(fields.get(b"if-modified-since"), current, now) is False:
        return Verdict.NOT_MODIFIED
    return Verdict.PROCEED


def depends_on_time(
    fields: Mapping[bytes, bytes], current: Validators, now: int
) -> bool:
    """Tell whether, after *now*, another verdict or other fields may be due.

    A file from this second or from the future may be dated otherwise, and a year
    of two digits be of another century. All else is decided for good.
    """
    if current.modified is not None and current.modified >= now:
        return True
    return any(_is_rfc_850(fields.get(name, b"")) for name in _DATE_FIELDS)


def allows_range(if_range: bytes, current: Validators, now: int) -> bool:
    """Tell whether the If-Range value is the current strong validator (13.1.5)."""
    tag = parse_entity_tag(if_range)
    if tag is not None:
        return current.entity_tag is not None and tag.strongly_matches(
            current.entity_tag
        )
    # A second date is only strong once its second is over (section 8.8.2.2).
    return (
        current.modified is not None
        and parse_http_date(if_range, now) == current.modified
        and current.modified < now
    )


def _is_rfc_850(value: bytes) -> bool:
    # An entity tag that is weak begins with a letter too.
    return b"-" in value and value[:1].isalpha() and not value.startswith(b"W/")


def _matches_strongly(value: bytes, current: Validators) -> bool:
    if value == b"*":
        return True
    tag = current.entity_tag
    return tag is not None and any(map(tag.strongly_matches, parse_entity_tags(value)))


def _matches_weakly(value: bytes, current: Validators) -> bool:
    if value == b"*":
        return True
    tag = current.entity_tag
    return tag is not None and any(map(tag.weakly_matches, parse_entity_tags(value)))


def _is_modified_since(
    value: bytes | None, current: Validators, now: int
) -> bool | None:
    """Tell whether the file is newer than the date; None if that can't be said."""
    since = None if value is None else parse_http_date(value, now)
    if since is None or current.modified is None:
        return None
    return current.modified > since
