"""One response on its way: turns on the loop, in the pool, and waits in between.

A turn on the loop sends only what is in memory, and not much of it; what would
wait for a disk is sent by jobs. A client that has no room costs no thread: it
waits on the loop until it is writable. Only the few that take the most are sent
to by threads that wait for room in the kernel, which saves all those turns.
"""

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterable

from sendfile_server.errors import (
    FileUnreadableError,
    TransferError,
    TransferTimeoutError,
)
from sendfile_server.hosting.pool import Pool
from sendfile_server.resource.files import OpenFile
from sendfile_server.semantics.ranges import Span
from sendfile_server.server.service import Service
from sendfile_server.transport.lending import Loan
from sendfile_server.transport.lingering import abort
from sendfile_server.transport.room import (
    acknowledged,
    deepen_queue,
    unacknowledged,
    waiting,
)
from sendfile_server.transport.sending import Progress, Sending

_log = logging.getLogger(__name__)

Body = OpenFile | Loan | None
"""What the spans of a response are of, if it has any."""

LOOP_QUANTUM = 2 * 1024 * 1024
"""Bytes that one turn on the loop takes from a file; then others get theirs."""
_COLD_QUANTUM = 256 * 1024
# A client that takes so much at once is fast enough for a deep queue: fewer turns,
# and most segments leave when its acknowledgements come, not in our calls.
_FAST = 256 * 1024
_DEEP_QUEUE = 4 * 1024 * 1024
# What is left of a long response goes to such a client by a thread of its own, if one
# is free, as long as it takes so much in a second on the whole. The thread comes back
# after some seconds, or when it has waited for room for so long. Each call is to take
# half a second, as far as can be told before: between two, Python wakes up.
_LONG = 8 * 1024 * 1024
_BULK_RATE = 16 * 1024 * 1024
_BULK_S = 1.0
_BULK_CALL_S = 0.5
_MOST_IN_CALL = 64 * 1024 * 1024
_BULK_WAIT_MS = 200
# For so long, a disk may keep such a thread waiting, too.
_STUCK_S = 10


class Delivery:
    """Sends one response to a socket that it alone writes to meanwhile.

    The loop owns it, or a job does. While a job does, the loop may only shut the
    socket down.
    """

    __slots__ = (
        "_acknowledged",
        "_began",
        "_client",
        "_done",
        "_failure",
        "_file",
        "_is_fast",
        "_is_in_bulk",
        "_is_waiting",
        "_pool",
        "_queued",
        "_sending",
        "_service",
        "is_owned_by_job",
        "progressed",
    )

    def __init__(
        self,
        client: socket.SocketType,
        chunks: Iterable[bytes | Span],
        body: Body,
        service: Service,
        pool: Pool,
    ) -> None:
        """Prepare to send *chunks*, whose spans are of *body*."""
        file = body if isinstance(body, OpenFile) else None
        source = body.descriptor if isinstance(body, OpenFile) else body
        self._client = client
        self._file = file
        self._sending = Sending(client, chunks, source, service.ways)
        self._service = service
        self._pool = pool
        self._done: Callable[[TransferError | None], None] = _unexpected
        self._is_waiting = False
        self._is_fast = False
        self._is_in_bulk = False
        self._queued = 0
        self._acknowledged = 0
        self._failure: TransferError | None = None
        self.is_owned_by_job = False
        self._began = service.clock.elapsed
        self.progressed = self._began
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
        before there is room for a good deal. Of a thread that waits, only what the
        client has acknowledged tells; it may also be stuck in a disk.
        """
        if self._is_in_bulk:
            since = self._service.clock.elapsed - self.progressed
            before, self._acknowledged = self._acknowledged, acknowledged(self._client)
            return since > _STUCK_S and self._acknowledged == before
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
        span = self._sending.next_span()
        if span and not self._is_warm(*span):
            self._give_to_pool(*span)
            return False
        if span and self._is_fast and self._is_for_bulk(*span):
            self._give_to_bulk()
            return False
        before = self._sending.sent
        progress = self._sending.advance(LOOP_QUANTUM, is_warm=True)
        if not self._is_fast and self._sending.sent - before >= _FAST:
            self._is_fast = True
            deepen_queue(self._client, _DEEP_QUEUE)
        return self._go_on(progress)

    def _go_on(self, progress: Progress) -> bool:
        self.progressed = self._service.clock.elapsed
        if progress is Progress.DONE:
            self._stop_waiting()
            return True
        if progress is Progress.BLOCKED:
            self._queued = unacknowledged(self._client)
            self._wait()
        elif not self._is_waiting:
            self._service.loop.call_soon(self._next_turn)
        return False

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

    def _give_to_pool(self, start: int, stop: int) -> None:
        self._stop_waiting()
        self.is_owned_by_job = True
        before = self.sent

        def advanced(result: Progress | Exception) -> None:
            self.is_owned_by_job = False
            count = min(self.sent - before, stop - start)
            if count and self._file:
                self._service.residency.note_sent(self._file, start, start + count)
            self._take_back(result)

        # The job holds the socket and the file by objects, never by number.
        sending = self._sending
        self._pool.submit(
            lambda: sending.advance(_COLD_QUANTUM, is_warm=False), advanced
        )

    def _is_for_bulk(self, start: int, stop: int) -> bool:
        seconds = self._service.clock.elapsed - self._began
        return (
            stop - start >= _LONG
            and self._client.family != socket.AF_UNIX
            and self.sent >= _BULK_RATE * seconds
            and self._service.bulk.has_room
        )

    def _give_to_bulk(self) -> None:
        self._stop_waiting()
        self.is_owned_by_job = self._is_in_bulk = True
        self.progressed = self._service.clock.elapsed

        def advanced(result: Progress | Exception) -> None:
            self.is_owned_by_job = self._is_in_bulk = False
            self._take_back(result)

        self._service.bulk.submit(self._send_waiting, advanced)

    def _send_waiting(self) -> Progress:
        began, before, quantum = time.monotonic(), self.sent, LOOP_QUANTUM
        with waiting(self._client, _BULK_WAIT_MS):
            while True:
                progress = self._sending.advance(quantum, is_warm=True)
                self.progressed = self._service.clock.elapsed
                seconds = time.monotonic() - began
                if progress is not Progress.SPENT or seconds > _BULK_S:
                    return progress
                expected = int((self.sent - before) / seconds * _BULK_CALL_S)
                quantum = max(LOOP_QUANTUM, min(expected, _MOST_IN_CALL))

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

    def _is_warm(self, start: int, stop: int) -> bool:
        if self._file is None:
            return True
        residency, now = self._service.residency, self._service.clock.now
        stop = min(stop, start + LOOP_QUANTUM)
        return residency.is_warm(self._file, start, stop, now)

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
