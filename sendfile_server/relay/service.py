"""What all relayed connections of one worker share."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from sendfile_server.hosting.clock import Clock
from sendfile_server.hosting.pool import Pool
from sendfile_server.options import Address
from sendfile_server.relay.config import RelayConfig
from sendfile_server.relay.flow import Means
from sendfile_server.relay.readiness import Readiness
from sendfile_server.relay.recording import Recordings
from sendfile_server.relay.resets import Breakable
from sendfile_server.relay.tally import Tally
from sendfile_server.relay.targets import Place, is_at_hand, look_up

# For how long a name is believed to stand for what it stood for.
_BELIEVED_S = 5

Found = Callable[[tuple[Place, ...] | OSError], None]
"""Is told on the loop what a target stands for, or why that is not known."""


@dataclass(slots=True)
class RelayService:
    """One worker's loop, means and names; used on the loop only."""

    config: RelayConfig
    loop: asyncio.AbstractEventLoop
    clock: Clock
    readiness: Readiness
    means: Means
    tally: Tally
    pool: Pool
    """Looks up names, one at a time for each target."""
    haulers: Pool
    """Moves what comes in bulk; see `Haul`."""
    recordings: Recordings | None = None
    """None if nothing is to be recorded."""
    open: set[Breakable] = field(default_factory=set)
    """The connections that there are."""
    # Until when, by the clock's elapsed seconds, and what.
    _known: dict[Address, tuple[float, tuple[Place, ...]]] = field(default_factory=dict)
    # Who waits for what is being looked up.
    _asking: dict[Address, list[Found]] = field(default_factory=dict)

    def look_up(self, target: Address, found: Found) -> None:
        """Tell *found* what *target* stands for; at once if nobody need be asked."""
        until, places = self._known.get(target, (0.0, ()))
        if self.clock.elapsed < until:
            found(places)
        elif is_at_hand(target):
            self._known[target] = (math.inf, look_up(target))
            self.look_up(target, found)
        elif target in self._asking:
            self._asking[target].append(found)
        else:
            self._asking[target] = [found]
            self.pool.submit(lambda: look_up(target), partial(self._answer, target))

    def _answer(self, target: Address, result: tuple[Place, ...] | Exception) -> None:
        if not isinstance(result, Exception):
            self._known[target] = (self.clock.elapsed + _BELIEVED_S, result)
        elif not isinstance(result, OSError):
            result = OSError(str(result))
        for found in self._asking.pop(target):
            found(result)
