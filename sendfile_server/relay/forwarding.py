"""One worker of the relay: what it listens on, looks after and tells."""

import logging
import socket
import sys
from dataclasses import dataclass
from functools import partial

from sendfile_server.hosting.census import Place
from sendfile_server.hosting.greeting import Greeting, Terms
from sendfile_server.hosting.guest import Closed, Guest, Reception
from sendfile_server.hosting.limits import kept_files
from sendfile_server.hosting.pool import Pool
from sendfile_server.hosting.proxy_protocol import FORMATS, Route, route_between
from sendfile_server.hosting.worker import Worker
from sendfile_server.monitoring.pages import show_pages
from sendfile_server.monitoring.samples import Sheet
from sendfile_server.options import Address
from sendfile_server.relay.archive import Archive, Share
from sendfile_server.relay.config import RelayConfig
from sendfile_server.relay.connection import Relayed
from sendfile_server.relay.flow import Means
from sendfile_server.relay.progress import Progress
from sendfile_server.relay.readiness import Readiness
from sendfile_server.relay.recording import Recordings
from sendfile_server.relay.resets import break_reset
from sendfile_server.relay.service import RelayService
from sendfile_server.relay.tally import SAMPLES, Tally
from sendfile_server.transport.pipes import Pipes

_log = logging.getLogger(__name__)

PIPE_DESCRIPTORS = 128
"""What pipes need at least to be of use; they get whatever else is left, too."""
_DESCRIPTORS = 2
# Two files, and two that the connection before may not have closed yet.
_RECORDED_DESCRIPTORS = 4
_LOOKING_UP = 4
# Threads that move what comes in bulk; of more flows than that, the others take turns.
_HAULERS = 32

Door = tuple[socket.socket, Address]
"""Where clients come in, and what they are connected to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What is there before any worker is, and is shared by them."""

    doors: list[Door]
    asides: list[socket.socket]
    """Where it is told what was forwarded."""
    progress: Progress | None
    archive: int | None
    """A descriptor of the directory to record in, if there is one."""


def count_descriptors(config: RelayConfig) -> int:
    """Return how many a connection takes."""
    return _DESCRIPTORS + (_RECORDED_DESCRIPTORS if config.record else 0)


def make_worker(config: RelayConfig, shared: Shared, place: Place) -> Worker:
    """Prepare to forward what comes by the doors."""
    worker = Worker(place, config.grace, config.idle_timeout)
    spare = kept_files(count_descriptors(config) * place.max_connections)
    service = RelayService(
        config=config,
        loop=worker.loop,
        clock=worker.clock,
        readiness=Readiness(worker.loop),
        means=Means(
            None if config.no_splice else Pipes(config.pipe_size * 1024, spare // 2)
        ),
        tally=Tally(),
        pool=Pool(worker.loop, "names", _LOOKING_UP, sys.maxsize),
        haulers=Pool(worker.loop, "bulk", _HAULERS, _HAULERS),
    )
    sheet = Sheet(SAMPLES, service.tally, place.board, place.number)
    # One line is enough.
    shown = shared.progress if place.number == 0 else None
    if shared.archive is not None:
        service.recordings = _prepare_recordings(service, shared.archive, place)

    def sweep() -> None:
        break_reset(service.open)
        if service.recordings:
            service.recordings.sweep()
        totals = sheet.totals()
        if shown:
            shown.show(totals, worker.loop.time())

    def end() -> None:
        for connection in list(service.open):
            connection.cut_short()
        if service.recordings:
            service.recordings.close()
        sheet.publish()
        if shown:
            shown.end()
        _tell(service)

    worker.on_sweep = sweep
    worker.on_end = end
    for sock, target in shared.doors:
        worker.listen(sock, _reception(service, target))
    if shared.asides:
        show_pages(worker, shared.asides, sheet, "splice-relay")
    return worker


def _prepare_recordings(
    service: RelayService, directory: int, place: Place
) -> Recordings:
    config, tally = service.config, service.tally
    room = config.record_size * 1024 * 1024 // place.workers
    share = Share(place.number, place.workers, room, config.record_age)

    def count_given_up() -> None:
        tally.unrecorded += 1

    archive = Archive(directory, share)
    most = 2 * place.max_connections
    return Recordings(service.loop, archive, most, count_given_up)


def _reception(service: RelayService, target: Address) -> Reception:
    """Return what makes relayed connections of those who come by one socket."""
    config, tally = service.config, service.tally
    terms = Terms(
        service.loop,
        service.clock,
        config.trusted_proxy,
        config.proxy_timeout,
        tally.refuse,
    )

    def relay(
        client: socket.SocketType, peer: object, route: Route | None, closed: Closed
    ) -> Relayed:
        said = b""
        if config.send_proxy:
            # Whoever told us of the client knows more than its socket does.
            known = route or route_between(peer, client.getsockname())
            said = FORMATS[config.send_proxy](known)
        return Relayed(client, target, service, closed, said)

    def receive(client: socket.SocketType, peer: object, closed: Closed) -> Guest:
        tally.accepted += 1
        if config.accept_proxy:
            admit = partial(relay, client, peer)
            return Greeting(client, peer, terms, admit, closed)
        return relay(client, peer, None, closed)

    return receive


def _tell(service: RelayService) -> None:
    tally = service.tally
    flows = (tally.to_target, tally.to_client)
    _log.info(
        "%d connections: %d bytes spliced, %d copied; %d refused, %d without a target,"
        " %d reset",
        tally.accepted,
        sum(each.spliced for each in flows),
        sum(each.copied for each in flows),
        tally.refused,
        tally.failed,
        tally.broken,
    )
    if tally.unrecorded:
        _log.info("%d connections were not recorded to their end", tally.unrecorded)
