"""One request target to an open file, a redirect, or a refusal."""

import errno
import logging
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sendfile_server.resource.files import (
    Descriptor,
    Evidence,
    OpenFile,
    identity_of,
    is_settled,
)
from sendfile_server.resource.root import Root
from sendfile_server.semantics.media_types import media_type_of
from sendfile_server.semantics.representations import (
    Redirect,
    Refusal,
    Representation,
    validate_by_state,
)
from sendfile_server.semantics.targets import (
    Base,
    Target,
    format_location,
    parse_target,
)

Outcome = OpenFile | Redirect | Refusal

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """What a target leads to, and what that rests on."""

    outcome: Outcome
    evidence: Evidence | None = None
    """None if no later look can tell whether it still holds."""


# For how long the kernel is believed to have a name in its cache after somebody looked
# at it, so that stat(2) waits for no disk. After that, a way is taken that takes
# longer, and can't wait.
_NAME_CACHED_S = 60

# What open(2) may say of a name that a client chose.
_STATUS_OF_ERROR = {
    errno.ELOOP: 404,
    errno.ENAMETOOLONG: 404,
    errno.EXDEV: 404,  # the path leaves the root
    errno.ENXIO: 404,  # a socket, or a device without a driver
    errno.ENODEV: 404,
    errno.EINVAL: 404,  # a name that this file system can't hold
    errno.EILSEQ: 404,
    errno.EACCES: 403,
    errno.EPERM: 403,
    errno.EMFILE: 503,
    errno.ENFILE: 503,
    errno.ENOMEM: 503,
}


class Resolver:
    """Finds what request targets lead to, below one root."""

    def __init__(
        self,
        root: Root,
        index: bytes,
        media_types: Mapping[bytes, bytes],
        base: Base = (),
    ) -> None:
        self._root = root
        self._index = index
        self._media_types = media_types
        self._base = base

    def try_resolve(self, raw_target: bytes, now: int) -> Found | None:
        """Do as `resolve`, or return None if that might wait for a disk."""
        if self._root.is_remote:
            return None
        try:
            return self._resolve(raw_target, now, self._root.open_cached)
        except BlockingIOError:
            return None

    def still_holds(self, evidence: Evidence, since: int, now: int) -> bool:
        """Tell whether what *evidence* led to at *since* would be found at *now*.

        Waits for no disk, unless a name that was looked at within a minute has left
        the kernel's cache. Never true of a file that had changed just before *since*:
        it may have changed once more, and no timestamp tells, however late one looks.
        """
        if self._root.is_remote:
            return False  # nor is the root looked at: that may wait as well
        self._root.renew(now)
        if self._root.is_remote:
            return False
        is_cached = now - since <= _NAME_CACHED_S
        look = self._root.stat if is_cached else self._root.stat_cached
        try:
            state = look(evidence.path)
        except (FileNotFoundError, NotADirectoryError):
            return evidence.identity is None
        except OSError:
            return False
        identity = identity_of(state)
        return is_settled(identity, since) and identity == evidence.identity

    def resolve(self, raw_target: bytes, now: int) -> Found:
        """Return what *raw_target* leads to at *now*, in seconds; may block."""
        try:
            return self._resolve(raw_target, now, self._root.open)
        except BlockingIOError:
            # openat2(2) was overtaken by renames as often as it tried.
            return Found(Refusal(503))

    def _resolve(
        self, raw_target: bytes, now: int, open_: Callable[[bytes], int]
    ) -> Found:
        target = parse_target(raw_target, self._base)
        if not isinstance(target, Target):
            return Found(Refusal(target))
        if target.is_hidden:
            return Found(Refusal(404))
        self._root.renew(now)
        path = target.path
        if target.names_directory:
            path = b"/".join((*target.segments, self._index))
        try:
            descriptor = Descriptor(open_(path))
            state = os.fstat(descriptor.number)
        except BlockingIOError:
            raise  # not an answer yet: the callers above know what to do
        except (FileNotFoundError, NotADirectoryError):
            return Found(Refusal(404), Evidence(path, None))
        except PermissionError:
            return Found(self._explain_denied(target))
        except OSError as error:
            return Found(_refuse(error))
        evidence = Evidence(path, identity_of(state))
        if stat.S_ISDIR(state.st_mode) and not target.names_directory:
            location = format_location(target)
            return Found(Redirect(location), evidence)
        if not stat.S_ISREG(state.st_mode):
            return Found(Refusal(404))
        name = path.rpartition(b"/")[2]
        media_type = media_type_of(name, self._media_types)
        size, mtime_ns = state.st_size, state.st_mtime_ns
        validators = validate_by_state(mtime_ns, size)
        representation = Representation(size, mtime_ns, media_type, validators)
        is_remote = self._root.is_remote
        identity = identity_of(state)
        file = OpenFile(descriptor, representation, path, identity, is_remote)
        return Found(file, evidence)

    def _explain_denied(self, target: Target) -> Redirect | Refusal:
        """Add the slash to a directory that may be searched but not read."""
        try:
            if not target.names_directory and self._root.is_directory(target.path):
                return Redirect(format_location(target))
        except OSError as error:
            return _refuse(error)
        return Refusal(403)


def _refuse(error: OSError) -> Refusal:
    status = _STATUS_OF_ERROR.get(error.errno or 0, 500)
    if status == 500:
        _log.error("the file system failed: %s", error)
    return Refusal(status)
