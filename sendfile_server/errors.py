"""Every exception of this package, split by who must act.

    SendfileServerError                base; never raised itself
    ├── ConfigError                    the operator's mistake: one clear line, exit 2
    ├── ProtocolError(status)          the peer's bytes are not HTTP: answer, close
    └── TransferError                  a promised response cannot be finished: close
        ├── ClientDisconnectedError
        ├── TransferTimeoutError
        ├── FileTruncatedError(missing)
        └── FileUnreadableError

What a client can cause in normal life (404, 304, 416, a redirect) is a value,
never one of these.
"""


class SendfileServerError(Exception):
    """Base of all errors of this package; never raised itself."""


class ConfigError(SendfileServerError):
    """What the operator asked for cannot be done; the message says why."""


class ProtocolError(SendfileServerError):
    """The peer's bytes are not a request; *status* is the answer it gets."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class TransferError(SendfileServerError):
    """A response that was begun cannot be finished; base of the four below."""


class ClientDisconnectedError(TransferError):
    """The client reset the connection, or the way to it is gone."""


class TransferTimeoutError(TransferError):
    """The client took nothing of the response for the whole send timeout."""


class FileTruncatedError(TransferError):
    """The file became shorter than the Content-Length that was promised."""

    def __init__(self, missing: int) -> None:
        super().__init__(f"the file ended {missing} bytes before its promised length")
        self.missing = missing


class FileUnreadableError(TransferError):
    """The file system failed while the file was sent."""
