"""Bytes in pages that are lent to sockets: in files that are only in memory.

What is copied into a socket is fresh in the caches of the CPU that copied it, and
the one that receives has to fetch all of it from there; pages that are lent are the
same ones each time, which both have. And a huge page leaves as one, where each small
one of 4 KiB is looked up, counted and let go of.
"""

import ctypes
import mmap
import os
import socket

from sendfile_server.semantics.ranges import Span

HUGE_PAGE = 2 * 1024 * 1024
"""Bytes of one."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
# fallocate(2): give the pages back, and leave the size as it is.
_FALLOC_FL_KEEP_SIZE, _FALLOC_FL_PUNCH_HOLE = 1, 2
_PUNCH = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
# madvise(2), Linux 6.1: make these pages a huge one, now, whatever the setting of the
# system is for files in memory: "never", most often.
_MADV_COLLAPSE = 25
_MAP_FIXED = 0x10

_libc = ctypes.CDLL(None)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
]


class Lender:
    """A file without a name (memfd_create(2)), in huge pages where they can be had."""

    def __init__(self, name: str, capacity: int) -> None:
        """Lend at most *capacity* bytes at once; none where the kernel refuses."""
        self._free = [page * HUGE_PAGE for page in range(capacity // HUGE_PAGE)]
        self.number = -1
        """The descriptor of the file, if there is one."""
        try:
            self.number = os.memfd_create(name)
            os.ftruncate(self.number, len(self._free) * HUGE_PAGE)
        except OSError:
            self._free = []

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)

    def take(self) -> "Page | None":
        """Take a page that is free, in some milliseconds; None if there is none.

        For one thread at a time. Raises OSError if there is no memory.
        """
        return Page(self, self._free.pop()) if self._free else None

    def take_back(self, start: int) -> None:
        """Let go of a page that nobody holds any more.

        It goes as a whole: a part of a huge page would be cleared in place, and
        sockets that still send it would send that. So they keep it, as it is.
        """
        if not _libc.fallocate(self.number, _PUNCH, start, HUGE_PAGE):
            self._free.append(start)


class Page:
    """A huge page, or as many small ones, which is filled from its start to its end."""

    def __init__(self, lender: Lender, start: int) -> None:
        self._lender = lender
        self._start = self._end = start
        self.number = lender.number
        os.pwrite(self.number, b"\0", start)
        self.is_huge = _collapse(self.number, start)
        """Whether it is one: to send small ones costs no less than the file on disk."""

    def __del__(self) -> None:
        self._lender.take_back(self._start)

    def write(self, data: bytes) -> "Loan | None":
        """Return *data* as a loan, or None if there is no room for it, or no memory."""
        loan = self._reserve(len(data))
        try:
            if loan and os.pwrite(self.number, data, loan.span.start) == len(data):
                return loan
        except OSError:
            pass
        return None

    def copy(self, descriptor: int, span: Span) -> "Loan | None":
        """Return *span* of the file *descriptor* as a loan; None if it doesn't fit.

        Neither does a file that has become shorter. For one thread at a time.
        Raises OSError.
        """
        loan, start = self._reserve(len(span)), span.start
        if loan is None:
            return None
        os.lseek(self.number, loan.span.start, os.SEEK_SET)
        while start < span.stop:
            count = os.sendfile(self.number, descriptor, start, span.stop - start)
            if not count:
                return None
            start += count
        return loan

    def _reserve(self, size: int) -> "Loan | None":
        start = self._end
        if start + size > self._start + HUGE_PAGE:
            return None
        # Where they are small ones, none is sent in two parts.
        self._end = start + -(-size // _PAGE) * _PAGE
        return Loan(self, start, size)


class Loan:
    """Bytes that can be sent for as long as it lives, which keeps its page."""

    __slots__ = ("_page", "number", "span")

    def __init__(self, page: Page, start: int, size: int) -> None:
        self._page = page
        self.number = page.number
        """The descriptor of the file that they are in."""
        self.span = Span(start, start + size)
        """Where they are in it."""

    def send(self, client: socket.SocketType) -> int:
        """Send as much as one call does, and return how many bytes that is.

        Raises OSError, BlockingIOError if there is no room for any.
        """
        start, stop = self.span.start, self.span.stop
        return os.sendfile(client.fileno(), self.number, start, stop - start)


def _collapse(number: int, start: int) -> bool:
    """Make a huge page of those from *start* on, of which the first is there.

    False if there is none.
    """
    # So much memory has an address in it that a huge page can begin at.
    with mmap.mmap(-1, 2 * HUGE_PAGE) as window:
        anywhere = ctypes.addressof(ctypes.c_char.from_buffer(window))
        address = -(-anywhere // HUGE_PAGE) * HUGE_PAGE
        access, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | _MAP_FIXED
        if _libc.mmap(address, HUGE_PAGE, access, flags, number, start) != address:
            return False
        ctypes.string_at(address, 1)  # what is not in the page table stays as it is
        return not _libc.madvise(address, HUGE_PAGE, _MADV_COLLAPSE)
