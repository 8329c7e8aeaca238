"""Files that lines are appended to, and that others may move away meanwhile."""

import errno
import logging
import os
import sys

from sendfile_server.errors import ConfigError

_log = logging.getLogger(__name__)

# A FIFO that nobody reads is an error then, and nothing to wait for (fifo(7)).
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK


def stdout() -> int:
    """Return the descriptor of stdout, for a log; or raise ConfigError."""
    if sys.stdout is None:
        raise ConfigError("cannot write a log to stdout: it is closed")
    return sys.stdout.fileno()


def check_log(path: str | None) -> None:
    """Raise ConfigError unless a log can be appended to *path*; nothing is made."""
    if path is None or path == "-":
        return
    folder = os.path.dirname(path) or "."
    try:
        os.close(os.open(path, _APPEND))
    except FileNotFoundError:
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            reason = f"{folder} is not there, or not writable"
            raise ConfigError(f"cannot write {path}: {reason}") from None
    except OSError as error:
        raise _refusal(path, error) from None


def _refusal(path: str, error: OSError) -> ConfigError:
    nobody = error.errno == errno.ENXIO
    reason = "nobody reads there" if nobody else error.strerror
    return ConfigError(f"cannot write {path}: {reason}")


class LogFile:
    """A file that is open for appending, always by the same descriptor."""

    def __init__(self, path: str) -> None:
        """Open or make the file at *path*; or raise ConfigError."""
        self._path = path
        try:
            self.descriptor = os.open(path, _APPEND | os.O_CREAT, 0o640)
        except OSError as error:
            raise _refusal(path, error) from None
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
