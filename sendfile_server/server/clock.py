"""The time as the loop last saw it: nothing hot asks the kernel."""

import asyncio
import time


class Clock:
    """Two times in whole seconds, moved on by a tick at each wall second.

    Ticking on the wall second makes workers agree on what is fresh.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.tick()

    def tick(self) -> None:
        """Read the clocks, and come back at the next wall second."""
        wall = time.time()
        self.now = int(wall)
        """Seconds since the epoch, for Date, logs and freshness."""
        self.elapsed = int(time.monotonic())
        """Seconds of a clock that is never set back, for deadlines."""
        self._loop.call_later(self.now + 1 - wall, self.tick)
