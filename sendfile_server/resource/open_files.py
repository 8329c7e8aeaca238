"""Files that stay open from one request to the next.

Only big ones: a small file is remembered as the answer that it became.
"""

from dataclasses import dataclass

from sendfile_server.resource.files import OpenFile, is_unchanged
from sendfile_server.resource.resolver import Found, Resolver

# An open file holds its space on the disk even after it was removed.
_MAX_REST_S = 10


@dataclass(slots=True)
class _Entry:
    found: Found
    file: OpenFile
    """Its outcome."""
    checked: int
    """When its path was last seen to lead to it, in wall seconds."""
    used: int
    """When it was last asked for."""


class OpenFiles:
    """At most *capacity* files by request target, the latest opened of them."""

    def __init__(
        self, resolver: Resolver, capacity: int, smallest: int, freshness: int
    ) -> None:
        """Keep what *resolver* finds, if it has *smallest* bytes or more.

        Its path is looked at again after *freshness* seconds.
        """
        self._resolver = resolver
        self._capacity = capacity
        self._smallest = smallest
        self._freshness = freshness
        self._entries: dict[bytes, _Entry] = {}

    @property
    def count(self) -> int:
        """How many are open."""
        return len(self._entries)

    def try_resolve(self, target: bytes, now: int) -> Found | None:
        """Do as `Resolver.try_resolve`, but look for no file that is open here.

        What was not looked at in this second comes without evidence: who remembers
        it would take it for new, and it would get twice as old as it may.
        """
        found = self._recall(target, now)
        if found is None:
            found = self._resolver.try_resolve(target, now)
            if found and isinstance(found.outcome, OpenFile):
                self._keep(target, found, found.outcome, now)
        return found

    def _recall(self, target: bytes, now: int) -> Found | None:
        """Return what *target* led to if it still does, unchanged."""
        entry = self._entries.get(target)
        if entry is None:
            return None
        if not 0 <= now - entry.checked < self._freshness:
            evidence = entry.file.evidence
            if not self._resolver.still_holds(evidence, entry.checked, now):
                del self._entries[target]
                return None
            entry.checked = now
        # What changed in place is noticed at once: a head and a body that do not
        # belong together would be worse than an old answer.
        if not is_unchanged(entry.file):
            del self._entries[target]
            return None
        entry.used = now
        return entry.found if entry.checked == now else Found(entry.file)

    def _keep(self, target: bytes, found: Found, file: OpenFile, now: int) -> None:
        if file.representation.size < self._smallest or not self._capacity:
            return
        self._entries.pop(target, None)
        if len(self._entries) >= self._capacity:
            del self._entries[next(iter(self._entries))]
        self._entries[target] = _Entry(found, file, now, now)

    def close_idle(self, now: int) -> None:
        """Let go of files that nobody has asked for lately."""
        idle = [
            target
            for target, entry in self._entries.items()
            if not 0 <= now - entry.used <= _MAX_REST_S
        ]
        for target in idle:
            del self._entries[target]
