"""What a target leads to: a representation, a redirect, or a refusal."""

from dataclasses import dataclass, replace

from sendfile_server.semantics.etags import EntityTag, derive_entity_tag
from sendfile_server.semantics.preconditions import Validators

# Builds that want to be reproducible set every mtime to 0 or 1, so that two
# files of one size would share a validator. Earlier is no more believable.
_EARLIEST_BELIEVED_MTIME_S = 2

NO_VALIDATORS = Validators(entity_tag=None, modified=None)
"""Those of what may change without showing it."""


def validate_by_state(mtime_ns: int, size: int) -> Validators:
    """Return the strong entity tag and the date of modification, if believable."""
    modified = _believable_date(mtime_ns)
    if modified is None:
        return NO_VALIDATORS
    return Validators(derive_entity_tag(mtime_ns, size), modified)


@dataclass(frozen=True, slots=True)
class Representation:
    """The state of one regular file, and how to label it."""

    size: int
    """Bytes."""
    mtime_ns: int
    """Nanoseconds since the epoch."""
    media_type: bytes
    """The value of Content-Type."""
    validators: Validators = NO_VALIDATORS
    """What it is compared by."""

    def tagged(self, tag: EntityTag | None) -> "Representation":
        """Return the same, validated by *tag*, and by its date if it is believable.

        By nothing without a tag.
        """
        validators = NO_VALIDATORS
        if tag:
            validators = Validators(tag, _believable_date(self.mtime_ns))
        return replace(self, validators=validators)


@dataclass(frozen=True, slots=True)
class Redirect:
    """The target is a directory and lacks its slash; *location* has it."""

    location: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing can be sent for the target; *status* says why."""

    status: int


def _believable_date(mtime_ns: int) -> int | None:
    seconds = mtime_ns // 1_000_000_000
    return seconds if seconds >= _EARLIEST_BELIEVED_MTIME_S else None
