"""The directory that is served, found again when a deployment swaps it."""

import ctypes
import os
import stat
import struct

from sendfile_server.resource.containment import (
    LOOK_FLAGS,
    OPEN_FLAGS,
    Opener,
    choose_openers,
)
from sendfile_server.resource.files import Descriptor

# linux/magic.h: file systems where each call may wait for another machine, or
# (FUSE) for another program.
_REMOTE_TYPES = frozenset(
    (
        0x00006969,  # NFS
        0x0000517B,  # SMB
        0xFF534D42,  # CIFS
        0xFE534D42,  # SMB2
        0x65735546,  # FUSE
        0x00C36400,  # Ceph
        0x01021997,  # 9P
        0x5346414F,  # AFS
        0x73757245,  # Coda
        0x0BD00BD0,  # Lustre
        0x47504653,  # GPFS
    )
)
# struct statfs has at most 120 bytes and begins with the type, a long.
_Statfs = ctypes.c_char * 256
_LONG = struct.Struct("l")

_fstatfs = ctypes.CDLL(None, use_errno=True).fstatfs
_fstatfs.argtypes = [ctypes.c_int, ctypes.c_char_p]


class Root:
    """A directory by path, and the descriptor that all lookups start from.

    The path may be a symbolic link. It is followed again at most once per
    *freshness* seconds, so that the new tree is served without a restart.
    """

    def __init__(self, path: str, freshness: int, opener: Opener | None = None) -> None:
        """Open *path*, or raise OSError; *opener* forces one way of containment."""
        self._path = path
        self._freshness = freshness
        self._renewed = 0
        self._directory, self._identity = _open_directory(path)
        if opener:
            self._open, self._open_cached = opener, None
        else:
            self._open, self._open_cached = choose_openers(self._directory.number)
        self.is_remote = is_remote(self._directory.number)

    def renew(self, now: int) -> None:
        """Follow the path again if that is due at *now*, in seconds.

        A path that leads nowhere for the moment changes nothing.
        """
        if 0 <= now - self._renewed < self._freshness:
            return  # a clock that was set back is no reason to wait
        self._renewed = now
        try:
            state = os.stat(self._path)
            if (state.st_dev, state.st_ino) != self._identity:
                self._directory, self._identity = _open_directory(self._path)
                self.is_remote = is_remote(self._directory.number)
        except OSError:
            return

    def open(self, path: bytes) -> int:
        """Open the file at *path* below the root, or raise OSError."""
        directory = self._directory
        return self._open(directory.number, path, OPEN_FLAGS)

    def open_cached(self, path: bytes) -> int:
        """Do the same without waiting, or raise BlockingIOError."""
        return self._open_without_waiting(path, OPEN_FLAGS)

    def stat(self, path: bytes) -> os.stat_result:
        """Return the state of what is at *path* below the root, or raise OSError."""
        directory = self._directory
        found = Descriptor(self._open(directory.number, path, LOOK_FLAGS))
        return os.fstat(found.number)

    def stat_cached(self, path: bytes) -> os.stat_result:
        """Do the same without waiting, or raise BlockingIOError."""
        found = Descriptor(self._open_without_waiting(path, LOOK_FLAGS))
        return os.fstat(found.number)

    def is_directory(self, path: bytes) -> bool:
        """Tell whether *path* is a directory, readable or not; may raise OSError."""
        return stat.S_ISDIR(self.stat(path).st_mode)

    def _open_without_waiting(self, path: bytes, flags: int) -> int:
        directory = self._directory
        if self._open_cached is None or self.is_remote:
            raise BlockingIOError
        return self._open_cached(directory.number, path, flags)


def is_remote(descriptor: int) -> bool:
    """Tell whether *descriptor* is on a network file system or FUSE (statfs(2))."""
    buffer = _Statfs()
    if _fstatfs(descriptor, buffer):
        return False
    return _LONG.unpack_from(buffer)[0] & 0xFFFFFFFF in _REMOTE_TYPES


def _open_directory(path: str) -> tuple[Descriptor, tuple[int, int]]:
    directory = Descriptor(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    state = os.fstat(directory.number)
    return directory, (state.st_dev, state.st_ino)
