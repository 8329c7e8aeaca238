"""One request target to an open file, a redirect, or a refusal."""

import errno
import logging
import os
import stat
from collections.abc import Callable, Mapping

from sendfile_server.resource.files import Descriptor, OpenFile
from sendfile_server.resource.root import Root
from sendfile_server.semantics.media_types import media_type_of
from sendfile_server.semantics.representations import (
    Redirect,
    Refusal,
    Representation,
)
from sendfile_server.semantics.targets import (
    Target,
    format_directory_path,
    parse_target,
)

Outcome = OpenFile | Redirect | Refusal

_log = logging.getLogger(__name__)

# What open(2) may say of a name that a client chose.
_STATUS_OF_ERROR = {
    errno.ENOENT: 404,
    errno.ENOTDIR: 404,
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
        self, root: Root, index: bytes, media_types: Mapping[bytes, bytes]
    ) -> None:
        self._root = root
        self._index = index
        self._media_types = media_types

    def try_resolve(self, raw_target: bytes, now: int) -> Outcome | None:
        """Do as `resolve`, or return None if that might wait for a disk."""
        if self._root.is_remote:
            return None
        try:
            return self._resolve(raw_target, now, self._root.open_cached)
        except BlockingIOError:
            return None

    def resolve(self, raw_target: bytes, now: int) -> Outcome:
        """Return what *raw_target* leads to at *now*, in seconds; may block."""
        try:
            return self._resolve(raw_target, now, self._root.open)
        except BlockingIOError:
            # openat2(2) was overtaken by renames as often as it tried.
            return Refusal(503)

    def _resolve(
        self, raw_target: bytes, now: int, open_: Callable[[bytes], int]
    ) -> Outcome:
        target = parse_target(raw_target)
        if not isinstance(target, Target):
            return Refusal(target)
        if target.is_hidden:
            return Refusal(404)
        self._root.renew(now)
        if target.names_directory:
            name, path = self._index, b"/".join((*target.segments, self._index))
        else:
            name, path = target.segments[-1], target.path
        try:
            descriptor = Descriptor(open_(path))
            state = os.fstat(descriptor.number)
        except BlockingIOError:
            raise  # not an answer yet: the callers above know what to do
        except PermissionError:
            return self._explain_denied(target)
        except OSError as error:
            return _refuse(error)
        if stat.S_ISDIR(state.st_mode) and not target.names_directory:
            return Redirect(format_directory_path(target) + target.query)
        if not stat.S_ISREG(state.st_mode):
            return Refusal(404)
        return OpenFile(
            descriptor,
            Representation(
                state.st_size,
                state.st_mtime_ns,
                media_type_of(name, self._media_types),
            ),
            (state.st_dev, state.st_ino),
            self._root.is_remote,
        )

    def _explain_denied(self, target: Target) -> Outcome:
        """Add the slash to a directory that may be searched but not read."""
        try:
            if not target.names_directory and self._root.is_directory(target.path):
                return Redirect(format_directory_path(target) + target.query)
        except OSError as error:
            return _refuse(error)
        return Refusal(403)


def _refuse(error: OSError) -> Refusal:
    status = _STATUS_OF_ERROR.get(error.errno or 0, 500)
    if status == 500:
        _log.error("the file system failed: %s", error)
    return Refusal(status)
