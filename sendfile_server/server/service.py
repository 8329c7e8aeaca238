"""What all connections of one worker share."""

import asyncio
from dataclasses import dataclass, field

from sendfile_server.config import Config
from sendfile_server.resource.residency import Residency
from sendfile_server.resource.resolver import Resolver
from sendfile_server.server.access_log import AccessLog
from sendfile_server.server.clock import Clock
from sendfile_server.server.pool import Pool
from sendfile_server.transport.sendfile import Ways


@dataclass(slots=True)
class Service:
    """One worker's loop, files and log; used on the loop only."""

    config: Config
    loop: asyncio.AbstractEventLoop
    clock: Clock
    resolver: Resolver
    residency: Residency
    access_log: AccessLog | None
    ways: Ways = field(default_factory=Ways)
    is_draining: bool = False
    """Whether answers are the last of their connections."""


@dataclass(frozen=True, slots=True)
class Pools:
    """The threads of one listener; apart, so that a dead disk stops no download."""

    cold: Pool
    """Finds files and sends what is not in memory."""
    bulk: Pool
    """Sends what is in memory, for long."""
