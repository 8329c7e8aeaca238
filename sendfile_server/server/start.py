"""From a `Config` to a running server, and back to an exit code."""

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack

from sendfile_server.config import Config
from sendfile_server.errors import ConfigError
from sendfile_server.hosting.census import Place
from sendfile_server.hosting.entrances import Entrances
from sendfile_server.hosting.log_files import LogFile, check_log, stdout
from sendfile_server.hosting.sockets import describe_bound, url_of
from sendfile_server.hosting.start import Hosted, Program, run
from sendfile_server.hosting.worker import Worker
from sendfile_server.monitoring.pages import check_metrics
from sendfile_server.server.counters import SAMPLES
from sendfile_server.server.serving import DESCRIPTORS, make_worker

# A client that stalls then holds some 139 KiB of kernel memory instead of 4 MiB.
_NOT_SENT_LOW_WATER = 128 * 1024
# Accept returns with the first bytes there; a silent client is handed over after
# a second.
_DEFER_ACCEPT_S = 1
_INHERITED = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOT_SENT_LOW_WATER),
    (socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _DEFER_ACCEPT_S),
)


def check(config: Config) -> None:
    """Raise ConfigError unless what *config* names can be served and written."""
    try:
        os.path.abspath(config.directory)  # of a removed one there is no name
        os.close(os.open(config.directory, os.O_RDONLY | os.O_DIRECTORY))
    except OSError as error:
        raise ConfigError(
            f"cannot serve {config.directory}: {error.strerror}"
        ) from None
    if not os.access(config.directory, os.X_OK):
        raise ConfigError(f"cannot serve {config.directory}: Permission denied")
    check_log(config.log)
    check_log(config.access_log)
    if config.metrics:
        check_metrics()


def serve(config: Config, read: Callable[[], Config]) -> int:
    """Serve until told to stop, and return the exit code; or raise ConfigError.

    *read* returns what is asked for now, or raises ConfigError.
    """
    program = Program(name=lambda _: "sendfile-serve", read=read, prepare=_prepare)
    return run(program, config)


def _prepare(config: Config, entrances: Entrances, opened: ExitStack) -> Hosted:
    """Open what the workers are to share; or raise ConfigError."""
    check(config)
    given = tuple(each for each in entrances.given if each != config.metrics)
    sockets = [
        each
        for entrance in config.listen or given or (config.address,)
        for each in entrances.open(entrance, _INHERITED)
    ]
    # After those, which keep their places so if metrics are told from now on.
    asides = entrances.open(config.metrics) if config.metrics else []
    logs: tuple[LogFile, ...] = ()
    log_descriptor: int | None = None
    if config.access_log == "-":
        log_descriptor = stdout()
    elif config.access_log is not None:
        logs = (LogFile(config.access_log),)
        opened.callback(logs[0].close)
        log_descriptor = logs[0].descriptor

    def make(place: Place) -> Worker:
        return make_worker(config, sockets, asides, place, log_descriptor)

    return Hosted(
        columns=len(SAMPLES),
        make_worker=make,
        descriptors=DESCRIPTORS,
        announcement=_describe(config, sockets, asides),
        logs=logs,
    )


def _describe(
    config: Config, sockets: list[socket.socket], asides: list[socket.socket]
) -> str:
    urls = ", ".join(url_of(each, config.base_path) for each in sockets)
    metrics = "".join(f", metrics at {describe_bound(each)}" for each in asides)
    return f"Serving {os.path.abspath(config.directory)} at {urls}{metrics}"
