"""Keep a number of worker processes running, and end them in order.

Each worker has a socket to here. It says something once when it is ready and
then every second; whoever is silent for too long is replaced. The end of the
socket tells a worker that its supervisor is gone.
"""

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)

_SILENCE_S = 10.0
# A worker that ends sooner than this is not started again at once.
_TOO_SHORT_LIFE_S = 1.0
# What a worker may need beyond its grace, to write its log and leave.
_LEAVE_S = 5.0

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1)
"""What the supervisor hears; a worker begins with these blocked."""

Work = Callable[[int, socket.socket], None]
"""Runs in a worker process, with its number and its socket to the supervisor."""


@dataclass(eq=False, slots=True)
class _Worker:
    number: int
    """Counted from 0; a successor has that of its predecessor."""
    pid: int
    link: socket.socket
    started: float = field(default_factory=time.monotonic)
    last_beat: float = field(default_factory=time.monotonic)
    is_ready: bool = False
    predecessor: "_Worker | None" = None
    """Silent; to be killed when this one is ready."""
    has_successor: bool = False


@dataclass(frozen=True, slots=True)
class Duties:
    """What a supervisor calls besides."""

    announce: Callable[[], None]
    """Once, when all workers are ready."""
    leave: Callable[[], None]
    """Once, when all workers have been told to stop."""
    reopen_logs: Callable[[], None]
    """At SIGUSR1, which the workers get too."""


class Supervisor:
    """Runs *count* processes of *work* until SIGTERM or SIGINT."""

    def __init__(
        self,
        count: int,
        work: Work,
        duties: Duties,
        grace: float,
    ) -> None:
        """Prepare; a worker is given *grace* seconds to finish."""
        self._count = count
        self._work = work
        self._duties = duties
        self._grace = grace
        self._workers: dict[int, _Worker] = {}
        self._missing: list[tuple[float, int]] = []
        """When to start which worker, by monotonic time and number."""
        self._is_announced = False
        self._stop_end: float | None = None
        self._has_failed = False
        self._selector = selectors.DefaultSelector()
        self._signals, self._signal_end = socket.socketpair()

    def run(self) -> int:
        """Return the exit code: 0, 1 if no worker could start, 130 if interrupted."""
        self._catch_signals()
        for number in range(self._count):
            self._start(number)
        while self._workers or self._missing:
            for key, _ in self._selector.select(timeout=0.5):
                if key.fileobj is self._signals:
                    if self._handle_signals():
                        self._tell_all(signal.SIGKILL)
                        return 130
                else:
                    self._hear(key.data)
            self._reap()
            self._look_after()
        return 1 if self._has_failed else 0

    def _catch_signals(self) -> None:
        self._signals.setblocking(False)
        self._signal_end.setblocking(False)
        signal.set_wakeup_fd(self._signal_end.fileno())
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)  # the wake-up tells all
        self._selector.register(self._signals, selectors.EVENT_READ)

    def _handle_signals(self) -> bool:
        """Begin to stop if told to; True if told to leave at once."""
        for number in self._signals.recv(256):
            if number == signal.SIGINT and self._stop_end is not None:
                return True
            if number in (signal.SIGINT, signal.SIGTERM):
                self._stop()
            if number == signal.SIGUSR1:
                self._duties.reopen_logs()
                self._tell_all(signal.SIGUSR1)
        return False

    def _start(self, number: int, predecessor: _Worker | None = None) -> None:
        ours, theirs = socket.socketpair()
        # A signal that comes before the worker is ready for it waits; the worker
        # unblocks them when it is.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid == 0:
            # Only while nobody else has our end does its end tell that we are gone.
            ours.close()
            self._become_worker(number, theirs)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        ours.setblocking(False)
        worker = self._workers[pid] = _Worker(
            number, pid, ours, predecessor=predecessor
        )
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _become_worker(self, number: int, link: socket.socket) -> None:
        """Run in the new process, and never return."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for each in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(each, signal.SIG_DFL)
            # A terminal sends it to all; the supervisor decides.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._selector.close()
            for other in self._workers.values():
                other.link.close()
            self._work(number, link)
            code = 0
        except BaseException:  # noqa: BLE001
            # Nobody else would tell; and an exception must not leave by the
            # supervisor's stack.
            _log.exception("the worker failed")
        finally:
            # A thread that is stuck in a disk can't be joined.
            os._exit(code)

    def _hear(self, worker: _Worker) -> None:
        try:
            said = worker.link.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._selector.unregister(worker.link)
            worker.link.close()
            return
        worker.last_beat = time.monotonic()
        if worker.is_ready:
            return
        worker.is_ready = True
        if worker.predecessor and worker.predecessor.pid in self._workers:
            # It answers nothing, so it can't be asked to drain.
            os.kill(worker.predecessor.pid, signal.SIGKILL)
        ready = sum(each.is_ready for each in self._workers.values())
        is_due = not self._is_announced and self._stop_end is None
        if ready == self._count and is_due:
            self._is_announced = True
            self._duties.announce()

    def _reap(self) -> None:
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                del self._workers[pid]
                self._replace_dead(worker, os.waitstatus_to_exitcode(status))

    def _replace_dead(self, worker: _Worker, code: int) -> None:
        if self._stop_end is not None:
            return
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        # With code 0 it was told to, as by a signal to the whole process group.
        level = logging.ERROR if code else logging.INFO
        _log.log(level, "worker %d ended %s", worker.pid, how)
        if not self._is_announced and not worker.is_ready:
            self._has_failed = True
            self._stop()
        elif not worker.has_successor:
            now = time.monotonic()
            lived = now - worker.started
            delay = _TOO_SHORT_LIFE_S if lived < _TOO_SHORT_LIFE_S else 0.0
            self._missing.append((now + delay, worker.number))

    def _look_after(self) -> None:
        now = time.monotonic()
        if self._stop_end is not None:
            if now > self._stop_end:
                self._tell_all(signal.SIGKILL)
            return
        for due in [due for due in self._missing if due[0] <= now]:
            self._missing.remove(due)
            self._start(due[1])
        for worker in list(self._workers.values()):
            if now - worker.last_beat > _SILENCE_S and not worker.has_successor:
                _log.error(
                    "worker %d has been silent for %d s and is replaced",
                    worker.pid,
                    now - worker.last_beat,
                )
                worker.has_successor = True
                self._start(worker.number, predecessor=worker)

    def _stop(self) -> None:
        if self._stop_end is None:
            self._stop_end = time.monotonic() + self._grace + _LEAVE_S
            self._missing.clear()
            self._tell_all(signal.SIGTERM)
            self._duties.leave()

    def _tell_all(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)
