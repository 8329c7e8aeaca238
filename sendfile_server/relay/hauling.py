"""What moves in bulk is moved by threads that wait for it in the kernel.

A turn on the loop begins by asking what is ready, and while much is moved, the caches
forget all that is needed for that. So once a flow has moved much, a thread does
nothing but to fill a pipe and to empty it. It is woken only for as much as fills two
(SO_RCVLOWAT, socket(7), which lets the kernel hold some more, too), for the end, or
after some milliseconds, which is what a pause costs. Then, or when its time is over,
the flow takes turns on the loop again.
"""

import socket
import time

from sendfile_server.transport.pipes import Pipe, SpliceRefusedError
from sendfile_server.transport.room import let_wait

# For so much, and for so long, a thread waits.
_MUCH = 2 * 1024 * 1024
_SOURCE_MS = 4
_SINK_MS = 200
# Whoever is slower than this, in bytes for each second, twice in a row, has paused.
_LEAST_RATE = 128 * 1024 * 1024
# So often it is counted what was moved.
_LONGEST_S = 1.0


class Haul:
    """One flow's turn in a thread."""

    __slots__ = ("_sink", "_source", "moved", "pipe")

    def __init__(
        self, source: socket.SocketType, sink: socket.SocketType, pipe: Pipe
    ) -> None:
        """Prepare; *pipe* is empty, and what *sink* has no room for is in it then.

        Both sockets must be prepared when it runs; see `prepare`.
        """
        self._source = source
        self._sink = sink
        self.pipe = pipe
        self.moved = 0
        """Bytes that the sink has taken, when it is over."""

    def run(self) -> None:
        """Move what comes until that ends, pauses or has no room, or for a second.

        A sink that takes little at a time makes that some more. Raises OSError if
        either side is broken.
        """
        _tell_of(self._source, _MUCH)
        try:
            self._move(self._source.fileno(), self._sink.fileno())
        except SpliceRefusedError:
            pass  # as it will be in the next turn
        finally:
            _tell_of(self._source, 1)

    def _move(self, source: int, sink: int) -> None:
        pipe, clock = self.pipe, time.monotonic
        began = clock()
        end = began + _LONGEST_S
        is_slow = False
        while began < end:
            was_slow = is_slow
            try:
                pipe.carry(source, sink, pipe.size)
            except BlockingIOError:
                return
            finally:
                self.moved += pipe.carried
            if pipe.held or not pipe.taken:
                return
            now = clock()
            is_slow = pipe.carried < (now - began) * _LEAST_RATE
            if is_slow and was_slow:
                return
            began = now


def prepare(sock: socket.SocketType) -> None:
    """Let calls on *sock* wait as long as those of a `Haul` may.

    Whoever must not wait says so with each call (MSG_DONTWAIT, recv(2)), which splice
    can't.
    """
    let_wait(sock, _SOURCE_MS, _SINK_MS)


def _tell_of(source: socket.SocketType, least: int) -> None:
    source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
