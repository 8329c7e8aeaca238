"""The time as the loop last saw it: nothing hot asks the kernel."""

import asyncio
import time
from collections.abc import Callable

_TICK_S = 1.0


class Clock:
    """Two times, moved on by a tick at each wall second.

    Ticking on the wall second makes workers agree on what is fresh.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, idle_timeout: float) -> None:
        """Start."""
        self._loop = loop
        self._idle_timeout = idle_timeout
        self._follower: Callable[[int], None] | None = None
        self.tick()

    def follow(self, ticked: Callable[[int], None]) -> None:
        """Tell *ticked* of each wall second, beginning with this one."""
        self._follower = ticked
        ticked(self.now)

    def tick(self) -> None:
        """Read the clocks, and come back at the next wall second."""
        wall = time.time()
        self.now = int(wall)
        """Whole seconds since the epoch, for Date, logs and freshness."""
        self.elapsed = time.monotonic()
        """Seconds of a clock that is never set back, for deadlines."""
        self.idle_deadline = self.elapsed + self._idle_timeout
        """When a connection that is idle from now on has been so for too long."""
        if self._follower:
            self._follower(self.now)
        self._loop.call_later(self.now + _TICK_S - wall, self.tick)

    @property
    def passed(self) -> float:
        """The latest deadline that is due, late by a tick at most.

        One that was set just before a tick is that much too early by itself, and who
        relies on a timeout, as a proxy does that keeps connections, must not find it
        cut short.
        """
        return time.monotonic() - _TICK_S
