"""Pipes that carry bytes from one socket to another without copying (splice(2)).

What one holds, another can hold as well (tee(2)), on its way to a file.

Two invariants make "would block" unambiguous, which otherwise may mean that the
source has nothing or that the pipe is full: a pipe is filled only when it is empty,
and emptied only when it holds something.
"""

import ctypes
import errno
import fcntl
import os

_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
# Some kernels, sandboxes and kinds of sockets have no splice; what it needs is
# refused as one of these (splice(2), ERRORS; seccomp(2)).
_REFUSED = frozenset((errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP))
# A smaller one, which is all that a user beyond the quota gets (pipe(7),
# pipe-user-pages-soft), takes more calls than copying.
_LEAST_SIZE = 65536
_MOST_IDLE = 16
# To be refused takes five calls of the kernel, so what was refused is asked for again
# only after so many have done without.
_DECLINED = 64

_tee = ctypes.CDLL(None, use_errno=True).tee
_tee.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint]
_tee.restype = ctypes.c_ssize_t


class SpliceRefusedError(OSError):
    """Splice or tee can't be used here; what the pipe holds is still in it."""


class Pipe:
    """One pipe, with the number of bytes that are in it."""

    __slots__ = ("_reader", "_writer", "carried", "held", "size", "taken")

    def __init__(self, size: int) -> None:
        """Make a pipe of *size* bytes, or of what is allowed; or raise OSError."""
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        """Bytes that are in it."""
        self.taken = 0
        """Bytes that came in last when it carried; 0 is the end of the stream."""
        self.carried = 0
        """Bytes that went through when it carried."""
        try:
            self.size = fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, size)
        except OSError:
            self.size = fcntl.fcntl(self._writer, fcntl.F_GETPIPE_SZ)

    def fill(self, source: int) -> int:
        """Move what *source* has into the empty pipe, and return how much it was.

        0 is the end of the stream. Raises BlockingIOError, SpliceRefusedError and
        other OSErrors of the source.
        """
        assert not self.held, "a pipe is filled only when it is empty"
        try:
            self.held = os.splice(source, self._writer, self.size, flags=_FLAGS)
        except BlockingIOError:
            raise
        except OSError as error:
            raise _explain(error) from None
        return self.held

    def empty(self, sink: int) -> int:
        """Move what is held to *sink*, as far as it has room; return how much it was.

        Raises BlockingIOError, SpliceRefusedError and other OSErrors of the sink.
        """
        assert self.held, "a pipe is emptied only when it holds something"
        try:
            moved = os.splice(self._reader, sink, self.held, flags=_FLAGS)
        except BlockingIOError:
            raise
        except OSError as error:
            raise _explain(error) from None
        self.held -= moved
        return moved

    def carry(self, source: int, sink: int, most: int) -> None:
        """Fill and empty it while it gets full, *sink* takes all, and *most* allows.

        One small loop, since between two calls that move much, the caches have
        forgotten all that led there. What happened is told by the attributes; raises
        what `fill` raises if nothing was there at first, and otherwise what either
        side is broken by.
        """
        assert not self.held, "a pipe is filled only when it is empty"
        splice, size = os.splice, self.size
        self.carried = 0
        try:
            while True:
                count = splice(source, self._writer, size, flags=_FLAGS)
                self.held = self.taken = count
                if not count:
                    return
                sent = splice(self._reader, sink, count, flags=_FLAGS)
                self.held -= sent
                self.carried += sent
                if self.held or count < size or self.carried >= most:
                    return
        except BlockingIOError:
            if not self.carried and not self.held:
                raise
        except OSError as error:
            raise _explain(error) from None

    def tee(self, twin: "Pipe") -> bool:
        """Let the empty *twin* hold the same, and tell whether it could hold all.

        Raises SpliceRefusedError.
        """
        assert self.held, "there is something to hold"
        assert not twin.held, "tee(2) begins with the first byte, whatever is there"
        into = twin._writer  # noqa: SLF001 - of the same class
        count = _tee(self._reader, into, self.held, os.SPLICE_F_NONBLOCK)
        if count < 0:
            error = ctypes.get_errno()
            if error in _REFUSED:
                raise SpliceRefusedError(error, os.strerror(error))
            return False
        twin.held = count
        return bool(count == self.held)

    def take(self) -> bytes:
        """Return all that is held, and hold nothing more."""
        pieces = []
        while self.held:
            pieces.append(os.read(self._reader, self.held))
            self.held -= len(pieces[-1])
        return b"".join(pieces)

    def close(self) -> None:
        """Let go of it, and of what is in it."""
        os.close(self._reader)
        os.close(self._writer)


class Pipes:
    """The pipes of one worker: lent while they are needed, and only empty ones kept."""

    def __init__(self, size: int, most: int) -> None:
        """Make at most *most* pipes, of *size* bytes."""
        self._size = size
        self._most = most
        self._count = 0
        self._idle: list[Pipe] = []
        self._declined = 0
        """How many more are to do without one before it is asked for again."""

    def borrow(self) -> Pipe | None:
        """Return an empty pipe; None if all are lent, or there is no quota for more."""
        if self._idle:
            return self._idle.pop()
        if self._count >= self._most:
            return None
        if self._declined:
            self._declined -= 1
            return None
        pipe = self._make()
        if pipe:
            self._count += 1
        else:
            self._declined = _DECLINED
        return pipe

    def _make(self) -> Pipe | None:
        try:
            pipe = Pipe(self._size)
        except OSError:
            return None
        if pipe.size < min(self._size, _LEAST_SIZE):
            pipe.close()
            return None
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take back *pipe*; what is still in it is nobody's."""
        if pipe.held or len(self._idle) >= _MOST_IDLE:
            pipe.close()
            self._count -= 1
        else:
            self._idle.append(pipe)

    def close(self) -> None:
        """Close those that are not lent; whoever has one closes it."""
        while self._idle:
            self._idle.pop().close()


def _explain(error: OSError) -> OSError:
    if error.errno in _REFUSED:
        return SpliceRefusedError(error.errno, error.strerror)
    return error
