"""The ways to move bytes from a file to a socket, and from one socket to another.

Each function moves all that there is, up to the end of the file or of the stream, in
pieces of *size* bytes at most. *source* is a descriptor, which a file has at its
beginning; *sink* is a TCP socket. Everything blocks: a call that finds nothing to take,
or no room, waits in the kernel.

Each returns how many system calls moved bytes, or waited. Opening a file, a mapping or
a pipe is not among them: that is done once, whatever the size.
"""

import contextlib
import errno
import fcntl
import mmap
import os
import select
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple


class Moved(NamedTuple):
    """What a way took to move everything."""

    calls: int
    """System calls."""
    completed: int = 0
    """Sends with MSG_ZEROCOPY that the kernel said it was done with."""
    copied: int = 0
    """Those of them that it copied after all."""


def read_and_send(source: int, sink: socket.socket, size: int) -> Moved:
    """Copy into memory of the process, and out of it again: read(2) and send(2)."""
    pieces = 0
    while data := os.read(source, size):
        sink.sendall(data)
        pieces += 1
    return Moved(2 * pieces + 1)  # the last read found the end


def map_and_send(source: int, sink: socket.socket, size: int) -> Moved:
    """Copy out of the pages of the file, which the process sees: mmap(2), send(2)."""
    pieces = 0
    with mmap.mmap(source, 0, prot=mmap.PROT_READ) as file, memoryview(file) as view:
        for start in range(0, len(view), size):
            sink.sendall(view[start : start + size])
            pieces += 1
    return Moved(pieces)


def sendfile(source: int, sink: socket.socket, size: int) -> Moved:
    """Lend the socket the pages of the file: one call."""
    offset = calls = 0
    while count := os.sendfile(sink.fileno(), source, offset, size):
        offset += count
        calls += 1
    return Moved(calls + 1)  # the last one found the end


def splice(source: int, sink: socket.socket, size: int) -> Moved:
    """Lend pages to a pipe, and from there to the socket: two calls.

    *source* may be a file or a socket. The pipe has room for a piece and no more.
    """
    calls = 0
    with open_pipe(size) as (reader, writer):
        while held := os.splice(source, writer, size):
            calls += 1
            while held:
                held -= os.splice(reader, sink.fileno(), held)
                calls += 1
    return Moved(calls + 1)  # the last one found the end


def send_zerocopy(source: int, sink: socket.socket, size: int) -> Moved:
    """Lend pages that the process sees: mmap(2), and send(2) with MSG_ZEROCOPY.

    The kernel says when it needs them no more: that is to be read, now and then.
    """
    sink.setsockopt(socket.SOL_SOCKET, _SO_ZEROCOPY, 1)
    completions = Completions(sink)
    start = calls = sends = 0
    with mmap.mmap(source, 0, prot=mmap.PROT_READ) as file, memoryview(file) as view:
        while start < len(view):
            calls += 1
            try:
                start += sink.send(view[start : start + size], _MSG_ZEROCOPY)
            except OSError as error:
                if error.errno != errno.ENOBUFS or completions.count == sends:
                    raise
                completions.wait()  # so much can't be under way at once
                continue
            sends += 1
            if sends % _BATCH == 0:
                completions.read()
        while completions.count < sends:
            completions.wait()
    return Moved(calls + completions.calls, completions.count, completions.copied)


def receive_and_send(source: int, sink: socket.socket, size: int) -> Moved:
    """Copy into memory of the process, and out of it again: recv(2) and send(2)."""
    pieces = 0
    buffer = memoryview(bytearray(size))
    with socket.socket(fileno=os.dup(source)) as stream:
        while count := stream.recv_into(buffer):
            sink.sendall(buffer[:count])
            pieces += 1
    return Moved(2 * pieces + 1)  # the last recv found the end


@contextlib.contextmanager
def open_pipe(size: int) -> Iterator[tuple[int, int]]:
    """Make a pipe of *size* bytes, rounded up to pages, within a ``with`` block."""
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, size)
        yield reader, writer
    finally:
        os.close(reader)
        os.close(writer)


# Python's socket module has no names for these (asm-generic/socket.h, linux/socket.h,
# linux/errqueue.h).
_SO_ZEROCOPY = 60
_MSG_ZEROCOPY = 0x4000000
_ORIGIN_ZEROCOPY = 5
_CODE_COPIED = 1
# struct sock_extended_err: errno, origin, type, code, padding, and the first and the
# last of the sends that are told of. An address comes after it.
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_ANCILLARY = socket.CMSG_SPACE(_EXTENDED_ERROR.size + 28)
# So many sends for each look at the error queue, where they are told of by ranges.
_BATCH = 16


class Completions:
    """What the kernel says on a socket's error queue about sends with MSG_ZEROCOPY.

    See Documentation/networking/msg_zerocopy.rst of the kernel.
    """

    def __init__(self, sink: socket.socket) -> None:
        self._sink = sink
        self._poll = select.poll()
        self._poll.register(sink, 0)  # an error is told without being asked for
        self.calls = 0
        """System calls that all this took."""
        self.count = 0
        """Sends that are completed."""
        self.copied = 0
        """Those whose bytes were copied after all."""

    def wait(self) -> None:
        """Wait until something is told, and read it."""
        self._poll.poll()
        self.calls += 1
        self.read()

    def read(self) -> None:
        """Read the next message, if there is one."""
        self.calls += 1
        try:
            messages = self._sink.recvmsg(0, _ANCILLARY, socket.MSG_ERRQUEUE)[1]
        except BlockingIOError:
            return
        for _, _, data in messages:
            _, origin, _, code, _, first, last = _EXTENDED_ERROR.unpack_from(data)
            if origin == _ORIGIN_ZEROCOPY:
                self.count += last - first + 1
                self.copied += (last - first + 1) if code & _CODE_COPIED else 0
