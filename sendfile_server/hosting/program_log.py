"""Where it goes what a program tells of itself: to stderr, or to a file."""

import logging
from dataclasses import dataclass

from sendfile_server.config import Common
from sendfile_server.hosting.log_files import LogFile


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


def open_log(program: str, config: Common) -> ProgramLog:
    """Open what *config* asks for to tell of *program*, or raise ConfigError."""
    style = f"{program}[%(process)d]: %(message)s"
    file = None
    handler = logging.StreamHandler()
    if config.log is not None:
        file = LogFile(config.log)
        handler.setStream(open(file.descriptor, "a", closefd=False))  # noqa: SIM115
        style = f"%(asctime)s %(levelname)s {style}"
    handler.setFormatter(logging.Formatter(style))
    return ProgramLog(handler, config.log_level.upper(), file)
