"""What is recorded of a connection: a track each way, from the loop to a file.

What was copied is collected, and written a good deal at a time; what was spliced is
in a pipe of its own, and spliced on from there. Threads do that, one job of a track
after the other, so that the loop never waits for a disk. Nor does what is forwarded,
for more than a moment: whatever goes wrong, or takes too long, ends the recording.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable

from sendfile_server.hosting.pool import Pool
from sendfile_server.relay.archive import ENDS, Archive, File, name_recording
from sendfile_server.transport.pipes import Pipe

_log = logging.getLogger(__name__)

# So much is collected before it is written, or what a second brings.
_MUCH = 64 * 1024
# For so long the traffic waits for a disk, and the end of the worker for all of them.
_PATIENCE_S = 1.0
_CLOSE_S = 4.0
_TOO_SLOW = "the disk is too slow"
_THREADS = 4
# So many times within the age it is looked for what is older.
_LOOKS = 60


class Track:
    """One direction of a recording; used on the loop only."""

    def __init__(
        self, file: File, recording: "Recording", shared: "Recordings"
    ) -> None:
        self._file = file
        self._recording = recording
        self._shared = shared
        self._collected = bytearray()
        self._waiting: tuple[Callable[[], None], asyncio.TimerHandle] | None = None
        self.is_over = False
        """Whether nothing more is recorded."""
        self.is_writing = False
        """Whether a thread has the file; it can be given no pipe then."""

    @property
    def is_full(self) -> bool:
        """Tell whether nothing more may come before a thread has done its work."""
        return len(self._collected) >= _MUCH

    def note(self, data: bytes | memoryview) -> None:
        """Record *data*, which was copied."""
        if not self._collected:
            self._shared.flush_soon(self)
        self._collected += data
        if self.is_full:
            self.flush()

    def add(self, pipe: Pipe, give_back: Callable[[Pipe], None]) -> None:
        """Record what *pipe* holds; *give_back* is called once that is done."""
        self._write(pipe, give_back)

    def call_when_written(self, resume: Callable[[], None]) -> None:
        """Call *resume* when a thread has done its work, or took too long."""
        give_up = self._recording.give_up
        timer = self._shared.loop.call_later(_PATIENCE_S, give_up, _TOO_SLOW)
        self._waiting = resume, timer

    def flush(self) -> None:
        """Have written what is collected."""
        if self._collected and not self.is_writing:
            self._write()

    def close(self) -> None:
        """Record no more; what is collected is written."""
        if self.is_over:
            return
        self.is_over = True
        self._stop_waiting()
        if not self.is_writing:
            self._write()

    def drop(self) -> None:
        """Record no more, and forget what is not written yet."""
        self._collected.clear()
        resume = self._stop_waiting()
        self.close()
        if resume:
            resume()

    def _write(
        self, pipe: Pipe | None = None, give_back: Callable[[Pipe], None] | None = None
    ) -> None:
        """Give the file to a thread, with all that there is for it."""
        data, self._collected = self._collected, bytearray()
        file, is_last = self._file, self.is_over
        is_given_up = self._recording.is_given_up
        self.is_writing = True

        def write() -> None:
            try:
                if not is_given_up:
                    file.append(data, pipe)
            finally:
                if is_last:
                    file.close()

        def written(result: Exception | None) -> None:
            if pipe and give_back:
                give_back(pipe)
            self._take_back(result, was_last=is_last)

        self._shared.pool.submit(write, written)

    def _take_back(self, error: Exception | None, *, was_last: bool) -> None:
        self.is_writing = False
        if error:
            self._recording.give_up(getattr(error, "strerror", None) or str(error))
        if was_last:
            self._recording.end_track()
        elif not self.is_writing:
            if self.is_over or self.is_full:
                self._write()
            elif self._collected:
                self._shared.flush_soon(self)  # a sweep may have come meanwhile
        if resume := self._stop_waiting():
            resume()

    def _stop_waiting(self) -> Callable[[], None] | None:
        if self._waiting is None:
            return None
        resume, timer = self._waiting
        self._waiting = None
        timer.cancel()
        return resume


class Recording:
    """Both directions of one connection; used on the loop only."""

    def __init__(self, name: str, archive: Archive, shared: "Recordings") -> None:
        """Begin, as *name*."""
        self._name = name
        self._shared = shared
        files = (File(archive, f"{name}.{end}") for end in ENDS)
        there, back = (Track(file, self, shared) for file in files)
        self.tracks = there, back
        """What the client sends, and what the target sends."""
        self._unfinished = len(self.tracks)
        self.is_given_up = False

    def close(self) -> None:
        """Record no more; what is collected is written."""
        for track in self.tracks:
            track.close()

    def give_up(self, reason: str) -> None:
        """Record no more, and say so; what is written stays."""
        if self.is_given_up:
            return
        self.is_given_up = True
        self._shared.tell_given_up(self._name, reason)
        for track in self.tracks:
            track.drop()

    def end_track(self) -> None:
        """Note that one of the two files is closed."""
        self._unfinished -= 1
        if not self._unfinished:
            self._shared.end(self)


class Recordings:
    """All recordings of one worker; used on the loop only."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        archive: Archive,
        most: int,
        count_given_up: Callable[[], None],
    ) -> None:
        """Have at most *most* connections' files open.

        *count_given_up* is called for each that is not recorded to its end.
        """
        self.loop = loop
        self._archive = archive
        self._most = most
        self._count_given_up = count_given_up
        self.pool = Pool(loop, "recordings", _THREADS, sys.maxsize)
        """Writes files, one job of a track after the other."""
        self._tidying = Pool(loop, "tidying", 1, 1)
        self._unfinished: set[Recording] = set()
        self._to_flush: list[Track] = []
        self._began_us = 0
        self._tidy_due = 0.0
        self._is_ending = False

    def begin(self) -> Recording | None:
        """Begin to record a connection; None if that can't be done now."""
        self._began_us = max(time.time_ns() // 1000, self._began_us + 1)
        name = name_recording(self._began_us, self._archive.share.number)
        if self.pool.silence > _PATIENCE_S or len(self._unfinished) >= self._most:
            self.tell_given_up(name, _TOO_SLOW)
            return None
        recording = Recording(name, self._archive, self)
        self._unfinished.add(recording)
        return recording

    def tell_given_up(self, name: str, reason: str) -> None:
        """Say and count that *name* is not recorded, or not any more."""
        self._count_given_up()
        _log.warning("recording %s is given up: %s", name, reason)

    def flush_soon(self, track: Track) -> None:
        """Have written by the next sweep what *track* has collected by then."""
        self._to_flush.append(track)

    def end(self, recording: Recording) -> None:
        """Note that both files of *recording* are closed."""
        self._unfinished.discard(recording)
        if self._is_ending and not self._unfinished:
            self.loop.stop()

    def sweep(self) -> None:
        """Have written what is collected, and removed what is too old."""
        tracks, self._to_flush = self._to_flush, []
        for each in tracks:
            each.flush()
        is_due = self._archive.is_due or self.loop.time() >= self._tidy_due
        if is_due and self._tidying.has_room:
            self._tidy_due = self.loop.time() + self._archive.share.age / _LOOKS
            self._tidying.submit(self._archive.tidy, _tell_failed)

    def close(self) -> None:
        """Wait for what is being written, for a moment; once the loop has stopped."""
        if self._unfinished:
            self._is_ending = True
            end = self.loop.time() + _CLOSE_S
            # Whoever else would end a loop that serves nobody, stops it, too.
            while self._unfinished and (left := end - self.loop.time()) > 0:
                timer = self.loop.call_later(left, self.loop.stop)
                self.loop.run_forever()
                timer.cancel()
        if self._unfinished:
            _log.warning("%d recordings are not complete", len(self._unfinished))


def _tell_failed(error: Exception | None) -> None:
    if error:
        _log.warning("cannot look after the recordings: %s", error)
