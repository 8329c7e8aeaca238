"""One direction of a relayed connection: from one socket to the other, in turns.

It begins by copying, which has the lower latency; what comes in bulk is spliced,
where a pipe can be had. Whatever has been taken from the source and does not fit
into the sink is held, in a pipe or in memory, and nothing more is taken meanwhile.
Whatever is recorded goes to the track too, as it is taken.
"""

import errno
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from sendfile_server.relay.hauling import Haul
from sendfile_server.relay.recording import Track
from sendfile_server.relay.resets import is_gone
from sendfile_server.transport.pipes import Pipe, Pipes, SpliceRefusedError

_log = logging.getLogger(__name__)

# Memory for copying, of the loop: between two turns nothing stays in it. More would
# not stay in the cache of a CPU, with what is copied into it and out of it.
_scratch = memoryview(bytearray(512 * 1024))
# So much is copied at once, and so much at most is held for a stalled sink; where
# nothing can be spliced, all of the scratch, while all flows hold less than that.
_little = _scratch[: 16 * 1024]
_MUCH_HELD = 64 * 1024 * 1024
# Who has as much at once is sending in bulk; who has less than the other, no more.
_BULK = len(_little)
_NO_BULK = 4 * 1024
# What a turn moves before others get theirs.
_QUANTUM = 2 * 1024 * 1024
# What a flow has moved before a thread is to move on what comes.
_SUSTAINED = 32 * 1024 * 1024


class Wait(Enum):
    """Why a turn ended."""

    SOURCE = auto()
    """There was nothing to take."""
    SINK = auto()
    """There was no room for what is held."""
    TURN = auto()
    """Others are to have theirs, and nothing is held."""
    NOTHING = auto()
    """The source has ended, and the sink has been told."""
    RECORDING = auto()
    """What was taken before must be written first."""
    THREAD = auto()
    """A thread moves what comes; no turn ends so."""


WAIT_SOURCE, WAIT_SINK, WAIT_TURN, WAIT_NOTHING, WAIT_RECORDING, WAIT_THREAD = Wait


@dataclass(slots=True)
class Moved:
    """How many bytes went which way, in one direction."""

    spliced: int = 0
    copied: int = 0


@dataclass(slots=True)
class Means:
    """What the flows of one worker share."""

    pipes: Pipes | None
    """None once splice was refused, or if it is not to be used."""
    can_tee: bool = True
    """False once that was refused."""
    held: int = 0
    """Bytes in memory that sinks had no room for."""

    @property
    def room(self) -> memoryview:
        """Where to copy in bulk: to little of the scratch if much is held already."""
        return _scratch if self.held < _MUCH_HELD else _little

    def give_back(self, pipe: Pipe) -> None:
        """Take back *pipe*, which was borrowed; what is still in it is nobody's."""
        if self.pipes:
            self.pipes.give_back(pipe)
        else:
            pipe.close()

    def give_up_splicing(self) -> None:
        """Copy from now on."""
        if self.pipes:
            self.pipes.close()
        self.pipes = None


@dataclass(slots=True)
class Shared:
    """What both flows of a connection share."""

    has_spliced: bool = False
    """Whether any of what was moved went through a pipe."""
    is_half_closed: bool = False
    """Whether one of them has ended, and passed that on."""


class Flow:
    """Moves bytes from *source* to *sink*, both non-blocking unless it must copy."""

    __slots__ = (
        "_counts",
        "_held",
        "_is_bulk",
        "_means",
        "_pipe",
        "_shared",
        "hauls_from",
        "is_hauled",
        "moved",
        "must_copy",
        "sink",
        "source",
        "track",
    )

    def __init__(
        self,
        source: socket.SocketType,
        sink: socket.SocketType,
        means: Means,
        counts: Moved,
        shared: Shared,
    ) -> None:
        """Prepare; what is moved is added to *counts*."""
        self.source = source
        self.sink = sink
        self._means = means
        self._counts = counts
        self._shared = shared
        self._pipe: Pipe | None = None  # only while something is in it
        self._held = b""
        self._is_bulk = False
        self.track: Track | None = None
        """What is taken is recorded there."""
        self.moved = 0
        """Bytes that the sink has taken."""
        self.hauls_from = _SUSTAINED
        """How many those must be before a thread is to move on what comes."""
        self.is_hauled = False
        """Whether a thread moves what comes."""
        self.must_copy = False
        """Whether its sockets wait for threads, so that to splice would, too."""

    @property
    def is_holding(self) -> bool:
        """Tell whether it has taken, or may have, what it has not passed on."""
        return bool(self._pipe or self._held or self.is_hauled)

    @property
    def holds_pipe(self) -> bool:
        """Tell whether some of what it has taken is in a pipe."""
        return bool(self._pipe)

    def begin_with(self, first: bytes) -> None:
        """Let *first* go before whatever comes from the source."""
        self._hold(first)

    def turn(self) -> Wait:
        """Move what can be moved now, and tell what to wait for.

        Raises OSError if either side is broken.
        """
        begin = self.moved
        while self.moved < begin + _QUANTUM:
            if self._pipe:
                wait = self._splice(self._pipe)
            elif self._held:
                wait = self._send(self._held)
            elif self.track:
                wait = self._take_recorded(self.track)
            elif self.must_copy:
                wait = self._copy(self._means.room)
            elif self._is_bulk and self._means.pipes:
                wait = self._carry(self._means.pipes)
            else:
                wait = self._copy(_little if self._means.pipes else self._means.room)
            if wait:
                if wait is WAIT_SOURCE and self.moved == begin:
                    # It was woken for nothing that splice passes: for urgent data,
                    # which receiving does.
                    self._is_bulk = False
                return wait
        # Whoever holds something must not wait for a source that has no more.
        return WAIT_SINK if self.is_holding else WAIT_TURN

    def close(self) -> None:
        """Let go of what is held."""
        if self._pipe:
            self._give_back()
        if self._held:
            self._hold(b"")

    def begin_haul(self) -> Haul | None:
        """Return what a thread is to do; None if it can't be done by one."""
        pipes = self._means.pipes
        if not pipes or not self._is_bulk or self.is_holding or self.track:
            return None
        if self.source.family == socket.AF_UNIX:
            return None  # splice does not wait for it, whatever it is prepared for
        pipe = pipes.borrow()
        if pipe is None:
            return None
        self.is_hauled = self._shared.has_spliced = True
        return Haul(self.source, self.sink, pipe)

    def end_haul(self, haul: Haul) -> None:
        """Go on after the thread, which others get before this one gets one again."""
        pipe = haul.pipe
        self.is_hauled = False
        if haul.moved:
            self._note_spliced(haul.moved)
        self.hauls_from = self.moved + _SUSTAINED
        if pipe.held and self.must_copy:
            # To empty it would wait for the sink, as the other flow's thread may.
            self._hold(pipe.take())
        if pipe.held:
            self._pipe = pipe
        else:
            self._means.give_back(pipe)

    def call_when_recorded(self, resume: Callable[[], None]) -> None:
        """Call *resume* when a turn would not end with `WAIT_RECORDING` again."""
        assert self.track, "nobody else waits for a recording"
        self.track.call_when_written(resume)

    def _copy(self, room: memoryview) -> Wait | None:
        try:
            count = self.source.recv_into(room, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return WAIT_SOURCE
        if not count:
            return self._pass_on_end()
        self._is_bulk = count >= _BULK
        if self.track:
            self.track.note(room[:count])
        wait = self._send(room[:count])
        # Whether there is more is told without asking, and most often there is not.
        return wait or (WAIT_SOURCE if count < len(room) else None)

    def _send(self, data: bytes | memoryview) -> Wait | None:
        try:
            sent = self.sink.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        self.moved += sent
        self._counts.copied += sent
        if sent < len(data) or self._held:
            self._hold(bytes(data[sent:]))
        return WAIT_SINK if self._held else None

    def _give_back(self) -> None:
        if self._pipe:
            self._means.give_back(self._pipe)
        self._pipe = None

    def _hold(self, data: bytes) -> None:
        self._means.held += len(data) - len(self._held)
        self._held = data

    def _begin_splicing(self, pipes: Pipes) -> Wait | None:
        pipe = pipes.borrow()
        if pipe is None:
            return self._copy(_little)
        try:
            count = pipe.fill(self.source.fileno())
        except SpliceRefusedError:
            pipe.close()
            self._means.give_up_splicing()
            return None
        except OSError as error:
            pipes.give_back(pipe)
            if isinstance(error, BlockingIOError):
                return WAIT_SOURCE
            raise
        if not count:
            pipes.give_back(pipe)
            # At urgent data, splice takes an end that came behind it for this one.
            return self._copy(_little)
        self._is_bulk = count >= _NO_BULK
        self._pipe = pipe
        return None

    def _carry(self, pipes: Pipes) -> Wait | None:
        pipe = pipes.borrow()
        if pipe is None:
            return self._copy(_little)
        wait: Wait | None = WAIT_TURN
        try:
            pipe.carry(self.source.fileno(), self.sink.fileno(), _QUANTUM)
        except BlockingIOError:
            wait = WAIT_SOURCE
        except SpliceRefusedError:
            wait = None  # if the sink refused it, it will do so again
            if not pipe.held:
                self._means.give_up_splicing()
        except OSError:
            self._means.give_back(pipe)
            raise
        if pipe.carried:
            self._note_spliced(pipe.carried)
        if pipe.held:
            self._pipe = pipe
            return wait and WAIT_SINK
        self._means.give_back(pipe)
        if wait is WAIT_TURN:
            self._is_bulk = pipe.taken >= _NO_BULK
            if not pipe.taken:
                # At urgent data, splice takes an end that came behind it for this one.
                return self._copy(_little)
        return wait

    def _take_recorded(self, track: Track) -> Wait | None:
        if track.is_over:
            self.track = None
            return None
        pipes = self._means.pipes if self._means.can_tee else None
        is_teed = pipes and self._is_bulk
        if track.is_full or (is_teed and track.is_writing):
            return WAIT_RECORDING
        if pipes is None:
            return self._copy(self._means.room)
        twin = pipes.borrow() if is_teed else None
        if twin is None:
            return self._copy(_little)
        return self._begin_teeing(pipes, twin, track)

    def _begin_teeing(self, pipes: Pipes, twin: Pipe, track: Track) -> Wait | None:
        try:
            wait = self._begin_splicing(pipes)
        except OSError:
            self._means.give_back(twin)
            raise
        if self._pipe and self._has_teed(self._pipe, twin):
            track.add(twin, self._means.give_back)
            return wait
        self._means.give_back(twin)
        if self._pipe:
            self._hold(self._pipe.take())
            self._give_back()
            track.note(self._held)
        return wait

    def _has_teed(self, pipe: Pipe, twin: Pipe) -> bool:
        try:
            return pipe.tee(twin)
        except SpliceRefusedError as error:
            # Nobody tries again, so that it is said once.
            self._means.can_tee = False
            _log.warning("recordings are copied: tee is refused: %s", error.strerror)
            return False

    def _splice(self, pipe: Pipe) -> Wait | None:
        try:
            sent = pipe.empty(self.sink.fileno())
        except BlockingIOError:
            return WAIT_SINK
        except SpliceRefusedError:
            self._hold(pipe.take())
            self._give_back()
            self._means.give_up_splicing()
            return None
        self._note_spliced(sent)
        if pipe.held:
            return None
        self._give_back()
        # Meanwhile more comes than there would be now: fewer and larger calls.
        return WAIT_TURN

    def _note_spliced(self, count: int) -> None:
        self.moved += count
        self._counts.spliced += count
        self._shared.has_spliced = True

    def _pass_on_end(self) -> Wait:
        # Of a reset only one call is told. That may have been a splice of the other
        # flow, which had moved something before, and told of that.
        shared = self._shared
        if shared.has_spliced and not shared.is_half_closed and is_gone(self.source):
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        self.sink.shutdown(socket.SHUT_WR)
        return WAIT_NOTHING
