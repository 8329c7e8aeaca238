"""Threads for what can block."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

_log = logging.getLogger(__name__)

Job = Callable[[], Any]
"""Runs in a thread. It makes little else than calls that release the GIL: Python code
here takes the loop's turn."""

Completion = Callable[[Any], None]
"""Runs on the loop, with the job's result or the exception that ended it."""


class Pool:
    """At most *threads* threads, started as they are needed, and a bounded queue."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, name: str, threads: int, depth: int
    ) -> None:
        """Make a pool that declines work when *depth* jobs are unfinished."""
        self._loop = loop
        self._name = name
        self._threads = threads
        self._depth = depth
        self._started = 0
        self.unfinished = 0
        """How many jobs run, or wait for a thread."""
        self._progressed = 0.0
        self._jobs: queue.SimpleQueue[tuple[Job, Completion]] = queue.SimpleQueue()

    @property
    def has_room(self) -> bool:
        """Tell whether anything more may be begun that needs this pool."""
        return self.unfinished < self._depth

    @property
    def silence(self) -> float:
        """For how many seconds no job has finished, of those that there are."""
        return self._loop.time() - self._progressed if self.unfinished else 0.0

    def submit(self, job: Job, done: Completion) -> None:
        """Run *job* in a thread, then *done* on the loop; called on the loop."""
        if not self.unfinished:
            self._progressed = self._loop.time()
        self.unfinished += 1
        if self._started < min(self._threads, self.unfinished):
            try:
                self._start()
            except RuntimeError as error:  # as many as the system lets us have
                if not self._started:
                    self._loop.call_soon(self._finish, done, error)
                    return
        self._jobs.put((job, done))

    def _start(self) -> None:
        name = f"{self._name}-{self._started + 1}"
        # Daemons, since a thread that is stuck in a disk can't be joined.
        threading.Thread(target=self._work, name=name, daemon=True).start()
        self._started += 1

    def _work(self) -> None:
        while True:
            job, done = self._jobs.get()
            try:
                result = job()
            except Exception as error:  # noqa: BLE001
                # Whatever it is, its connection must learn of it; and without
                # this the thread would die, and in the end the whole pool.
                result = error
            try:
                self._loop.call_soon_threadsafe(self._finish, done, result)
            except RuntimeError:  # the loop is closed: the process is ending
                return
            # Hold nothing of a connection while waiting for the next job.
            del job, done, result

    def _finish(self, done: Completion, result: object) -> None:
        self.unfinished -= 1
        self._progressed = self._loop.time()
        done(result)
