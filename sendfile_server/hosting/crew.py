"""Worker processes of one configuration, and how one is started.

Each has a socket to its supervisor. It says something once when it is ready and
then every second. The end of the socket tells a worker that its supervisor is gone,
and anything else that its crew is not needed any more.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

_log = logging.getLogger(__name__)

SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""What the supervisor hears; a worker begins with these blocked."""

# A terminal, or whoever means all, sends these to workers too.
_OF_THE_SUPERVISOR = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)

Work = Callable[[int, socket.socket], None]
"""Runs in a worker process, with its number and its socket to the supervisor."""


@dataclass(frozen=True, eq=False, slots=True)
class Crew:
    """The workers of one configuration."""

    count: int
    work: Work
    grace: float
    """Seconds that a worker has to finish when it is told to stop."""
    take_over: Callable[[], None]
    """Called once, when all of them are ready."""
    give_up: Callable[[], None]
    """Called instead, if they can't be, and another crew goes on."""


@dataclass(eq=False, slots=True)
class WorkerProcess:
    """One process of a crew, as its supervisor knows it."""

    crew: Crew
    number: int
    """Counted from 0; a successor has that of who was silent."""
    pid: int
    link: socket.socket
    started: float = field(default_factory=time.monotonic)
    last_beat: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    has_successor: bool = False
    """It is silent, and is killed when another one of its number is ready."""
    is_killed: bool = False
    """By us, and nothing to be told."""

    def retire(self) -> None:
        """Have it accept nobody, and end when its clients have left."""
        try:
            self.link.send(b".")
        except OSError:  # it has ended, and nobody has noticed yet
            self.kill()

    def kill(self) -> None:
        """End it at once; no more is to be told of it."""
        self.is_killed = True
        os.kill(self.pid, signal.SIGKILL)


def start_worker(crew: Crew, number: int, let_go: Callable[[], None]) -> WorkerProcess:
    """Start worker *number* of *crew*, or raise OSError.

    *let_go* is called in its process, and closes what is the supervisor's.
    """
    ours, theirs = socket.socketpair()
    # A signal that comes before the worker is ready for it waits; the worker
    # unblocks them when it is.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            # Only while nobody else has our end does its end tell that we are gone.
            ours.close()
            _become_worker(crew, number, theirs, let_go)
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    ours.setblocking(False)
    return WorkerProcess(crew, number, pid, ours)


def _become_worker(
    crew: Crew, number: int, link: socket.socket, let_go: Callable[[], None]
) -> NoReturn:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for each in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(each, signal.SIG_DFL)
        for each in _OF_THE_SUPERVISOR:
            signal.signal(each, signal.SIG_IGN)
        let_go()
        crew.work(number, link)
        code = 0
    except OSError as error:
        _log.error("the worker failed: %s", error.strerror or error)
    except BaseException:  # noqa: BLE001
        # Nobody else would tell; and an exception must not leave by the
        # supervisor's stack.
        _log.exception("the worker failed")
    finally:
        # A thread that is stuck in a disk can't be joined.
        os._exit(code)
