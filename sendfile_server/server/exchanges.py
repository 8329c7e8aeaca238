"""Exchanges that have ended, told in bulk: the loop appends a record and goes on."""

import asyncio
from collections.abc import Callable, Sequence

# Telling of so many takes the loop under half a millisecond.
_SLICE = 256
_FLUSH_INTERVAL_S = 0.25

Exchange = tuple[bytes, int, float, bytes, int, int]
"""What is told of one response; not named, which would take as long as half a line.

The client's address; when the response ended, in seconds since the epoch; how many
seconds it took, from its whole head to the last byte given to the kernel, or 0 if
nobody wants to know; the request's head, or as much of it as came; the status; and
how many bytes of the body were given to the kernel.
"""

Teller = Callable[[Sequence[Exchange]], None]


class Exchanges:
    """Collects exchanges for all who tell of them."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tellers: Sequence[Teller]
    ) -> None:
        """Begin to hand over what was collected, every quarter of a second."""
        self._loop = loop
        self._tellers = tellers
        self._collected: list[Exchange] = []
        self._flush_later()

    def append(self, exchange: Exchange) -> None:
        """Note one."""
        self._collected.append(exchange)
        if len(self._collected) >= _SLICE:
            self.flush()

    def flush(self) -> None:
        """Hand over what was collected."""
        collected, self._collected = self._collected, []
        if collected:
            for tell in self._tellers:
                tell(collected)

    def _flush_later(self) -> None:
        self.flush()
        self._loop.call_later(_FLUSH_INTERVAL_S, self._flush_later)
