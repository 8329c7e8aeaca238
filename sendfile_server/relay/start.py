"""From a `RelayConfig` to a running relay, and back to an exit code."""

import logging
import socket
import sys

from sendfile_server.errors import ConfigError
from sendfile_server.hosting import start
from sendfile_server.hosting.census import Place
from sendfile_server.hosting.guest import Closed, Reception
from sendfile_server.hosting.limits import kept_files
from sendfile_server.hosting.pool import Pool
from sendfile_server.hosting.sockets import describe_bound, listen
from sendfile_server.hosting.worker import Worker
from sendfile_server.options import Address, describe
from sendfile_server.relay.config import RelayConfig
from sendfile_server.relay.connection import Relayed
from sendfile_server.relay.flow import Means, Tally
from sendfile_server.relay.service import RelayService
from sendfile_server.relay.targets import look_up
from sendfile_server.transport.pipes import Pipes

_log = logging.getLogger(__name__)

# Two sockets. Pipes get what descriptors are left; without one, bytes are copied.
_DESCRIPTORS = 2
_INHERITED = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
_LOOKING_UP = 4


def check(config: RelayConfig) -> None:
    """Raise ConfigError unless the targets of *config* stand for something."""
    for each in config.forwards:
        try:
            look_up(each.target)
        except OSError as error:
            where, reason = describe(each.target), error.strerror or str(error)
            raise ConfigError(f"cannot connect to {where}: {reason}") from None


def relay(config: RelayConfig) -> int:
    """Forward until told to stop, and return the exit code; or raise ConfigError."""
    logs = start.configure_log("splice-relay", config)
    doors = [
        (sock, each.target)
        for each in config.forwards
        for sock in listen(each.listen, _INHERITED)
    ]

    def make_worker(place: Place) -> Worker:
        return _make_worker(config, doors, place)

    said = ", ".join(f"{describe_bound(s)} to {describe(t)}" for s, t in doors)
    hosted = start.Hosted(
        sockets=[sock for sock, _ in doors],
        make_worker=make_worker,
        descriptors=_DESCRIPTORS,
        announcement=f"Forwarding {said}",
        logs=logs,
    )
    return start.run(config, hosted)


def _make_worker(
    config: RelayConfig, doors: list[tuple[socket.socket, Address]], place: Place
) -> Worker:
    worker = Worker(place, config.grace, config.idle_timeout)
    spare = kept_files(_DESCRIPTORS * place.max_connections)
    pipes = None if config.no_splice else Pipes(config.pipe_size * 1024, spare // 2)
    service = RelayService(
        config=config,
        loop=worker.loop,
        clock=worker.clock,
        means=Means(pipes, Tally()),
        pool=Pool(worker.loop, "names", _LOOKING_UP, sys.maxsize),
    )
    worker.on_end = lambda: _tell(service.tally)
    for sock, target in doors:
        worker.listen(sock, _reception(service, target))
    return worker


def _tell(tally: Tally) -> None:
    _log.info(
        "%d connections: %d bytes spliced, %d copied; %d without a target, %d reset",
        tally.accepted,
        tally.spliced,
        tally.copied,
        tally.failed,
        tally.broken,
    )


def _reception(service: RelayService, target: Address) -> Reception:
    """Return what makes relayed connections of those who come by one socket."""

    def receive(client: socket.SocketType, _: object, closed: Closed) -> Relayed:
        service.tally.accepted += 1
        return Relayed(client, target, service, closed)

    return receive
