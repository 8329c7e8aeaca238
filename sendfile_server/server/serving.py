"""What a worker needs to serve files: made once, and shared by its connections."""

import logging
import os
import socket
from typing import Any

from sendfile_server.config import Config
from sendfile_server.hosting.census import Place
from sendfile_server.hosting.guest import Closed, Reception
from sendfile_server.hosting.limits import kept_files
from sendfile_server.hosting.pool import Pool
from sendfile_server.hosting.worker import Worker
from sendfile_server.resource.open_files import OpenFiles
from sendfile_server.resource.residency import Residency
from sendfile_server.resource.resolver import Resolver
from sendfile_server.resource.root import Root
from sendfile_server.semantics.media_types import build_table
from sendfile_server.server.access_log import AccessLog
from sendfile_server.server.connection import Connection
from sendfile_server.server.remembered import Memory
from sendfile_server.server.responder import SMALL_BODY, Responder
from sendfile_server.server.service import Service

_log = logging.getLogger(__name__)

DESCRIPTORS = 2
"""What a connection takes: its socket, and the file that is being sent on it."""

# Jobs of one pool that may be unfinished before new requests get 503.
_POOL_DEPTH = 1024
# Long responses that threads send, at once; there is no queue.
_BULK_THREADS = 4
_LOG_CLOSE_S = 2.0


def make_worker(
    config: Config,
    sockets: list[socket.socket],
    place: Place,
    log_descriptor: int | None,
) -> Worker:
    """Open the directory (or raise OSError), and prepare to serve it on *sockets*."""
    worker = Worker(place, config.grace, config.keepalive_timeout)
    capacity = 0 if config.no_memory else config.memory * 1024 * 1024
    resolver = Resolver(
        Root(config.directory, config.freshness),
        os.fsencode(config.index),
        build_table(dict(config.mime_type)),
    )
    kept = kept_files(DESCRIPTORS * place.max_connections) if capacity else 0
    log = None
    if log_descriptor is not None:
        log = AccessLog(worker.loop, log_descriptor)
    service = Service(
        config=config,
        loop=worker.loop,
        clock=worker.clock,
        resolver=resolver,
        open_files=OpenFiles(resolver, kept, SMALL_BODY + 1, config.freshness),
        memory=Memory(resolver, capacity, config.freshness),
        residency=Residency(0) if config.no_memory else Residency(),
        access_log=log,
        bulk=Pool(worker.loop, "bulk", _BULK_THREADS, _BULK_THREADS),
    )
    worker.clock.follow(service.memory.tick)
    worker.on_drain = service.drain
    worker.on_sweep = _Sweep(service)
    if log:
        worker.on_end = lambda: log.close(_LOG_CLOSE_S)
    for sock in sockets:
        worker.listen(sock, _reception(service, is_tcp=sock.family != socket.AF_UNIX))
    return worker


def _reception(service: Service, *, is_tcp: bool) -> Reception:
    """Return what makes connections of those who come by one listening socket."""
    pool = Pool(service.loop, "pool", service.config.threads, _POOL_DEPTH)
    responder = Responder(service, pool)

    def receive(client: socket.SocketType, address: Any, closed: Closed) -> Connection:  # noqa: ANN401 - as the family's
        peer = address[0].encode() if is_tcp else b"unix:"
        return Connection(client, peer, service, responder, closed)

    return receive


class _Sweep:
    """What is looked after every second."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._has_told_of_copying = False

    def __call__(self) -> None:
        self._service.open_files.close_idle(self._service.clock.now)
        if self._service.ways.copied and not self._has_told_of_copying:
            self._has_told_of_copying = True
            _log.warning("this file system refuses sendfile: files are copied")
