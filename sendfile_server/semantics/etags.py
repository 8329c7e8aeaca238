"""Entity tags (RFC 9110 section 8.8.3)."""

import re
from dataclasses import dataclass
from hashlib import blake2b

_TAG = re.compile(rb'(?P<weak>W/)?(?P<opaque>"[\x21\x23-\x7e\x80-\xff]*")')
# Possessive, so that a long run of blanks is not tried at its every division.
_LIST_ELEMENT = re.compile(rb"[ \t]*+(?:" + _TAG.pattern + rb")?[ \t]*+(?:,|\Z)")


@dataclass(frozen=True, slots=True)
class EntityTag:
    """A validator; *opaque* holds its quotes."""

    opaque: bytes
    is_weak: bool = False

    def strongly_matches(self, other: "EntityTag") -> bool:
        """Tell whether both are strong and byte for byte the same."""
        return not self.is_weak and not other.is_weak and self.opaque == other.opaque

    def weakly_matches(self, other: "EntityTag") -> bool:
        """Tell whether both are the same but for their weakness."""
        return self.opaque == other.opaque


def derive_entity_tag(mtime_ns: int, size: int, coding: bytes = b"") -> EntityTag:
    """Return the strong tag of a file state in one content *coding*.

    The inode stays out, so that replicas with the same files agree, and so that
    nothing is said about the disk.
    """
    suffix = b"-" + coding if coding else b""
    return EntityTag(b'"%x-%x%s"' % (mtime_ns, size, suffix))


def hash_content(content: bytes = b"") -> blake2b:
    """Begin a hash of what is in a file, with *content*; ``b2sum -l 128`` is the same.

    So many bits are the same for no two files by accident.
    """
    return blake2b(content, digest_size=16)


def tag_content(hashed: blake2b) -> EntityTag:
    """Return the strong tag of what was hashed, whenever it was written."""
    return EntityTag(b'"%b"' % hashed.hexdigest().encode())


def parse_entity_tag(value: bytes) -> EntityTag | None:
    """Return the one tag that *value* is, or None."""
    match = _TAG.fullmatch(value)
    return EntityTag(match["opaque"], bool(match["weak"])) if match else None


def parse_entity_tags(value: bytes) -> tuple[EntityTag, ...]:
    """Return the tags of a list, none at all if it breaks the grammar.

    Empty elements are skipped (RFC 9110 section 5.6.1.2). The ``*`` of If-Match
    and If-None-Match is not a tag and is not handled here.
    """
    tags = []
    position = 0
    while position < len(value):
        match = _LIST_ELEMENT.match(value, position)
        if not match:
            return ()
        if match["opaque"] is not None:
            tags.append(EntityTag(match["opaque"], bool(match["weak"])))
        position = match.end()
    return tuple(tags)
