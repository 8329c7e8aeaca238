"""Files that lines are appended to, and that others may move away meanwhile."""

import errno
import logging
import os
import sys

from sendfile_server.errors import ConfigError

_log = logging.getLogger(__name__)

# A FIFO that nobody reads is an error then, and nothing to wait for (fifo(7)).
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK


def stdout() -> int:
    """Return the descriptor of stdout, for a log; or raise ConfigError."""
    if sys.stdout is None:
        raise ConfigError("cannot write a log to stdout: it is closed")
    return sys.stdout.fileno()


class LogFile:
    """A file that is open for appending, always by the same descriptor."""

    def __init__(self, path: str) -> None:
        """Open or make the file at *path*; or raise ConfigError."""
        self._path = path
        try:
            self.descriptor = os.open(path, _FLAGS, 0o640)
        except OSError as error:
            nobody = error.errno == errno.ENXIO
            reason = "nobody reads there" if nobody else error.strerror
            raise ConfigError(f"cannot write {path}: {reason}") from None
        os.set_blocking(self.descriptor, True)

    def close(self) -> None:
        """Let go of it in this process."""
        os.close(self.descriptor)

    def reopen(self) -> None:
        """Go on in what is at the path now; without that, in the old file.

        Whoever is writing meanwhile finishes in the old one (dup2(2)).
        """
        try:
            fresh = LogFile(self._path)
        except ConfigError as error:
            _log.error("%s; the old file stays", error)
            return
        os.dup2(fresh.descriptor, self.descriptor, inheritable=False)
        fresh.close()
