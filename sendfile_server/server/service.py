"""What all connections of one worker share."""

import asyncio
from dataclasses import dataclass, field

from sendfile_server.config import Config
from sendfile_server.hosting.clock import Clock
from sendfile_server.hosting.pool import Pool
from sendfile_server.resource.files import OpenFile
from sendfile_server.resource.open_files import OpenFiles
from sendfile_server.resource.residency import Residency
from sendfile_server.resource.resolver import Resolver
from sendfile_server.semantics.representations import Representation
from sendfile_server.server.content_tags import ContentTags
from sendfile_server.server.exchanges import Exchanges
from sendfile_server.server.lending import Lending
from sendfile_server.server.remembered import Memory
from sendfile_server.transport.sendfile import Ways


@dataclass(slots=True)
class Service:
    """One worker's loop, files and log; used on the loop only."""

    config: Config
    loop: asyncio.AbstractEventLoop
    clock: Clock
    resolver: Resolver
    open_files: OpenFiles
    memory: Memory
    lending: Lending
    residency: Residency
    exchanges: Exchanges | None
    """None if nobody wants to be told of them."""
    is_timing: bool
    """Whether anybody wants to know how long they took."""
    content_tags: ContentTags | None
    """None if tags are of the state of files."""
    bulk: Pool
    """For long responses to fast clients; without a thread here, the loop sends."""
    ways: Ways = field(default_factory=Ways)
    last_request: int = field(init=False)
    """How many requests a connection may have had for another not to be its last."""
    planned: int = 0
    """How many responses came from no memory."""
    is_draining: bool = False
    """Whether answers are the last of their connections."""

    def __post_init__(self) -> None:
        self.last_request = self.config.keepalive_requests - 1

    def label(self, file: OpenFile) -> Representation | None:
        """Return what a big *file* is, validated; None if it is to be hashed first."""
        tags = self.content_tags
        return tags.label(file) if tags else file.representation

    def tick(self, now: int) -> None:
        """Let *now* be the wall second."""
        self.memory.tick(now)
        self.lending.tick()

    def drain(self) -> None:
        """Let answers be the last of their connections, and remember no more."""
        self.is_draining = True
        self.memory.close()
