"""One response on its way: turns on the loop, in a pool, and waits in between.

A turn on the loop sends only what is in memory, and not much of it; what would
wait for a disk, and what goes on for long, is sent by jobs. A client that has no
room costs no thread: it waits on the loop until it is writable.
"""

import contextlib
import logging
import socket
from collections.abc import Callable, Iterable

from sendfile_server.errors import (
    FileUnreadableError,
    TransferError,
    TransferTimeoutError,
)
from sendfile_server.resource.files import OpenFile
from sendfile_server.semantics.ranges import Span
from sendfile_server.server.pool import Pool
from sendfile_server.server.service import Pools, Service
from sendfile_server.transport.lingering import abort, unacknowledged
from sendfile_server.transport.sending import Progress, Sending

_log = logging.getLogger(__name__)

LOOP_QUANTUM = 256 * 1024
"""Bytes that one turn on the loop takes from a file; then others get theirs."""
_BULK_QUANTUM = 1024 * 1024
_COLD_QUANTUM = 256 * 1024
# A client that took a whole quantum at once and wants this much more is fast
# enough to be worth a thread.
_LONG_TRANSFER = 1024 * 1024


class Delivery:
    """Sends one response to a socket that it alone writes to meanwhile.

    The loop owns it, or a job does. While a job does, the loop may only shut the
    socket down.
    """

    __slots__ = (
        "_client",
        "_done",
        "_failure",
        "_file",
        "_is_waiting",
        "_pools",
        "_queued",
        "_sending",
        "_service",
        "is_owned_by_job",
        "progressed",
    )

    def __init__(
        self,
        client: socket.socket,
        chunks: Iterable[bytes | Span],
        file: OpenFile | None,
        service: Service,
        pools: Pools,
    ) -> None:
        """Prepare to send *chunks*, whose spans are of *file*."""
        source = file.descriptor if file else None
        self._client = client
        self._file = file
        self._sending = Sending(client, chunks, source, service.ways)
        self._service = service
        self._pools = pools
        self._done: Callable[[TransferError | None], None] = _unexpected
        self._is_waiting = False
        self._queued = 0
        self._failure: TransferError | None = None
        self.is_owned_by_job = False
        self.progressed = service.clock.elapsed
        """When something was last sent, by the clock's elapsed seconds."""

    @property
    def sent(self) -> int:
        """Bytes of this response that the kernel has taken."""
        return self._sending.sent

    def start(self, done: Callable[[TransferError | None], None]) -> bool:
        """Send the first turn, and tell whether that was all.

        If not, *done* is told on the loop how it ended. Raises TransferError.
        """
        self._done = done
        return self._turn()

    def is_stalled(self) -> bool:
        """Tell whether the kernel holds as much for the client as when last asked.

        A queue that shrinks is a slow client's progress: nothing can be sent
        before there is room for a good deal.
        """
        before, self._queued = self._queued, unacknowledged(self._client)
        return self._queued >= before

    def give_up(self) -> None:
        """End the response now; *done* is told, at once or after the job."""
        if self._failure:
            return
        self._failure = TransferTimeoutError("nothing could be sent for too long")
        abort(self._client)
        if not self.is_owned_by_job:
            self._end(self._failure)
            return
        with contextlib.suppress(OSError):  # the client may be gone already
            self._client.shutdown(socket.SHUT_RDWR)

    def _turn(self) -> bool:
        """Send from memory, on the loop; True if that was the end."""
        span = self._sending.next_span(LOOP_QUANTUM)
        is_warm = span is None or self._is_warm(span)
        if not is_warm:
            self._give_to_pool(self._pools.cold, _COLD_QUANTUM, is_warm=False)
            return False
        return self._go_on(self._sending.advance(LOOP_QUANTUM, is_warm=is_warm))

    def _go_on(self, progress: Progress) -> bool:
        self.progressed = self._service.clock.elapsed
        if progress is Progress.DONE:
            self._stop_waiting()
            return True
        if progress is Progress.BLOCKED:
            self._queued = unacknowledged(self._client)
            self._wait()
        elif self._sending.unsent_of_file >= _LONG_TRANSFER:
            self._give_to_bulk_or_cold()
        elif not self._is_waiting:
            self._service.loop.call_soon(self._next_turn)
        return False

    def _give_to_bulk_or_cold(self) -> None:
        span = self._sending.next_span(_BULK_QUANTUM)
        if span and self._is_warm(span):
            self._give_to_pool(self._pools.bulk, _BULK_QUANTUM, is_warm=True)
        else:
            self._give_to_pool(self._pools.cold, _COLD_QUANTUM, is_warm=False)

    def _next_turn(self) -> None:
        if self._failure:
            return  # given up between two turns
        try:
            if not self._turn():
                return
        except TransferError as error:
            self._end(error)
        else:
            self._end(None)

    def _give_to_pool(self, pool: Pool, quantum: int, *, is_warm: bool) -> None:
        self._stop_waiting()
        self.is_owned_by_job = True
        span, before = self._sending.next_span(quantum), self.sent

        def advanced(result: Progress | Exception) -> None:
            self.is_owned_by_job = False
            count = self.sent - before
            if span and count and self._file:
                stop = min(span.stop, span.start + count)
                self._service.residency.note_sent(self._file, span.start, stop)
            self._take_back(result)

        # The job holds the socket and the file by objects, never by number.
        sending = self._sending
        pool.submit(lambda: sending.advance(quantum, is_warm=is_warm), advanced)

    def _take_back(self, result: Progress | Exception) -> None:
        if self._failure:
            self._end(self._failure)
        elif isinstance(result, TransferError):
            self._end(result)
        elif isinstance(result, Exception):
            _log.error("a job failed", exc_info=result)
            self._end(FileUnreadableError(str(result)))
        elif self._go_on(result):
            self._end(None)

    def _end(self, error: TransferError | None) -> None:
        self._stop_waiting()
        self._done(error)

    def _is_warm(self, span: Span) -> bool:
        if self._file is None:
            return True
        return self._service.residency.is_warm(self._file, span.start, span.stop)

    def _wait(self) -> None:
        if not self._is_waiting:
            self._is_waiting = True
            self._service.loop.add_writer(self._client.fileno(), self._next_turn)

    def _stop_waiting(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._service.loop.remove_writer(self._client.fileno())


def _unexpected(error: TransferError | None) -> None:
    raise AssertionError("a response ended that was never started") from error
