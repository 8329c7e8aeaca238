"""From a `RelayConfig` to a running relay, and back to an exit code."""

import os
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack

from sendfile_server.errors import ConfigError
from sendfile_server.hosting.census import Place
from sendfile_server.hosting.entrances import Entrances
from sendfile_server.hosting.log_files import check_log
from sendfile_server.hosting.sockets import describe_bound
from sendfile_server.hosting.start import Hosted, Program, run
from sendfile_server.hosting.worker import Worker
from sendfile_server.monitoring.pages import check_metrics
from sendfile_server.options import describe
from sendfile_server.relay.archive import open_directory
from sendfile_server.relay.config import RelayConfig
from sendfile_server.relay.forwarding import (
    PIPE_DESCRIPTORS,
    Shared,
    count_descriptors,
    make_worker,
)
from sendfile_server.relay.progress import CLEAR_LINE, Progress
from sendfile_server.relay.tally import SAMPLES
from sendfile_server.relay.targets import look_up

_INHERITED = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_OOBINLINE, 1),
)


def check(config: RelayConfig) -> None:
    """Raise ConfigError unless what *config* names is there, targets and all."""
    check_log(config.log)
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


def relay(config: RelayConfig, read: Callable[[], RelayConfig]) -> int:
    """Forward until told to stop, and return the exit code; or raise ConfigError.

    *read* returns what is asked for now, or raises ConfigError.
    """
    return run(Program(name=_name, read=read, prepare=_prepare), config)


def _prepare(config: RelayConfig, entrances: Entrances, opened: ExitStack) -> Hosted:
    """Open what the workers are to share; or raise ConfigError."""
    if config.metrics:
        check_metrics()
    archive = open_directory(config.record) if config.record else None
    if archive is not None:
        opened.callback(os.close, archive)
    doors = [
        (sock, each.target)
        for each in config.forwards
        for sock in entrances.open(each.listen, _INHERITED)
    ]
    asides = entrances.open(config.metrics) if config.metrics else []
    shared = Shared(
        doors=doors,
        asides=asides,
        progress=Progress(sys.stderr) if _shows_progress(config) else None,
        archive=archive,
    )

    def make(place: Place) -> Worker:
        return make_worker(config, shared, place)

    said = ", ".join(f"{describe_bound(s)} to {describe(t)}" for s, t in doors)
    said += "".join(f", metrics at {describe_bound(each)}" for each in asides)
    return Hosted(
        make_worker=make,
        columns=len(SAMPLES),
        descriptors=count_descriptors(config),
        spare_descriptors=PIPE_DESCRIPTORS,
        announcement=f"Forwarding {said}",
    )


def _name(config: RelayConfig) -> str:
    before = CLEAR_LINE if _shows_progress(config) else ""
    return f"{before}splice-relay"


def _shows_progress(config: RelayConfig) -> bool:
    return config.progress and sys.stderr is not None and sys.stderr.isatty()
