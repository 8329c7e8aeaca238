"""Descriptors that close themselves, and files that are open for sending."""

import os
from dataclasses import dataclass

from sendfile_server.semantics.representations import Representation


class Descriptor:
    """A file descriptor that is closed when its last holder lets go.

    Python's own reference count is the count. So whoever uses the number, in
    whichever thread, holds the object meanwhile, and never sends or opens by a
    number that has become somebody else's.
    """

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file, open for reading, in the state that fstat(2) told."""

    descriptor: Descriptor
    representation: Representation
    identity: tuple[int, int]
    """Device and inode."""
    is_remote: bool
    """Whether any call on it may wait for a network."""


def read(file: OpenFile, start: int, stop: int) -> bytes:
    """Return those bytes of *file*, fewer if it has become shorter."""
    pieces = []
    while start < stop:
        piece = os.pread(file.descriptor.number, stop - start, start)
        if not piece:
            break
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)
