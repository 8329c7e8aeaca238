"""The last warnings and errors of all processes, in memory that they share."""

import contextlib
import logging
import mmap
import struct
from dataclasses import dataclass

_SLOTS = 16
_SLOT = struct.Struct("d10sH236s")


@dataclass(frozen=True, slots=True, order=True)
class Notice:
    """Something that went wrong."""

    time: float
    """Seconds since the epoch."""
    level: str
    text: str
    """Its beginning, if it was long."""


class Notices:
    """A ring of notices for each process; only that process writes to it."""

    def __init__(self, processes: int) -> None:
        """Begin with none, before the processes are made that are to share it."""
        # MAP_SHARED, unless told otherwise.
        self._memory = mmap.mmap(-1, processes * _SLOTS * _SLOT.size)
        self._processes = processes

    def write(self, process: int, place: int, notice: Notice) -> None:
        """Let *notice* be the one at *place*, of any number, of a process."""
        text = notice.text.encode("utf-8", "backslashreplace")[:236]
        slot = process * _SLOTS + place % _SLOTS
        level = notice.level.encode()
        packed = _SLOT.pack(notice.time, level, len(text), text)
        self._memory[slot * _SLOT.size : (slot + 1) * _SLOT.size] = packed

    def read(self) -> list[Notice]:
        """Return what there is, the latest first."""
        notices = []
        for time, level, size, text in _SLOT.iter_unpack(self._memory[:]):
            if time:
                name = level.rstrip(b"\0").decode()
                notices.append(
                    Notice(time, name, text[:size].decode("utf-8", "ignore"))
                )
        return sorted(notices, reverse=True)


class NoticeHandler(logging.Handler):
    """Notes what one process logs as a warning or worse."""

    def __init__(self, notices: Notices, process: int) -> None:
        super().__init__(logging.WARNING)
        self._notices = notices
        self._process = process
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Note *record*."""
        with contextlib.suppress(TypeError, ValueError):  # what can't be formatted
            notice = Notice(record.created, record.levelname, record.getMessage())
            self._notices.write(self._process, self._count, notice)
            self._count += 1
