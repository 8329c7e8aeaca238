"""From a `Config` to a running server, and back to an exit code."""

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial

from sendfile_server.config import Config, UnixAddress
from sendfile_server.errors import ConfigError
from sendfile_server.server.census import Census, Place
from sendfile_server.server.limits import default_workers, raise_descriptor_limit
from sendfile_server.server.sockets import listen, url_of
from sendfile_server.server.supervisor import SIGNALS, Supervisor
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
    shares = _share_connections(config.max_connections, workers)
    census = Census(workers) if workers > 1 else None
    announce = partial(_announce, config.directory, sockets, workers)

    def make_worker(number: int) -> Worker:
        place = Place(number, shares[number], census)
        return Worker(config, sockets, place, log_descriptor)

    try:
        if workers == 1:
            return _run_alone(make_worker(0), announce)
        work = partial(_work, make_worker)
        leave = partial(_close, sockets)
        return Supervisor(workers, work, announce, leave, config.grace).run()
    finally:
        _remove_socket_files(config)


def _share_connections(wanted: int, workers: int) -> list[int]:
    """Return how many connections each worker may have; they add up to *wanted*.

    Unless the limit of descriptors, which is raised first, allows fewer.
    """
    shares = [wanted // workers + (n < wanted % workers) for n in range(workers)]
    fit = raise_descriptor_limit(shares[0])
    if fit < shares[0]:
        shares = [min(fit, share) for share in shares]
        _log.warning(
            "the limit of open files (ulimit -n) allows %d connections, not %d",
            sum(shares),
            wanted,
        )
    return shares


def _run_alone(worker: Worker, announce: Callable[[], None]) -> int:
    def interrupt() -> None:
        if worker.is_draining:
            os._exit(130)
        worker.drain()

    worker.on_signal(signal.SIGTERM, worker.drain)
    worker.on_signal(signal.SIGINT, interrupt)
    worker.run(ready=announce, beat=lambda: None)
    return 0


def _work(
    make_worker: Callable[[int], Worker], number: int, link: socket.socket
) -> None:
    """Be worker *number* under a supervisor at the other end of *link*."""
    link.setblocking(False)
    worker = make_worker(number)

    def beat() -> None:
        # A supervisor that does not read has other worries.
        with contextlib.suppress(OSError):
            link.send(b".")

    worker.on_signal(signal.SIGTERM, worker.drain)
    worker.drain_at_end_of(link)  # nobody would look after us any more

    def ready() -> None:
        # Only a loop that turns hears signals.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    worker.run(ready=ready, beat=beat)


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
        if sys.stdout is None:
            raise ConfigError("cannot write the access log: stdout is closed")
        return sys.stdout.fileno()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o640)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def _close(sockets: list[socket.socket]) -> None:
    """Stop listening, once the workers do too: nobody is to wait in vain."""
    for each in sockets:
        each.close()


def _remove_socket_files(config: Config) -> None:
    for address in config.addresses:
        if isinstance(address, UnixAddress):
            with contextlib.suppress(OSError):
                os.unlink(address.path)
