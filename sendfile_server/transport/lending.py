"""Bytes in pages that are lent to sockets: in a file that is only in memory.

What is copied into a socket is fresh in the caches of the CPU that copied it, and
the one that receives has to fetch all of it from there; pages that are lent are the
same ones each time, which both have. And head and body leave in one sendfile(2).
"""

import ctypes
import os
import socket

# fallocate(2): give the pages back, and leave the size as it is.
_FALLOC_FL_KEEP_SIZE, _FALLOC_FL_PUNCH_HOLE = 1, 2
_PUNCH = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
_PAGE = os.sysconf("SC_PAGE_SIZE")

_fallocate = ctypes.CDLL(None).fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]


class Lender:
    """A file without a name (memfd_create(2)), of which each loan has its own pages.

    A place is never used twice, since sockets may still send what was there: they
    keep such pages when the file lets go of them.
    """

    def __init__(self, capacity: int) -> None:
        """Lend at most *capacity* bytes at once; none where the kernel refuses."""
        self._capacity = capacity
        self._lent = 0
        self._end = 0
        self.number = -1
        """The descriptor of the file, if there is one."""
        try:
            self.number = os.memfd_create("answers")
        except OSError:
            self._capacity = 0

    def __del__(self) -> None:
        if self.number >= 0:
            os.close(self.number)

    def lend(self, data: bytes) -> "Loan | None":
        """Return *data* as a loan, or None if there is no room for it."""
        room = -(-len(data) // _PAGE) * _PAGE
        if self._lent + room > self._capacity:
            return None
        loan = Loan(self, self._end, room)
        self._lent += room
        self._end += room
        if not self._has_written(data, loan.start):
            self._capacity = 0  # no memory, or a limit: once is enough
            return None
        return loan

    def _has_written(self, data: bytes, start: int) -> bool:
        try:
            return os.pwrite(self.number, data, start) == len(data)
        except OSError:
            return False

    def take_back(self, start: int, room: int) -> None:
        """Let go of the pages of a loan that has ended."""
        self._lent -= room
        if _fallocate(self.number, _PUNCH, start, room):
            self._capacity = 0


class Loan:
    """Bytes that can be sent for as long as it lives."""

    __slots__ = ("_lender", "_room", "start")

    def __init__(self, lender: Lender, start: int, room: int) -> None:
        self._lender = lender
        self.start = start
        self._room = room

    def __del__(self) -> None:
        self._lender.take_back(self.start, self._room)

    def send(self, client: socket.SocketType, size: int) -> int:
        """Send the first *size* bytes as far as one call does, and return how many.

        Raises OSError, BlockingIOError if there is no room for any.
        """
        return os.sendfile(client.fileno(), self._lender.number, self.start, size)
