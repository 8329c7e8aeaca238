"""A line for every response, written by a thread.

Lines are made a few at a time, and a thread writes them, so that a stuck pipe or a
slow disk never stops serving; what does not fit meanwhile is dropped, and counted.
"""

import logging
import os
import queue
import threading
from collections.abc import Sequence

from sendfile_server.server.clients import FindClient
from sendfile_server.server.exchanges import Exchange
from sendfile_server.server.log_formats import Format

_log = logging.getLogger(__name__)

# Batches that may wait for the disk: some ten thousand lines.
_MAX_WAITING = 64


class AccessLog:
    """A log file or stream that never makes the loop wait."""

    def __init__(
        self, descriptor: int, line_format: Format, find_client: FindClient
    ) -> None:
        """Write to *descriptor*, which must append whole batches at its end."""
        self._descriptor = descriptor
        self._format = line_format
        self._find_client = find_client
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_MAX_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(
            target=self._write_all, name="access-log", daemon=True
        )
        self._thread.start()

    def tell(self, exchanges: Sequence[Exchange]) -> None:
        """Have the lines of *exchanges* written, or drop them all."""
        find, line = self._find_client, self._format
        lines = [line(find(each[0], each[3]), each) for each in exchanges]
        try:
            self._waiting.put_nowait(b"".join(lines))
        except queue.Full:
            self._dropped += len(lines)
        else:
            self._tell_dropped()

    def close(self, timeout: float) -> None:
        """Write what is left, for at most *timeout* seconds."""
        self._tell_dropped()
        try:
            self._waiting.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _tell_dropped(self) -> None:
        if self._dropped:
            _log.warning("%d access log lines were dropped", self._dropped)
            self._dropped = 0

    def _write_all(self) -> None:
        while (batch := self._waiting.get()) is not None:
            try:
                while batch:
                    batch = batch[os.write(self._descriptor, batch) :]
            except OSError as error:
                _log.error("cannot write the access log: %s", error.strerror)
