"""What all relayed connections of one worker share."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from sendfile_server.hosting.clock import Clock
from sendfile_server.hosting.pool import Pool
from sendfile_server.options import Address
from sendfile_server.relay.config import RelayConfig
from sendfile_server.relay.flow import Means, Tally
from sendfile_server.relay.targets import Place, is_at_hand, look_up

_log = logging.getLogger(__name__)

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
    pool: Pool
    """Looks up names, one at a time for each connection that waits."""
    _known: dict[Address, tuple[int, tuple[Place, ...]]] = field(default_factory=dict)

    @property
    def tally(self) -> Tally:
        """What was moved, and what became of the connections."""
        return self.means.tally

    def look_up(self, target: Address, found: Found) -> None:
        """Tell *found* what *target* stands for; at once if nobody need be asked."""
        since, places = self._known.get(target, (0, ()))
        if places and (self.clock.elapsed - since <= _BELIEVED_S or is_at_hand(target)):
            found(places)
            return

        def done(result: tuple[Place, ...] | Exception) -> None:
            if isinstance(result, Exception):
                found(result if isinstance(result, OSError) else OSError(str(result)))
                return
            self._known[target] = (self.clock.elapsed, result)
            found(result)

        if not is_at_hand(target):
            self.pool.submit(lambda: look_up(target), done)
            return
        try:
            done(look_up(target))
        except OSError as error:
            done(error)
