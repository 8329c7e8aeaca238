"""One relayed connection: two sockets, and a flow each way.

Rules of this file:

1. Everything runs on the loop, but that names are looked up elsewhere, and that a
   thread may have a flow in bulk. Meanwhile both sockets wait, and stay open; so the
   other flow is copied, by calls that don't.
2. A socket is watched for reading by the flow that it is the source of, and for
   writing by the one that it is the sink of; never for what a flow does not wait for,
   or the loop would be woken for ever. One that waits for its recording waits for
   neither.
3. The end of one side's stream is passed on, and the other direction goes on. What
   breaks one side resets the other; where the loop does not watch, `resets` does.
4. `close` is the only place that ends it, and lets nobody wait for either socket any
   more. They are closed there, or when the last thread has given its flow back.
"""

import errno
import logging
import os
import socket
from collections.abc import Callable
from functools import partial

from sendfile_server.hosting.guest import Closed
from sendfile_server.options import Address, describe
from sendfile_server.relay.flow import (
    WAIT_NOTHING,
    WAIT_RECORDING,
    WAIT_SINK,
    WAIT_SOURCE,
    WAIT_THREAD,
    WAIT_TURN,
    Flow,
    Shared,
    Wait,
)
from sendfile_server.relay.hauling import Haul, prepare
from sendfile_server.relay.readiness import Resume, Side
from sendfile_server.relay.recording import Recording
from sendfile_server.relay.service import RelayService
from sendfile_server.relay.targets import Place
from sendfile_server.transport.lingering import abort
from sendfile_server.transport.room import unread

_log = logging.getLogger(__name__)

# A Unix socket with a full queue takes nobody, and doesn't tell when it would: EAGAIN
# of connect(2).
_AGAIN_S = 0.05


class Relayed:
    """A client, and the connection to the target that was made for it."""

    def __init__(
        self,
        client: socket.SocketType,
        target: Address,
        service: RelayService,
        closed: Closed,
        first: bytes = b"",
    ) -> None:
        """Take over *client*, non-blocking; *closed* is told when it is no more.

        The target gets *first* before anything that the client sends.
        """
        self._client = client
        self._target = target
        self._service = service
        self._closed = closed
        self._first = first
        self._upstream: socket.SocketType | None = None
        self._places: list[Place] = []
        self._sides: list[Side] = []
        self._flows: list[_Watched] = []
        self._recording: Recording | None = None
        self._hauls = 0
        self._shared = Shared()
        self._is_closed = False
        self.deadline = service.clock.elapsed + service.config.connect_timeout
        """When `expire` is due, by the clock's elapsed seconds."""
        service.open.add(self)

    @property
    def is_idle(self) -> bool:
        """Tell whether closing it would cut nothing short: that is never known."""
        return False

    @property
    def unwatched(self) -> list[socket.SocketType]:
        """The sockets that may be reset without anyone being told."""
        if not self._flows:
            return [self._client]
        return [
            each.flow.source for each in self._flows if each.wait is not WAIT_SOURCE
        ]

    def read(self) -> None:
        """Begin: look the target up."""
        self._service.look_up(self._target, self._found)

    def expire(self) -> None:
        """Give up: the place has not accepted, or nothing has moved for long."""
        if self._hauls:
            self._put_off()  # a thread that moves nothing comes back by itself
        elif self._flows:
            self._service.tally.timed_out += 1
            self.cut_short()
        else:
            self.deadline += self._service.config.connect_timeout
            self._leave_place(errno.ETIMEDOUT)

    def break_off(self) -> None:
        """Reset both sides: one of them is no more, and the other must know."""
        if not self._is_closed:
            self._service.tally.broken += 1
            self._reset()

    def cut_short(self) -> None:
        """Close, by a reset if a side would miss what has come: it has not ended."""
        flows = [each.flow for each in self._flows]
        if any(each.is_holding or unread(each.source) for each in flows):
            self._reset()
        self.close()

    def close(self) -> None:
        """Take both sockets off the loop, and close them once no thread has them."""
        if self._is_closed:
            return
        self._is_closed = True
        self._service.open.discard(self)
        for each in self._flows:
            if not each.flow.is_hauled:
                each.flow.close()
        if self._recording:
            self._recording.close()
        tally = self._service.tally
        tally.ended += 1
        if self._shared.has_spliced:
            tally.ended_spliced += 1
        elif self._flows:
            tally.ended_copied += 1
        for side in self._sides:
            if self._hauls:  # it stays open for now, and in the epoll otherwise
                side.when_readable(None)
                side.when_writable(None)
            side.leave()
        # They know each other and this: without a circle, all goes at once.
        self._sides, self._flows = [], []
        if not self._hauls:
            self._close_sockets()
        self._closed(self)

    def _close_sockets(self) -> None:
        if self._upstream:
            self._upstream.close()
        self._client.close()

    def _reset(self) -> None:
        for each in (self._client, self._upstream):
            if each:
                abort(each)
        self.close()

    # Connecting.

    def _found(self, result: tuple[Place, ...] | OSError) -> None:
        if self._is_closed:
            return
        if isinstance(result, OSError):
            self._fail(result.strerror or str(result))
            return
        self._places = list(result)
        self._connect_next(OSError(None, "it stands for nothing"))

    def _connect_next(self, failure: OSError) -> None:
        """Try the next place; without one, end with the failure of the last."""
        while self._places:
            place = self._places.pop(0)
            try:
                self._connect(place)
            except OSError as error:
                failure = error
            else:
                return
        self._fail(failure.strerror or str(failure))

    def _connect(self, place: Place) -> None:
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        upstream = socket.SocketType(place.family, kind)
        if place.family != socket.AF_UNIX:
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # What it comes to most often is no exception then.
        error = upstream.connect_ex(place.address)
        if error == errno.EAGAIN:
            upstream.close()
            self._service.loop.call_later(_AGAIN_S, self._connect_again, place)
            return
        if error not in (0, errno.EINPROGRESS):
            upstream.close()
            raise OSError(error, os.strerror(error))
        self._upstream = upstream
        if not error:
            self._begin(upstream)
        elif not self._begin_if_connected(upstream):
            side = Side(upstream, self._service.readiness)
            self._sides = [side]
            side.when_writable(self._connected)

    def _connect_again(self, place: Place) -> None:
        if not self._is_closed:
            self._places.insert(0, place)
            self._connect_next(OSError())

    def _connected(self) -> None:
        upstream = self._upstream
        assert upstream is not None, "nobody else ends the attempt"
        error = upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._leave_place(error)
            return
        self._sides.pop().when_writable(None)
        if not self._begin_if_connected(upstream):
            self._leave_place(errno.ECONNREFUSED)

    def _begin_if_connected(self, upstream: socket.SocketType) -> bool:
        """Begin to forward, if somebody has accepted: on this machine, at once.

        Where nobody listens on a port, the kernel may choose that very one for us,
        and both ends are ours (RFC 9293 section 3.5, simultaneous open).
        """
        try:
            is_connected = bool(upstream.getpeername() != upstream.getsockname())
        except OSError:
            return False
        if is_connected:
            self._begin(upstream)
        return is_connected

    def _leave_place(self, error: int) -> None:
        """Try the next place, since connecting to this one came to *error*."""
        if self._sides:
            self._sides.pop().leave()
        if self._upstream:
            self._upstream.close()
            self._upstream = None
        self._connect_next(OSError(error, os.strerror(error)))

    def _fail(self, reason: str) -> None:
        _log.warning("cannot connect to %s: %s", describe(self._target), reason)
        self._service.tally.failed += 1
        self.close()

    # Forwarding.

    def _begin(self, upstream: socket.SocketType) -> None:
        # What is urgent is part of the stream (RFC 6093 section 6); TCP's accepted
        # sockets have this from the one that listens.
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        if self._client.family == socket.AF_UNIX:
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        means, readiness = self._service.means, self._service.readiness
        tally = self._service.tally
        client, shared = self._client, self._shared
        onward = Flow(client, upstream, means, tally.to_target, shared)
        onward.begin_with(self._first)
        back = Flow(upstream, client, means, tally.to_client, shared)
        recordings = self._service.recordings
        self._recording = recordings.begin() if recordings else None
        if self._recording:
            onward.track, back.track = self._recording.tracks
        near, far = Side(client, readiness), Side(upstream, readiness)
        self._sides = [near, far]
        self._flows = [
            _Watched(onward, near, far, self._advance),
            _Watched(back, far, near, self._advance),
        ]
        self._put_off()
        # Most often the client has spoken already, and the target has not.
        self._flows[1].watch(WAIT_SOURCE)
        self._advance(self._flows[0])

    def _advance(self, watched: "_Watched") -> None:
        """Give one flow a turn, and end the connection if it is over."""
        flow = watched.flow
        before = flow.moved
        try:
            wait = flow.turn()
        except OSError as error:
            _log.debug("a connection broke: %s", error)
            self.break_off()
            return
        if wait is WAIT_NOTHING:
            if self._shared.is_half_closed:
                self.close()
                return
            self._shared.is_half_closed = True
        elif flow.moved >= flow.hauls_from and self._is_given_away(watched):
            wait = WAIT_THREAD
        watched.watch(wait)
        if flow.moved > before or wait is WAIT_NOTHING:
            self._put_off()

    def _is_given_away(self, watched: "_Watched") -> bool:
        """Have a thread move what comes, if one is free and nothing is in the way."""
        flow, haulers = watched.flow, self._service.haulers
        # To empty a pipe into a socket that waits would wait, too.
        if not haulers.has_room or any(each.flow.holds_pipe for each in self._flows):
            return False
        haul = flow.begin_haul()
        if not haul:
            return False
        if not self._hauls:
            for each in self._flows:
                prepare(each.flow.source)
                each.flow.must_copy = True
        self._hauls += 1
        haulers.submit(haul.run, partial(self._take_back, watched, haul))
        return True

    def _take_back(
        self, watched: "_Watched", haul: Haul, failure: Exception | None
    ) -> None:
        """Go on with a flow that a thread has moved until now."""
        flow = watched.flow
        self._hauls -= 1
        if not self._hauls:
            for sock in (flow.source, flow.sink):
                os.set_blocking(sock.fileno(), False)
            for each in self._flows:
                each.flow.must_copy = False
        flow.end_haul(haul)
        if self._is_closed:
            flow.close()
            if not self._hauls:
                self._close_sockets()
        elif isinstance(failure, OSError):
            _log.debug("a connection broke: %s", failure)
            self.break_off()
        else:
            if failure:
                _log.error("bulk is moved by no thread: %s", failure)
            self._put_off()
            self._advance(watched)

    def _put_off(self) -> None:
        """Let the time begin again in which something must move."""
        config, clock = self._service.config, self._service.clock
        if self._shared.is_half_closed:
            self.deadline = clock.elapsed + config.half_closed_timeout
        else:
            self.deadline = clock.idle_deadline


class _Watched:
    """A flow, and what is watched for it."""

    __slots__ = (
        "_advance",
        "_is_reading",
        "_is_writing",
        "_sink",
        "_source",
        "flow",
        "wait",
    )

    def __init__(
        self,
        flow: Flow,
        source: Side,
        sink: Side,
        advance: Callable[["_Watched"], None],
    ) -> None:
        self.flow = flow
        self.wait = WAIT_NOTHING
        """Why its last turn ended; before the first, nothing is watched for it."""
        self._source = source
        self._sink = sink
        self._advance = advance
        self._is_reading = False
        self._is_writing = False

    def watch(self, wait: Wait) -> None:
        """Watch for what the flow waits for."""
        if wait is self.wait and wait is not WAIT_RECORDING:
            return
        self.wait = wait
        # After a quantum, what the flow was woken for still holds, and wakes it again.
        writing = wait is WAIT_SINK or (self._is_writing and wait is WAIT_TURN)
        is_still = wait in (WAIT_NOTHING, WAIT_RECORDING, WAIT_THREAD)
        reading = not (writing or is_still)
        if reading is not self._is_reading:
            self._is_reading = reading
            self._source.when_readable(self._resume() if reading else None)
        if writing is not self._is_writing:
            self._is_writing = writing
            self._sink.when_writable(self._resume() if writing else None)
        if wait is WAIT_RECORDING:
            self.flow.call_when_recorded(self._resume())

    def _resume(self) -> Resume:
        # Made anew, for who keeps what leads back to it is not gone when it is done.
        return partial(self._advance, self)
