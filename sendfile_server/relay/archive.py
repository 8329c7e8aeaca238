"""The directory of recordings: what its files are called, and how much they take.

Everything here may wait for a disk, and runs in threads.

Each worker has a share of the room, and removes the files that bear its number, so
that all of them together keep to what there is without a word to each other. What is
being written is locked (flock(2)), and nobody removes it.
"""

import contextlib
import fcntl
import heapq
import math
import os
import re
import stat
import threading
import time
from collections import deque
from dataclasses import dataclass

from sendfile_server.errors import ConfigError
from sendfile_server.transport.pipes import Pipe, SpliceRefusedError

# When it began, the number of the worker, its process id, and who sent it. Nothing
# else in the directory is ours.
ENDS = ("client", "target")
_NAME = re.compile(
    rf"[0-9]{{8}}T[0-9]{{6}}\.[0-9]{{6}}Z-([0-9]+)-[0-9]+\.({'|'.join(ENDS)})"
)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_REMOVE = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
# What a file takes at least, and in steps of what.
_BLOCK = 4096
# So many that may be removed are kept in mind.
_MOST_KNOWN = 32768
_LAST = "Z"  # sorts behind all names


@dataclass(frozen=True, slots=True)
class Share:
    """Which files one worker looks after, and how much they may take."""

    number: int
    """Of the worker, counted from 0."""
    workers: int
    room: int
    """Bytes."""
    age: float
    """Seconds, since something was last written."""


def open_directory(path: str) -> int:
    """Return a descriptor of the directory at *path*; or raise ConfigError."""
    try:
        directory = os.open(path, _DIRECTORY)
    except OSError as error:
        raise ConfigError(f"cannot record in {path}: {error.strerror}") from None
    if os.access(".", os.W_OK | os.X_OK, dir_fd=directory, effective_ids=True):
        return directory
    os.close(directory)
    raise ConfigError(f"cannot record in {path}: it is not writable")


def name_recording(microseconds: int, number: int) -> str:
    """Return what the files of a recording are called, but for their ends.

    It began so many *microseconds* after the epoch, in worker *number*.
    """
    return f"{_format_time(microseconds)}-{number}-{os.getpid()}"


class Archive:
    """What one worker has in the directory; for any number of threads."""

    def __init__(self, directory: int, share: Share) -> None:
        """Work in the directory with the descriptor *directory*."""
        self.share = share
        self._directory = directory
        self._counting = threading.Lock()
        self._counts = 0
        # For what is below, and never while waiting for a disk.
        self._lock = threading.Lock()
        self._taken = math.inf  # bytes; not counted yet
        self._written: dict[str, int] = {}  # or being removed: what they may take
        self._settled: dict[str, int] | None = None  # or removed, in a count
        self._oldest: deque[str] = deque()  # recordings that may be removed
        self._few = 0

    @property
    def is_due(self) -> bool:
        """Tell whether files should be counted before recordings have to wait for it.

        Most that may be removed are gone since that was done.
        """
        return len(self._oldest) < self._few

    def make_room(self, name: str, size: int) -> None:
        """Let *name* be *size* bytes long; or raise OSError.

        The oldest that are not being written make room for it.
        """
        more = _round(size) - self._written.get(name, 0)
        counts = self._counts
        while not self._has_taken(name, more):
            if recording := self._next(_LAST):
                self._remove(recording, math.inf)
            elif self._counts == counts:
                self._count(counts)
            else:
                raise OSError(None, "recordings take all the room that they may")

    def create(self, name: str) -> int:
        """Return a descriptor of the new file *name*, or raise OSError."""
        file = os.open(name, _CREATE, 0o600, dir_fd=self._directory)
        # Where there are no locks, nothing can be locked to be removed either.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    def settle(self, name: str, size: int | None) -> None:
        """Note that *name* is written, *size* bytes long; None if it is not there."""
        taken = 0 if size is None else _round(size)
        with self._lock:
            self._taken += taken - self._written.pop(name, 0)
            if self._settled is not None:
                self._settled[name] = taken

    def tidy(self) -> None:
        """Count what is there, and remove what is too old; or raise OSError."""
        self._count(self._counts)
        oldest = time.time() - self.share.age
        begun = _format_time(int(oldest * 10**6))
        while recording := self._next(begun):
            self._remove(recording, oldest)

    def _has_taken(self, name: str, more: int) -> bool:
        with self._lock:
            if self._taken + more > self.share.room:
                return False
            self._taken += more
            self._written[name] = self._written.get(name, 0) + more
            return True

    def _next(self, begun: str) -> str | None:
        """Return the oldest that may be removed, if it was begun before *begun*."""
        with self._lock:
            is_there = self._oldest and self._oldest[0] < begun
            return self._oldest.popleft() if is_there else None

    def _remove(self, recording: str, changed: float) -> None:
        """Remove *recording* if nobody writes it, nor has since *changed*.

        That is in seconds since the epoch.
        """
        taken: dict[str, int] = {}
        with contextlib.ExitStack() as stack:
            try:
                for name in (f"{recording}.{end}" for end in ENDS):
                    with contextlib.suppress(FileNotFoundError):
                        file = os.open(name, _REMOVE, dir_fd=self._directory)
                        stack.callback(os.close, file)
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        state = os.fstat(file)
                        if state.st_nlink == 0 or state.st_mtime >= changed:
                            return
                        taken[name] = _round(state.st_size)
            except OSError:  # it is being written elsewhere, or not ours to remove
                return
            # A count that comes between the two must know what either of them leaves.
            with self._lock:
                self._written |= taken
            for name, size in taken.items():
                try:
                    os.unlink(name, dir_fd=self._directory)
                except OSError:
                    self.settle(name, size)
                else:
                    self.settle(name, None)

    def _count(self, counts: int) -> None:
        """Count what is there, and note what may be removed, the oldest first.

        Unless another thread has done so, after it had been done *counts* times.
        Something may have been here before, or others may have removed something.
        """
        with self._counting:
            if self._counts > counts:
                return
            with self._lock:
                self._settled = settled = dict.fromkeys(self._written, 0)
            found = self._find()
            taken = sum(found.values())
            with self._lock:
                self._settled = None
                # Of these, more is known than what was found.
                written = self._written.copy()
                known = settled | written
                self._taken = taken + sum(known.values())
                self._taken -= sum(found.get(name, 0) for name in known)
            found |= known
            recordings = {name.rpartition(".")[0] for name in found if found[name]}
            recordings -= {name.rpartition(".")[0] for name in written}
            oldest = deque(heapq.nsmallest(_MOST_KNOWN, recordings))
            with self._lock:
                self._oldest = oldest
                self._few = len(oldest) // 2
                self._counts += 1

    def _find(self) -> dict[str, int]:
        """Return what each file of this share takes."""
        found = {}
        with contextlib.ExitStack() as stack:
            # What all workers inherit has one position for all of them (open(2)).
            directory = os.open(".", _DIRECTORY, dir_fd=self._directory)
            stack.callback(os.close, directory)
            for entry in stack.enter_context(os.scandir(directory)):
                match = _NAME.fullmatch(entry.name)
                if match and int(match[1]) % self.share.workers == self.share.number:
                    with contextlib.suppress(FileNotFoundError):
                        state = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(state.st_mode):
                            found[entry.name] = _round(state.st_size)
        return found


class File:
    """One file of an archive, made once there is something to write.

    One thread has it at a time.
    """

    def __init__(self, archive: Archive, name: str) -> None:
        self._archive = archive
        self._name = name
        self._descriptor: int | None = None
        self._size = 0

    def append(self, data: bytearray, pipe: Pipe | None) -> None:
        """Write *data*, and then what *pipe* holds; or raise OSError."""
        self._size += len(data) + (pipe.held if pipe else 0)
        self._archive.make_room(self._name, self._size)
        if self._descriptor is None:
            self._descriptor = self._archive.create(self._name)
        _write(self._descriptor, data)
        while pipe and pipe.held:
            try:
                pipe.empty(self._descriptor)
            except SpliceRefusedError:
                _write(self._descriptor, pipe.take())

    def close(self) -> None:
        """Let go of it; or raise OSError, if what was written is not all there."""
        if self._descriptor is None:
            self._archive.settle(self._name, None)
            return
        # As long as it is locked, nobody removes what is being counted.
        self._archive.settle(self._name, os.fstat(self._descriptor).st_size)
        os.close(self._descriptor)


def _write(file: int, data: bytes | bytearray) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _format_time(microseconds: int) -> str:
    """Return a time after the epoch so that it sorts as text (ISO 8601, basic)."""
    seconds, rest = divmod(microseconds, 10**6)
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
    return f"{moment}.{rest:06}Z"


def _round(size: int) -> int:
    """Return what a file of *size* bytes takes."""
    return max(1, -(-size // _BLOCK)) * _BLOCK
