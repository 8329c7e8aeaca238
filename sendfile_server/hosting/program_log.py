"""Where it goes what a program tells of itself: to stderr, or to a file."""

import logging
import os
import select
import sys
from dataclasses import dataclass

from sendfile_server.config import Common
from sendfile_server.hosting.log_files import LogFile, stdout

# A pipe that takes anything takes so much at once (pipe(7), PIPE_BUF).
_PIECE = 4096
_LOST = "lines of this log that are lost, for nobody took them: %d"


@dataclass(frozen=True, slots=True)
class ProgramLog:
    """What is told, and where."""

    handler: logging.Handler
    level: str
    file: LogFile | None

    def use(self, *others: logging.Handler) -> None:
        """Tell there, and to *others*, and nowhere else in this process."""
        root = logging.getLogger()
        root.handlers[:] = [self.handler, *others]
        root.setLevel(self.level)
        # A log that can't be written is nothing that could be logged.
        logging.raiseExceptions = False


class LineHandler(logging.Handler):
    """Writes lines to a descriptor, and drops what nobody takes there at once.

    Whoever waited for the reader of a log would serve nobody meanwhile. How many lines
    were dropped is told before the next one that is not.
    """

    def __init__(self, descriptor: int) -> None:
        """Write to *descriptor*, which stays the caller's."""
        super().__init__()
        self._descriptor = descriptor
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*, or count it."""
        text = f"{self.format(record)}\n"
        if self._dropped:
            lost = (__name__, logging.WARNING, "", 0, _LOST, (self._dropped,), None)
            text = f"{self.format(logging.LogRecord(*lost))}\n{text}"
        is_written = self._write(text.encode(errors="backslashreplace"))
        self._dropped = 0 if is_written else self._dropped + 1

    def _write(self, data: bytes) -> bool:
        rest = memoryview(data)
        try:
            while rest and self._room.poll(0):
                rest = rest[os.write(self._descriptor, rest[:_PIECE]) :]
        except OSError:  # a full disk, a reader that is gone
            return False
        return not rest


def open_log(program: str, config: Common) -> ProgramLog:
    """Open what *config* asks for to tell of *program*, or raise ConfigError."""
    style = f"{program}[%(process)d]: %(message)s"
    file = None
    handler: logging.Handler = logging.NullHandler()
    if config.log == "-":
        handler = LineHandler(stdout())
    elif config.log is not None:
        file = LogFile(config.log)
        handler = LineHandler(file.descriptor)
        style = f"%(asctime)s %(levelname)s {style}"
    elif sys.stderr is not None:
        handler = LineHandler(sys.stderr.fileno())
    handler.setFormatter(logging.Formatter(style))
    return ProgramLog(handler, config.log_level.upper(), file)
