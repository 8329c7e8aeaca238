"""A line for every response, written by a thread.

Lines are made a few at a time, and a thread writes them, so that a stuck pipe or a
slow disk never stops serving; what does not fit meanwhile is dropped, and counted.
"""

import logging
import os
import queue
import select
import threading

from sendfile_server.server.clients import FindClients
from sendfile_server.server.exchanges import Batch
from sendfile_server.server.log_formats import Format

_log = logging.getLogger(__name__)

# Batches that may wait for the disk: some ten thousand lines.
_MAX_WAITING = 64


class AccessLog:
    """A log file or stream that never makes the loop wait."""

    def __init__(
        self, descriptor: int, line_format: Format, find_clients: FindClients
    ) -> None:
        """Write to *descriptor*, which must append whole batches at its end."""
        self._descriptor = descriptor
        self._format = line_format
        self._find_clients = find_clients
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_MAX_WAITING)
        self._dropped = 0
        # Lines that could not be written, and whether half of one was.
        self._lost, self._is_torn = 0, False
        self._thread = threading.Thread(
            target=self._write_all, name="access-log", daemon=True
        )
        self._thread.start()

    def tell(self, batch: Batch) -> None:
        """Have the lines of *batch* written, or drop them all."""
        clients = self._find_clients(batch.peers, batch.tails)
        try:
            self._waiting.put_nowait(b"".join(self._format(clients, batch)))
        except queue.Full:
            self._dropped += len(batch.lines)
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
            rest, error = self._write(b"\n" + batch if self._is_torn else batch)
            if error:
                if not self._lost:
                    _log.error("cannot write the access log: %s", error.strerror)
                # What only lacks its end gets it with the next.
                self._lost += rest.removeprefix(b"\n").count(b"\n")
            elif self._lost:
                self._tell_lost()
        if self._lost:
            self._tell_lost()

    def _write(self, batch: bytes) -> tuple[bytes, OSError | None]:
        """Return what is left of *batch*, and why."""
        while batch:
            try:
                size = os.write(self._descriptor, batch)
            except BlockingIOError:
                # Somebody else has made it so; and it may be another one by now.
                room = select.poll()
                room.register(self._descriptor, select.POLLOUT)
                room.poll(1000)
            except OSError as error:
                return batch, error
            else:
                self._is_torn = batch[size - 1] != ord("\n")
                batch = batch[size:]
        return batch, None

    def _tell_lost(self) -> None:
        _log.warning("%d access log lines were lost", self._lost)
        self._lost = 0
