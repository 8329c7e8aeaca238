"""One worker: an event loop with listeners, a sweep of deadlines, and an end."""

import gc
import logging
import os
import signal
import socket
from collections.abc import Callable

import uvloop

from sendfile_server.config import Config
from sendfile_server.resource.open_files import OpenFiles
from sendfile_server.resource.residency import Residency
from sendfile_server.resource.resolver import Resolver
from sendfile_server.resource.root import Root
from sendfile_server.semantics.media_types import build_table
from sendfile_server.server.access_log import AccessLog
from sendfile_server.server.census import Place
from sendfile_server.server.clock import Clock
from sendfile_server.server.connection import Connection
from sendfile_server.server.limits import kept_files
from sendfile_server.server.listener import Listener
from sendfile_server.server.pool import Pool
from sendfile_server.server.remembered import Memory
from sendfile_server.server.responder import SMALL_BODY
from sendfile_server.server.service import Service

_log = logging.getLogger(__name__)

_SWEEP_INTERVAL_S = 1.0
# While draining, how often to look whether all has been sent.
_DRAIN_INTERVAL_S = 0.05
# Jobs of one pool that may be unfinished before new requests get 503.
_POOL_DEPTH = 1024
# Long responses that threads send, at once; there is no queue.
_BULK_THREADS = 4
_LOG_CLOSE_S = 2.0


class Worker:
    """Serves the connections of its listening sockets until it is told to stop."""

    def __init__(
        self,
        config: Config,
        sockets: list[socket.socket],
        place: Place,
        log_descriptor: int | None,
    ) -> None:
        """Open the directory (or raise OSError) and prepare, without accepting."""
        self._loop = uvloop.new_event_loop()
        place.note(0)  # and not what a predecessor had
        self._connections: set[Connection] = set()
        capacity = 0 if config.no_memory else config.memory * 1024 * 1024
        resolver = Resolver(
            Root(config.directory, config.freshness),
            os.fsencode(config.index),
            build_table(dict(config.mime_type)),
        )
        kept = kept_files(place.max_connections) if capacity else 0
        open_files = OpenFiles(resolver, kept, SMALL_BODY + 1, config.freshness)
        memory = Memory(resolver, capacity, config.freshness)
        log = (
            AccessLog(self._loop, log_descriptor)
            if log_descriptor is not None
            else None
        )
        self._service = Service(
            config=config,
            place=place,
            loop=self._loop,
            clock=Clock(self._loop, config.keepalive_timeout, memory.tick),
            resolver=resolver,
            open_files=open_files,
            memory=memory,
            residency=Residency(0) if config.no_memory else Residency(),
            access_log=log,
            bulk=Pool(self._loop, "bulk", _BULK_THREADS, _BULK_THREADS),
        )
        self._listeners = [
            Listener(sock, self._service, self._pool(), self._opened, self._closed)
            for sock in sockets
        ]
        self._has_told_of_copying = False
        self._drain_end = 0.0

    @property
    def is_draining(self) -> bool:
        """Tell whether the worker has been told to stop."""
        return self._service.is_draining

    def run(self, *, ready: Callable[[], None], beat: Callable[[], None]) -> None:
        """Serve until drained.

        *ready* is called once, when connections are accepted; after that *beat*,
        at once and every second for as long as the loop turns.
        """
        for listener in self._listeners:
            listener.resume()
        # What was made so far stays for good: no collection need look at it.
        gc.freeze()
        self._loop.call_soon(ready)
        self._loop.call_soon(self._sweep, beat)
        self._loop.run_forever()
        if self._service.access_log:
            self._service.access_log.close(_LOG_CLOSE_S)

    def on_signal(self, number: signal.Signals, handler: Callable[[], None]) -> None:
        """Call *handler* on the loop when signal *number* comes."""
        self._loop.add_signal_handler(number, handler)

    def drain_at_end_of(self, link: socket.socket) -> None:
        """Drain when the peer of *link*, which never sends, is gone."""

        def drain() -> None:
            self._loop.remove_reader(link.fileno())
            self.drain()

        self._loop.add_reader(link.fileno(), drain)

    def drain(self) -> None:
        """Accept no more, finish what is under way, and end after the grace."""
        if self.is_draining:
            return
        self._service.is_draining = True
        self._service.memory.close()
        self._drain_end = self._loop.time() + self._service.config.grace
        for listener in self._listeners:
            listener.stop()
        self._end_when_drained()

    def _end_when_drained(self) -> None:
        is_over = self._loop.time() >= self._drain_end
        if not is_over and not all(each.is_idle for each in self._connections):
            self._loop.call_later(_DRAIN_INTERVAL_S, self._end_when_drained)
            return
        # A request may have come meanwhile on a connection that seemed idle.
        for connection in list(self._connections):
            if connection.is_idle:
                connection.read()
        idle = [each for each in self._connections if each.is_idle]
        if not is_over and len(idle) < len(self._connections):
            self._loop.call_later(_DRAIN_INTERVAL_S, self._end_when_drained)
            return
        for connection in idle:
            connection.close()
        if self._connections:
            count = len(self._connections)
            _log.warning("%d connections cut short at the end of the grace", count)
        self._loop.stop()

    def _sweep(self, beat: Callable[[], None]) -> None:
        self._loop.call_later(_SWEEP_INTERVAL_S, self._sweep, beat)
        beat()
        now = self._service.clock.elapsed
        for connection in [c for c in self._connections if c.deadline <= now]:
            try:
                connection.expire()
            except Exception:  # noqa: BLE001
                # The deadlines of all the others come after this one.
                _log.exception("a deadline failed")
                connection.close()
        self._service.open_files.close_idle(self._service.clock.now)
        self._resume_accepting()
        self._tell_of_copying()

    def _opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._count()
        if len(self._connections) >= self._service.place.max_connections:
            for listener in self._listeners:
                listener.pause()

    def _closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._count()
        self._resume_accepting()

    def _count(self) -> None:
        if not self._service.is_draining:  # then the place is a successor's
            self._service.place.note(len(self._connections))

    def _resume_accepting(self) -> None:
        has_room = len(self._connections) < self._service.place.max_connections
        if has_room and not self._service.is_draining:
            for listener in self._listeners:
                listener.resume()

    def _tell_of_copying(self) -> None:
        if self._service.ways.copied and not self._has_told_of_copying:
            self._has_told_of_copying = True
            _log.warning("this file system refuses sendfile: files are copied")

    def _pool(self) -> Pool:
        threads = self._service.config.threads
        return Pool(self._loop, "pool", threads, _POOL_DEPTH)
