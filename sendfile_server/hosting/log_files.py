"""Files that lines are appended to, and that others may move away meanwhile."""

import logging
import os

from sendfile_server.errors import ConfigError

_log = logging.getLogger(__name__)

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class LogFile:
    """A file that is open for appending, always by the same descriptor."""

    def __init__(self, path: str) -> None:
        """Open or make the file at *path*; or raise ConfigError."""
        self._path = path
        try:
            self.descriptor = os.open(path, _FLAGS, 0o640)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None

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
