"""Tell whether pages of a file are in memory, so that sending them can't block."""

import ctypes
import os
import struct

from sendfile_server.resource.files import OpenFile

_SYS_CACHESTAT = 451  # Linux 6.5; one number on all architectures
_RANGE = struct.Struct("QQ")
# Five counters, of which the first is that of cached pages. Nobody else keeps the type,
# which is part of a cycle.
_Result = ctypes.c_char * 40
_COUNTER = struct.Struct("Q")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Readahead brings at least this much at once, so that the last byte of each such
# window, and the first of all, stand for the rest.
_WINDOW = 65536
# What was seen to be in memory stays there for a while after it was used: windows
# of so many bytes, for so many seconds, and so many of one file.
_PROVEN_WINDOW = 1024 * 1024
_PROVEN_S = 2
_MOST_PROVEN = 4096
_NEVER = -(2**62)

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_uint,
]


class Residency:
    """Judges spans of files, with a memory of what was sent lately.

    Where the kernel can't tell (overlayfs, as in every container), what was
    sent lately counts as warm, and all else as cold. The memory is two
    generations of at most *capacity* windows each; a capacity of 0 is none.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._capacity = capacity
        self._young: set[tuple[int, int, int]] = set()
        self._old: set[tuple[int, int, int]] = set()

    def is_warm(self, file: OpenFile, start: int, stop: int, now: int) -> bool:
        """Tell whether bytes *start* to *stop* of *file* can be sent at once.

        What was seen to be in memory a moment before *now*, in wall seconds, is
        not asked for again: asking costs a tenth of sending.
        """
        if file.is_remote:
            return False
        proven = file.proven
        window, last = start // _PROVEN_WINDOW, (stop - 1) // _PROVEN_WINDOW
        while window <= last:
            is_proven = 0 <= now - proven.get(window, _NEVER) <= _PROVEN_S
            if not is_proven and not self._prove(file, window, start, stop, now):
                return False
            window += 1
        return True

    def _prove(
        self, file: OpenFile, window: int, start: int, stop: int, now: int
    ) -> bool:
        """Look at what is wanted of *window*; if it is there, at all of the window."""
        begin, end = window * _PROVEN_WINDOW, (window + 1) * _PROVEN_WINDOW
        if not self._is_in_memory(file, max(begin, start), min(end, stop)):
            return False
        end = min(end, max(stop, file.representation.size))
        if self._is_in_memory(file, begin, end):
            if len(file.proven) >= _MOST_PROVEN:
                file.proven.clear()
            file.proven[window] = now
        return True

    def _is_in_memory(self, file: OpenFile, start: int, stop: int) -> bool:
        known = _is_resident(file.descriptor.number, start, stop)
        return self._was_sent(file, start, stop) if known is None else known

    def try_read(self, file: OpenFile, start: int, stop: int) -> bytes | None:
        """Return those bytes of *file* if that takes no waiting, else None.

        None as well if the file has become shorter.
        """
        if file.is_remote:
            return None
        number, data = file.descriptor.number, bytearray(stop - start)
        try:
            count = os.preadv(number, [data], start, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError:
            # overlayfs and tmpfs can't tell.
            if not self._was_sent(file, start, stop):
                return None
            count = os.preadv(number, [data], start)
        return bytes(data) if count == len(data) else None

    def note_sent(self, file: OpenFile, start: int, stop: int) -> None:
        """Remember that bytes *start* to *stop* of *file* went through memory."""
        if not self._capacity:
            return
        for key in _window_keys(file, start, stop):
            if len(self._young) >= self._capacity:
                self._young, self._old = set(), self._young
            self._young.add(key)

    def _was_sent(self, file: OpenFile, start: int, stop: int) -> bool:
        keys = _window_keys(file, start, stop)
        return all(key in self._young or key in self._old for key in keys)


def _window_keys(file: OpenFile, start: int, stop: int) -> list[tuple[int, int, int]]:
    windows = range(start // _WINDOW, (stop - 1) // _WINDOW + 1)
    device, inode, *_ = file.identity
    return [(device, inode, window) for window in windows]


def _is_resident(descriptor: int, start: int, stop: int) -> bool | None:
    """Ask the kernel; None where it can't tell."""
    cached = _cached_pages(descriptor, start, stop)
    if cached and cached < (stop - 1) // _PAGE - start // _PAGE + 1:
        return False
    # Pages that are still being read count as cached, and some kernels and file
    # systems count none: then a read that must not wait knows.
    probe = [bytearray(1)]
    try:
        # The first byte, too: what it comes with may end there, and come later.
        ends = range(start + _WINDOW - 1, stop - 1, _WINDOW)
        for offset in (start, *ends, stop - 1):
            os.preadv(descriptor, probe, offset, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True if cached else None
    return cached != 0


def _cached_pages(descriptor: int, start: int, stop: int) -> int | None:
    """Count the pages that cachestat(2) sees; None where there is no such call."""
    result = _Result()
    span = _RANGE.pack(start, stop - start)
    if _syscall(_SYS_CACHESTAT, descriptor, span, result, 0):
        return None
    count: int = _COUNTER.unpack_from(result)[0]
    return count
