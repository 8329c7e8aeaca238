"""What all relayed connections of one worker share."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from sendfile_server.hosting.clock import Clock
from sendfile_server.hosting.pool import Pool
from sendfile_server.options import Address
from sendfile_server.relay.config import RelayConfig
from sendfile_server.relay.flow import Means
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
    means: Means
    tally: Tally
    pool: Pool
    """Looks up names, one at a time for each connection that waits."""
    open: set[Breakable] = field(default_factory=set)
    """The connections that there are."""
    # Until when, by the clock's elapsed seconds, and what.
    _known: dict[Address, tuple[float, tuple[Place, ...]]] = field(default_factory=dict)

    def look_up(self, target: Address, found: Found) -> None:
        """Tell *found* what *target* stands for; at once if nobody need be asked."""
        until, places = self._known.get(target, (0.0, ()))
        if self.clock.elapsed < until:
            found(places)
            return
        needs_nobody = is_at_hand(target)
        until = math.inf if needs_nobody else self.clock.elapsed + _BELIEVED_S

        def done(result: tuple[Place, ...] | Exception) -> None:
            if isinstance(result, Exception):
                found(result if isinstance(result, OSError) else OSError(str(result)))
                return
            self._known[target] = (until, result)
            found(result)

        if needs_nobody:
            done(look_up(target))
        else:
            self.pool.submit(lambda: look_up(target), done)
