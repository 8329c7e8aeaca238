"""From listening sockets and what makes workers of them, to an exit code."""

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sendfile_server.config import Common
from sendfile_server.hosting.board import Board
from sendfile_server.hosting.census import Census, Place
from sendfile_server.hosting.limits import default_workers, raise_descriptor_limit
from sendfile_server.hosting.log_files import LogFile
from sendfile_server.hosting.notices import NoticeHandler, Notices
from sendfile_server.hosting.supervisor import SIGNALS, Duties, Supervisor
from sendfile_server.hosting.worker import Worker

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hosted:
    """What is to run."""

    sockets: list[socket.socket]
    """The workers listen on these."""
    make_worker: Callable[[Place], Worker]
    """Called in the process of the worker. Raises OSError."""
    descriptors: int
    """How many a connection takes."""
    spare_descriptors: int = 0
    """How many each process needs beside, to do well."""
    columns: int = 0
    """Of the board that the workers share."""
    announcement: str
    """Said when all workers are ready."""
    logs: tuple[LogFile, ...]
    """Opened again at SIGUSR1, in each process."""


def configure_log(program: str, config: Common) -> tuple[LogFile, ...]:
    """Write what is logged as *program*, and return the files that this goes to.

    Raises ConfigError.
    """
    handler = logging.StreamHandler()
    style = f"{program}[%(process)d]: %(message)s"
    files: tuple[LogFile, ...] = ()
    if config.log is not None:
        files = (LogFile(config.log),)
        handler.setStream(open(files[0].descriptor, "a", closefd=False))  # noqa: SIM115
        style = f"%(asctime)s %(levelname)s {style}"
    handler.setFormatter(logging.Formatter(style))
    logging.basicConfig(handlers=[handler], level=config.log_level.upper())
    # A log that can't be written is nothing that could be logged.
    logging.raiseExceptions = False
    return files


def run(config: Common, hosted: Hosted) -> int:
    """Run workers until told to stop, and return the exit code."""
    workers = min(config.workers or default_workers(), config.max_connections)
    shares = _share_connections(config.max_connections, workers, hosted)
    census = Census(workers) if workers > 1 else None
    board = Board(workers, hosted.columns)
    # Behind those of the workers stands the supervisor's.
    notices = Notices(workers + 1)
    noted = NoticeHandler(notices, workers)
    logging.getLogger().addHandler(noted)
    socket_files = [
        each.getsockname() for each in hosted.sockets if each.family == socket.AF_UNIX
    ]
    announce = partial(_announce, hosted.announcement, workers)

    def reopen_logs() -> None:
        for each in hosted.logs:
            each.reopen()

    def make(number: int) -> Worker:
        logging.getLogger().removeHandler(noted)
        logging.getLogger().addHandler(NoticeHandler(notices, number))
        place = Place(number, shares[number], board, notices, census)
        worker = hosted.make_worker(place)
        worker.on_signal(signal.SIGTERM, worker.drain)
        worker.on_signal(signal.SIGUSR1, reopen_logs)
        return worker

    try:
        if workers == 1:
            return _run_alone(make(0), announce)
        work = partial(_work, make)
        duties = Duties(announce, partial(_close, hosted.sockets), reopen_logs)
        return Supervisor(workers, work, duties, config.grace).run()
    finally:
        for path in socket_files:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _share_connections(wanted: int, workers: int, hosted: Hosted) -> list[int]:
    """Return how many connections each worker may have; they add up to *wanted*.

    Unless the limit of descriptors, which is raised first, allows fewer.
    """
    shares = [wanted // workers + (n < wanted % workers) for n in range(workers)]
    descriptors, spare = hosted.descriptors, hosted.spare_descriptors
    fit = raise_descriptor_limit(shares[0], descriptors, spare)
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

    worker.drain_at_end_of(link)  # nobody would look after us any more

    def ready() -> None:
        # Only a loop that turns hears signals.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    worker.run(ready=ready, beat=beat)


def _announce(announcement: str, workers: int) -> None:
    processes = "1 worker" if workers == 1 else f"{workers} workers"
    sys.stderr.write(f"{announcement} with {processes}. Stop with Ctrl-C.\n")
    sys.stderr.flush()


def _close(sockets: list[socket.socket]) -> None:
    """Stop listening, once the workers do too: nobody is to wait in vain."""
    for each in sockets:
        each.close()
