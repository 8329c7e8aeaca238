"""Entity tags of the content of big files, each state of which is hashed once.

Small files are hashed as they are read, so that the tag is of the very bytes that are
sent. A big one is sent later, by the kernel, so that all rests on its identity:

1. It stands for one content only once it is settled. Until then there is no tag.
2. It is looked at again after the hash: what changed meanwhile has no tag.
3. A network file system may tell an old one: there is no tag there.

What has no tag has no date either: whatever is changing it may be at it again within
the second.
"""

import logging
from collections.abc import Callable

from sendfile_server.hosting.clock import Clock
from sendfile_server.hosting.pool import Pool
from sendfile_server.resource.files import (
    Identity,
    OpenFile,
    is_settled,
    is_unchanged,
)
from sendfile_server.resource.hashing import Hashing
from sendfile_server.semantics.etags import EntityTag
from sendfile_server.semantics.representations import Representation

_log = logging.getLogger(__name__)

# Better an answer without a tag than one that comes late.
_PATIENCE_S = 5


Hashed = Callable[[EntityTag | None], None]
"""Is told, on the loop, the tag of a file; None if there is none, or none yet."""


class ContentTags:
    """The tags of one worker; used on the loop only."""

    def __init__(self, clock: Clock, pool: Pool, capacity: int) -> None:
        """Hash in *pool*, and remember at most *capacity* tags, the latest."""
        self._clock = clock
        self._pool = pool
        self._capacity = capacity
        self._known: dict[Identity, EntityTag] = {}
        self._waiting: dict[Identity, list[Hashed]] = {}

    @property
    def has_room(self) -> bool:
        """Tell whether another file may be hashed."""
        return self._pool.has_room

    def label(self, file: OpenFile) -> Representation | None:
        """Return what *file* is, with its validators; None if it is to be hashed."""
        if file.is_remote or not is_settled(file.identity, self._clock.now):
            return file.representation.tagged(None)
        tag = self._known.get(file.identity)
        return file.representation.tagged(tag) if tag else None

    def hash(self, file: OpenFile, hashed: Hashed) -> None:
        """Hash *file*, unless that is under way already, and then call *hashed*."""
        waiting = self._waiting.get(file.identity)
        if waiting is None:
            self._waiting[file.identity] = [hashed]
            self._go_on(Hashing(file), self._clock.elapsed)
        else:
            waiting.append(hashed)

    def _go_on(self, hashing: Hashing, began: float) -> None:
        identity = hashing.file.identity

        def advanced(result: EntityTag | Exception | None) -> None:
            if result is None:
                self._go_on(hashing, began)
                if self._clock.elapsed - began >= _PATIENCE_S:
                    self._tell(identity, None)
                    self._waiting[identity] = []
                return
            tag = None
            if isinstance(result, Exception):
                _log.error("a job failed", exc_info=result)
            elif is_unchanged(hashing.file):
                tag = result
                self._keep(identity, tag)
            self._tell(identity, tag)

        self._pool.submit(hashing.advance, advanced)

    def _keep(self, identity: Identity, tag: EntityTag) -> None:
        if not self._capacity:
            return
        if len(self._known) >= self._capacity:
            del self._known[next(iter(self._known))]
        self._known[identity] = tag

    def _tell(self, identity: Identity, tag: EntityTag | None) -> None:
        for hashed in self._waiting.pop(identity):
            hashed(tag)
