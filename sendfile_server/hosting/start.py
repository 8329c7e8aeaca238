"""From a program and its configuration to workers, and to an exit code."""

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from sendfile_server.config import Common
from sendfile_server.errors import ConfigError
from sendfile_server.hosting.activation import take_given
from sendfile_server.hosting.board import Board
from sendfile_server.hosting.census import Census, Place
from sendfile_server.hosting.crew import SIGNALS, Crew
from sendfile_server.hosting.entrances import Entrances
from sendfile_server.hosting.limits import default_workers, raise_descriptor_limit
from sendfile_server.hosting.log_files import LogFile
from sendfile_server.hosting.notices import NoticeHandler, Notices
from sendfile_server.hosting.notify import Notifier
from sendfile_server.hosting.program_log import ProgramLog, open_log
from sendfile_server.hosting.successor import Successor, start_successor
from sendfile_server.hosting.supervisor import Supervisor
from sendfile_server.hosting.worker import Worker
from sendfile_server.options import Access, describe

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hosted:
    """What is to run, by one configuration."""

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
    logs: tuple[LogFile, ...] = ()
    """Opened again at SIGUSR1, in each process, beside the program's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A command, as it is hosted. *Any* is its kind of configuration."""

    name: Callable[[Any], str]
    """By which it tells of itself."""
    read: Callable[[], Any]
    """Returns what it is asked for now. Raises ConfigError."""
    prepare: Callable[[Any, Entrances, ExitStack], Hosted]
    """Opens what all workers share, and has the stack close it. Raises ConfigError."""


def run(program: Program, config: Common) -> int:
    """Run workers until told to stop, and return the exit code.

    Raises ConfigError.
    """
    notifier = Notifier()
    host = _Host(program, notifier)
    try:
        return Supervisor(host.prepare(config), host, notifier).run()
    finally:
        host.end()


class _Generation:
    """All that is there for one configuration, in whatever process."""

    def __init__(self, config: Common, hosted: Hosted, log: ProgramLog) -> None:
        workers = min(config.workers or default_workers(), config.max_connections)
        self._hosted = hosted
        self._log = log
        self._files = [*hosted.logs, *([log.file] if log.file else [])]
        self._shares = _share_connections(config.max_connections, workers, hosted)
        self._census = Census(workers) if workers > 1 else None
        self._board = Board(workers, hosted.columns)
        # Behind those of the workers stands the supervisor's.
        self._notices = Notices(workers + 1)
        self.workers = workers

    @property
    def description(self) -> str:
        """What it serves, and by how many."""
        processes = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{self._hosted.announcement} with {processes}"

    def use_log(self, process: int) -> None:
        """Log in this process, counted like workers, as it is asked for."""
        self._log.use(NoticeHandler(self._notices, process))

    def reopen_logs(self) -> None:
        for each in self._files:
            each.reopen()

    def work(self, number: int, link: socket.socket) -> None:
        """Be worker *number* under a supervisor at the other end of *link*."""
        self.use_log(number)
        link.setblocking(False)
        place = Place(
            number, self._shares[number], self._board, self._notices, self._census
        )
        worker = self._hosted.make_worker(place)
        worker.on_signal(signal.SIGTERM, worker.drain)
        worker.on_signal(signal.SIGUSR1, self.reopen_logs)
        worker.heed(link)

        def beat() -> None:
            # A supervisor that does not read has other worries.
            with contextlib.suppress(OSError):
                os.write(link.fileno(), b".")

        def ready() -> None:
            # Only a loop that turns hears signals.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

        worker.run(ready=ready, beat=beat)


class _Host:
    """What a supervisor asks for, from one configuration to the next."""

    def __init__(self, program: Program, notifier: Notifier) -> None:
        self._program = program
        self._notifier = notifier
        given = take_given()
        self._entrances = self._coming = Entrances(given, Access())
        """Of those who serve, and of those who are to."""
        self._opened = self._coming_opened = ExitStack()
        self._generation: _Generation | None = None
        self._coming_generation: _Generation | None = None

    def prepare(self, config: Common) -> Crew:
        """Open what *config* asks for, or raise ConfigError and leave all as it is."""
        entrances = self._entrances.next(config.socket_access)
        with ExitStack() as undo:
            opened = undo.enter_context(ExitStack())
            undo.callback(entrances.give_up)
            log = open_log(self._program.name(config), config)
            if log.file:
                opened.callback(log.file.close)
            if not self._generation:
                log.use()
            hosted = self._program.prepare(config, entrances, opened)
            for each in entrances.unused:
                _log.warning("nobody listens on %s, which is given", describe(each))
            generation = _Generation(config, hosted, log)
            undo.pop_all()
        self._coming, self._coming_opened = entrances, opened
        self._coming_generation = generation

        def work(number: int, link: socket.socket) -> None:
            # What only another configuration needs does not stay open because of us.
            entrances.close_former()
            if self._coming is not entrances:
                self._coming.close_own()
            for each in {self._opened, self._coming_opened} - {opened}:
                each.close()
            generation.work(number, link)

        def take_over() -> None:
            self._opened.close()
            entrances.take_over()
            former, self._generation = self._generation, generation
            self._entrances, self._opened = entrances, opened
            self._coming_generation = None
            generation.use_log(generation.workers)
            if former:
                _log.info("reloaded: %s", generation.description)
            else:
                _announce(generation.description)

        def give_up() -> None:
            entrances.give_up()
            opened.close()
            self._coming, self._coming_opened = self._entrances, self._opened
            self._coming_generation = None

        grace = float(config.grace)
        return Crew(generation.workers, work, grace, take_over, give_up)

    def reload(self) -> Crew | None:
        """Read the configuration again; None if it can't be used, which is logged."""
        try:
            return self.prepare(self._program.read())
        except (ConfigError, OSError) as error:
            _log.error("the configuration stays as it was: %s", error)
            return None

    def start_successor(self) -> Successor | None:
        """Start the program again; None if that can't be done, which is logged."""
        try:
            return start_successor(self._entrances.passed_on, self._notifier.variables)
        except OSError as error:
            _log.error("cannot start another process: %s", error.strerror)
            return None

    def hand_over(self) -> None:
        """Leave all sockets to the successor."""
        self._entrances.close()
        self._entrances = self._coming = Entrances({}, Access())

    def leave(self) -> None:
        """Stop listening: all workers have been told to stop."""
        self._coming.close()
        self._entrances.close()

    def end(self) -> None:
        """Leave nothing behind."""
        self._coming.remove_files()
        self._entrances.remove_files()

    def reopen_logs(self) -> None:
        """Do what SIGUSR1 asks for, which the workers get too."""
        for each in (self._generation, self._coming_generation):
            if each:
                each.reopen_logs()


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


def _announce(description: str) -> None:
    # Whoever closed it wants to hear nothing, but to be served.
    with contextlib.suppress(OSError):
        if sys.stderr:
            sys.stderr.write(f"{description}. Stop with Ctrl-C.\n")
            sys.stderr.flush()
