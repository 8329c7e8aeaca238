"""Open a path below a directory, whatever links and ``..`` say.

Two ways that agree: openat2(2) with RESOLVE_BENEATH, in one race-free call, and
a walk of openat(2) with O_NOFOLLOW for kernels (before 5.6) and sandboxes that
lack it. Both follow relative links that stay below the directory; an absolute
link, and any step above the directory, is EXDEV.
"""

import ctypes
import errno
import os
import stat
import struct
from collections import deque
from collections.abc import Callable

OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""Non-blocking, so that opening a FIFO returns; harmless for a regular file."""

LOOK_FLAGS = os.O_PATH | os.O_CLOEXEC
"""To see what is there, without the permission to read it."""

Opener = Callable[[int, bytes, int], int]
"""(directory descriptor, relative path, flags) to a descriptor, or OSError."""

# linux/openat2.h; the system call has one number on all architectures.
_SYS_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08
_RESOLVE_CACHED = 0x20
_OPEN_HOW = struct.Struct("QQQ")
# With a ".." in the path, a rename anywhere in the system is EAGAIN.
_ATTEMPTS = 32
_STEP_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# As many as path_resolution(7) allows.
_MAX_LINKS = 40

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
]


def open_beneath(directory: int, path: bytes, flags: int) -> int:
    """Open *path* by openat2(2)."""
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS
    for _ in range(_ATTEMPTS - 1):
        try:
            return _openat2(directory, path, flags, resolve)
        except (BlockingIOError, InterruptedError):
            continue
    return _openat2(directory, path, flags, resolve)


def open_beneath_cached(directory: int, path: bytes, flags: int) -> int:
    """Open *path* by openat2(2) if that takes no disk; else BlockingIOError.

    The kernel walks its cache of names only (Linux 5.12 and later), and declines,
    too, to follow a link whose time of access must be noted.
    """
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS | _RESOLVE_CACHED
    return _openat2(directory, path, flags, resolve)


def open_by_walk(directory: int, path: bytes, flags: int) -> int:
    """Open *path* by one openat(2) a component, resolving links here."""
    pending = deque(path.split(b"/"))
    trail = [os.dup(directory)]
    links = 0
    try:
        while pending:
            name = pending.popleft()
            if name in (b"", b"."):
                continue
            if name == b"..":
                os.close(trail.pop())
                if not trail:
                    raise _error(errno.EXDEV)
                continue
            try:
                if not pending:
                    return _open_last(trail[-1], name, flags)
                trail.append(os.open(name, _STEP_FLAGS, dir_fd=trail[-1]))
            except OSError as refusal:
                if refusal.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                links += 1
                target = _read_link(trail[-1], name, refusal)
                if links > _MAX_LINKS:
                    raise _error(errno.ELOOP) from None
                if target.startswith(b"/"):
                    raise _error(errno.EXDEV) from None
                pending.extendleft(reversed(target.split(b"/")))
        return os.open(b".", flags | os.O_DIRECTORY, dir_fd=trail[-1])
    finally:
        for descriptor in trail:
            os.close(descriptor)


def choose_openers(directory: int) -> tuple[Opener, Opener | None]:
    """Return the best way to open, and the best that never waits for a disk."""
    try:
        os.close(open_beneath(directory, b".", LOOK_FLAGS))
    except OSError:
        return open_by_walk, None
    try:
        os.close(open_beneath_cached(directory, b".", LOOK_FLAGS))
    except OSError:
        return open_beneath, None
    return open_beneath, open_beneath_cached


def _openat2(directory: int, path: bytes, flags: int, resolve: int) -> int:
    how = _OPEN_HOW.pack(flags, 0, resolve)
    descriptor: int = _syscall(_SYS_OPENAT2, directory, path, how, len(how))
    if descriptor < 0:
        raise _error(ctypes.get_errno())
    return descriptor


def _open_last(directory: int, name: bytes, flags: int) -> int:
    """Open *name* if it is no link; else ELOOP."""
    descriptor = os.open(name, flags | os.O_NOFOLLOW, dir_fd=directory)
    # With O_PATH, a link is opened itself instead of being refused.
    if stat.S_ISLNK(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _error(errno.ELOOP)
    return descriptor


def _read_link(directory: int, name: bytes, refusal: OSError) -> bytes:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        # Not a link, so the first error meant what it said.
        raise refusal from None


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))
