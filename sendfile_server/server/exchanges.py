"""Exchanges that have ended, told in bulk: the loop appends a record and goes on."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Telling of so many takes the loop under half a millisecond.
_SLICE = 256
_FLUSH_INTERVAL_S = 0.25

Exchange = tuple[bytes, int, float, bytes, bytes, int, int]
"""What is told of one response, as a row of a `Batch`.

Not named, which would take as long as half a line.
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """Exchanges in the order in which they ended, by the column.

    That is how C works through them, without a step in Python for each.
    """

    peers: Sequence[bytes]
    """Addresses of clients, or of the proxies that they came by."""
    seconds: Sequence[int]
    """When responses ended, since the epoch."""
    took: Sequence[float]
    """Seconds from a whole head to the last byte given to the kernel.

    0 if nobody wants to know.
    """
    lines: Sequence[bytes]
    """Request lines, or as much of them as came."""
    tails: Sequence[bytes]
    """What followed them in the heads, from their line ends.

    Both are objects that are looked up by anyway, so that their hashes are known.
    """
    statuses: Sequence[int]
    sent: Sequence[int]
    """How many bytes of bodies were given to the kernel."""


Teller = Callable[[Batch], None]


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
            batch = Batch(*zip(*collected, strict=True))
            for tell in self._tellers:
                tell(batch)

    def _flush_later(self) -> None:
        self.flush()
        self._loop.call_later(_FLUSH_INTERVAL_S, self._flush_later)
