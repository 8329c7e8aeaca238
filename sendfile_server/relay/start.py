"""From a `RelayConfig` to a running relay, and back to an exit code."""

import os
import socket
import sys

from sendfile_server.errors import ConfigError
from sendfile_server.hosting import start
from sendfile_server.hosting.census import Place
from sendfile_server.hosting.sockets import describe_bound, listen
from sendfile_server.hosting.worker import Worker
from sendfile_server.monitoring.pages import check_metrics
from sendfile_server.options import describe
from sendfile_server.relay.archive import open_directory
from sendfile_server.relay.config import RelayConfig
from sendfile_server.relay.forwarding import (
    PIPE_DESCRIPTORS,
    Opened,
    count_descriptors,
    make_worker,
)
from sendfile_server.relay.progress import CLEAR_LINE, Progress
from sendfile_server.relay.tally import SAMPLES
from sendfile_server.relay.targets import look_up

_INHERITED = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)


def check(config: RelayConfig) -> None:
    """Raise ConfigError unless what *config* names is there, targets and all."""
    for each in config.forwards:
        try:
            look_up(each.target)
        except OSError as error:
            where, reason = describe(each.target), error.strerror or str(error)
            raise ConfigError(f"cannot connect to {where}: {reason}") from None
    if config.metrics:
        check_metrics()
    if config.record:
        os.close(open_directory(config.record))


def relay(config: RelayConfig) -> int:
    """Forward until told to stop, and return the exit code; or raise ConfigError."""
    shows_progress = config.progress and sys.stderr.isatty()
    before = CLEAR_LINE if shows_progress else ""
    logs = start.configure_log(f"{before}splice-relay", config)
    if config.metrics:
        check_metrics()
    archive = open_directory(config.record) if config.record else None
    access = config.socket_access
    doors = [
        (sock, each.target)
        for each in config.forwards
        for sock in listen(each.listen, _INHERITED, access)
    ]

    asides = listen(config.metrics, access=access) if config.metrics else []
    opened = Opened(
        doors=doors,
        asides=asides,
        progress=Progress(sys.stderr) if shows_progress else None,
        archive=archive,
    )

    def make(place: Place) -> Worker:
        return make_worker(config, opened, place)

    said = ", ".join(f"{describe_bound(s)} to {describe(t)}" for s, t in doors)
    said += "".join(f", metrics at {describe_bound(each)}" for each in asides)
    hosted = start.Hosted(
        sockets=[*(sock for sock, _ in doors), *asides],
        make_worker=make,
        columns=len(SAMPLES),
        descriptors=count_descriptors(config),
        spare_descriptors=PIPE_DESCRIPTORS,
        announcement=f"Forwarding {said}",
        logs=logs,
    )
    return start.run(config, hosted)
