"""What a worker needs to serve files: made once, and shared by its connections."""

import logging
import os
import socket
from functools import partial
from typing import Any

from sendfile_server.config import Config
from sendfile_server.hosting.census import Place
from sendfile_server.hosting.greeting import Greeting, Terms
from sendfile_server.hosting.guest import Closed, Guest, Reception
from sendfile_server.hosting.limits import kept_files
from sendfile_server.hosting.pool import Pool
from sendfile_server.hosting.proxy_protocol import Route
from sendfile_server.hosting.worker import Worker
from sendfile_server.monitoring.pages import show_pages
from sendfile_server.monitoring.samples import Sheet
from sendfile_server.resource.open_files import OpenFiles
from sendfile_server.resource.residency import Residency
from sendfile_server.resource.resolver import Resolver
from sendfile_server.resource.root import Root
from sendfile_server.semantics.media_types import build_table
from sendfile_server.semantics.targets import split_base_path
from sendfile_server.server.access_log import AccessLog
from sendfile_server.server.clients import UNIX_PEER, client_finder
from sendfile_server.server.connection import Connection
from sendfile_server.server.content_tags import ContentTags
from sendfile_server.server.counters import SAMPLES, Counters, Observed
from sendfile_server.server.exchanges import Exchanges
from sendfile_server.server.lending import Lending
from sendfile_server.server.log_formats import FORMATS
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
# Apart from those that wait for disks: nobody is in such a hurry for a hash, which
# takes a whole CPU, as the loop of each worker may.
_HASHING_THREADS = 1
# What part of the memory is for loans, which are second copies.
_LENT_PART = 4
# Of some 500 bytes each.
_MOST_TAGS = 16384
_LOG_CLOSE_S = 2.0


def make_worker(
    config: Config,
    sockets: list[socket.socket],
    asides: list[socket.socket],
    place: Place,
    log_descriptor: int | None,
) -> Worker:
    """Open the directory (or raise OSError), and prepare to serve it on *sockets*.

    And to tell of it on *asides*.
    """
    worker = Worker(place, config.grace, config.keepalive_timeout)
    capacity = 0 if config.no_memory else config.memory * 1024 * 1024
    lent = capacity // _LENT_PART
    resolver = Resolver(
        Root(config.directory, config.freshness),
        os.fsencode(config.index),
        build_table(dict(config.mime_type)),
        split_base_path(config.base_path),
    )
    kept = kept_files(DESCRIPTORS * place.max_connections) if capacity else 0
    log = None
    if log_descriptor is not None:
        log = AccessLog(
            log_descriptor,
            FORMATS[config.access_log_format],
            client_finder(config.client_address, config.trusted_proxy),
        )
    counters = Counters() if asides else None
    tellers = [each.tell for each in (log, counters) if each]
    service = Service(
        config=config,
        loop=worker.loop,
        clock=worker.clock,
        resolver=resolver,
        open_files=OpenFiles(resolver, kept, SMALL_BODY + 1, config.freshness),
        memory=Memory(resolver, capacity - lent, config.freshness),
        lending=Lending(Pool(worker.loop, "lending", 1, 1), lent),
        residency=Residency(0) if config.no_memory else Residency(),
        exchanges=Exchanges(worker.loop, tellers) if tellers else None,
        is_timing=bool(asides) or config.access_log_format == "json",
        content_tags=_content_tags(worker, config),
        bulk=Pool(worker.loop, "bulk", _BULK_THREADS, _BULK_THREADS),
    )
    worker.clock.follow(service.tick)
    worker.on_drain = service.drain
    pools = [Pool(worker.loop, "pool", config.threads, _POOL_DEPTH) for _ in sockets]
    for sock, pool in zip(sockets, pools, strict=True):
        worker.listen(sock, _reception(service, pool))
    sheet = None
    if counters:
        observed = Observed(worker, service, counters, pools)
        sheet = Sheet(SAMPLES, observed, place.board, place.number)
        show_pages(worker, asides, sheet, "sendfile-serve")
    worker.on_sweep = _Sweep(service, sheet)
    worker.on_end = partial(_finish_telling, service.exchanges, log, sheet)
    return worker


def _content_tags(worker: Worker, config: Config) -> ContentTags | None:
    if config.etag != "content":
        return None
    pool = Pool(worker.loop, "hashing", _HASHING_THREADS, _POOL_DEPTH)
    return ContentTags(worker.clock, pool, 0 if config.no_memory else _MOST_TAGS)


def _reception(service: Service, pool: Pool) -> Reception:
    """Return what makes connections of those who come by one listening socket."""
    responder, config = Responder(service, pool), service.config
    terms = Terms(
        service.loop,
        service.clock,
        config.trusted_proxy,
        config.proxy_timeout,
        lambda: None,
    )

    def receive(client: socket.SocketType, peer: Any, closed: Closed) -> Connection:  # noqa: ANN401 - as the family's
        name = peer[0].encode() if isinstance(peer, tuple) else UNIX_PEER
        return Connection(client, name, service, responder, closed)

    def greet(client: socket.SocketType, peer: object, closed: Closed) -> Guest:
        def admit(route: Route | None, closed: Closed) -> Guest:
            told = (str(route.source),) if route else peer
            return receive(client, told, closed)

        return Greeting(client, peer, terms, admit, closed)

    return greet if config.client_address == "proxy" else receive


def _finish_telling(
    exchanges: Exchanges | None, log: AccessLog | None, sheet: Sheet | None
) -> None:
    if exchanges:
        exchanges.flush()
    if sheet:
        sheet.publish()
    if log:
        log.close(_LOG_CLOSE_S)


class _Sweep:
    """What is looked after every second."""

    def __init__(self, service: Service, sheet: Sheet | None) -> None:
        self._service = service
        self._sheet = sheet
        self._has_told_of_copying = False

    def __call__(self) -> None:
        self._service.open_files.close_idle(self._service.clock.now)
        if self._sheet:
            self._sheet.publish()
        if self._service.ways.copied and not self._has_told_of_copying:
            self._has_told_of_copying = True
            _log.warning("this file system refuses sendfile: files are copied")
