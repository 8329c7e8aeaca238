"""From a `Config` to a running server, and back to an exit code."""

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial

from sendfile_server.config import Config
from sendfile_server.errors import ConfigError
from sendfile_server.server.limits import default_workers, raise_descriptor_limit
from sendfile_server.server.sockets import listen, url_of
from sendfile_server.server.supervisor import Supervisor
from sendfile_server.server.worker import Worker

_log = logging.getLogger(__name__)


def check(config: Config) -> None:
    """Raise ConfigError unless the directory of *config* can be served."""
    try:
        os.close(os.open(config.directory, os.O_RDONLY | os.O_DIRECTORY))
    except OSError as error:
        raise ConfigError(
            f"cannot serve {config.directory}: {error.strerror}"
        ) from None
    if not os.access(config.directory, os.X_OK):
        raise ConfigError(f"cannot serve {config.directory}: Permission denied")


def serve(config: Config) -> int:
    """Serve until told to stop, and return the exit code; or raise ConfigError."""
    logging.basicConfig(
        format="sendfile-serve[%(process)d]: %(message)s", level=logging.INFO
    )
    check(config)
    sockets = [each for address in config.addresses for each in listen(address)]
    log_descriptor = _open_log(config.access_log)
    workers = min(config.workers or default_workers(), config.max_connections)
    wanted = -(-config.max_connections // workers)
    connections = raise_descriptor_limit(wanted)
    if connections < wanted:
        _log.warning(
            "the limit of open files (ulimit -n) allows %d connections, not %d",
            connections * workers,
            config.max_connections,
        )
    worker = partial(Worker, config, sockets, connections, log_descriptor)
    announce = partial(_announce, config.directory, sockets, workers)
    try:
        if workers == 1:
            return _run_alone(worker(), announce)
        work = partial(_work, worker)
        return Supervisor(workers, work, announce, config.grace).run()
    finally:
        _remove_socket_files(sockets)


def _run_alone(worker: Worker, announce: Callable[[], None]) -> int:
    def interrupt() -> None:
        if worker.is_draining:
            os._exit(130)
        worker.drain()

    worker.on_signal(signal.SIGTERM, worker.drain)
    worker.on_signal(signal.SIGINT, interrupt)
    worker.run(ready=announce, beat=lambda: None)
    return 0


def _work(make_worker: Callable[[], Worker], link: socket.socket) -> None:
    """Be a worker process under a supervisor at the other end of *link*."""
    link.setblocking(False)
    worker = make_worker()

    def beat() -> None:
        # A supervisor that does not read has other worries.
        with contextlib.suppress(OSError):
            link.send(b".")

    worker.on_signal(signal.SIGTERM, worker.drain)
    worker.drain_at_end_of(link)  # nobody would look after us any more
    worker.run(ready=beat, beat=beat)


def _announce(directory: str, sockets: list[socket.socket], workers: int) -> None:
    urls = ", ".join(map(url_of, sockets))
    processes = "1 worker" if workers == 1 else f"{workers} workers"
    place = os.path.abspath(directory)
    sys.stderr.write(f"Serving {place} at {urls} with {processes}. Stop with Ctrl-C.\n")
    sys.stderr.flush()


def _open_log(path: str | None) -> int | None:
    if path is None:
        return None
    if path == "-":
        return sys.stdout.fileno()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o640)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def _remove_socket_files(sockets: list[socket.socket]) -> None:
    for each in sockets:
        if each.family == socket.AF_UNIX:
            with contextlib.suppress(OSError):
                os.unlink(each.getsockname())
