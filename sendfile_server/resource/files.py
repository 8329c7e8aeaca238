"""Descriptors that close themselves, files open for sending, and their states."""

import os
from dataclasses import dataclass, field

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


# A file that was written within this time may be written again without another
# timestamp: the clock that files are stamped by is coarse.
_UNSETTLED_NS = 2_000_000_000

Identity = tuple[int, int, int, int, int]
"""One state of one file: device, inode, size, and mtime and ctime in nanoseconds."""


def identity_of(state: os.stat_result) -> Identity:
    """Return what stat(2) tells a file and its state from all others by."""
    return (
        state.st_dev,
        state.st_ino,
        state.st_size,
        state.st_mtime_ns,
        state.st_ctime_ns,
    )


def is_settled(identity: Identity, now: int) -> bool:
    """Tell whether whatever is done after *now*, in seconds, shows in the identity."""
    return identity[4] <= now * 1_000_000_000 - _UNSETTLED_NS


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an outcome rests on, so that one stat(2) tells whether it still does."""

    path: bytes
    """Relative to the root."""
    identity: Identity | None
    """None if there was nothing at the path."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class OpenFile:
    """A regular file, open for reading, in the state that fstat(2) told."""

    descriptor: Descriptor
    representation: Representation
    path: bytes
    """Relative to the root."""
    identity: Identity
    """The state in which it was opened."""
    is_remote: bool
    """Whether any call on it may wait for a network."""
    proven: dict[int, int] = field(default_factory=dict, compare=False)
    """Which windows were seen to be in memory, and in which wall second."""

    @property
    def evidence(self) -> Evidence:
        """What tells whether it would be found again."""
        return Evidence(self.path, self.identity)


def is_unchanged(file: OpenFile) -> bool:
    """Tell whether *file* is still in the state in which it was opened.

    Whatever is done to it moves its ctime on.
    """
    return os.fstat(file.descriptor.number).st_ctime_ns == file.identity[4]


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
