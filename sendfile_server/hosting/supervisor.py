"""Keep a crew of workers running, replace it by another, and end in order.

A worker that has ended, or is silent for too long, is replaced.

A new configuration has a crew of its own. Once all of that are ready, the former
one is retired: it accepts nobody, and ends when its clients have left. If they can't
be, nothing has changed. A new version of the program is another process, which goes
on with our sockets.
"""

import logging
import os
import selectors
import signal
import socket
import time
from typing import Protocol

from sendfile_server.hosting.crew import SIGNALS, Crew, WorkerProcess, start_worker
from sendfile_server.hosting.notify import Notifier
from sendfile_server.hosting.successor import (
    Successor,
    forget_predecessor,
    tell_predecessor,
)

_log = logging.getLogger(__name__)

_SILENCE_S = 10.0
# A worker that ends sooner than this is not started again at once.
_TOO_SHORT_LIFE_S = 1.0
# What a worker may need beyond its grace, to write its log and leave.
_LEAVE_S = 5.0
_SUCCESSION_S = 60.0
# Later than this, a turn tells of nobody's silence but our own.
_LATE_S = 2.0


class Host(Protocol):
    """What a supervisor asks for."""

    def reload(self) -> Crew | None:
        """Read the configuration again; None if it can't be used, which is logged."""

    def start_successor(self) -> Successor | None:
        """Start the program again; None if that can't be done, which is logged."""

    def hand_over(self) -> None:
        """Leave all sockets to the successor."""

    def leave(self) -> None:
        """Stop listening: all workers have been told to stop."""

    def reopen_logs(self) -> None:
        """Do what SIGUSR1 asks for, which the workers get too."""


class Supervisor:
    """Runs one crew after the other until SIGTERM or SIGINT."""

    def __init__(self, crew: Crew, host: Host, notifier: Notifier) -> None:
        """Prepare to begin with *crew*."""
        self._coming: Crew | None = crew
        """Whose workers are not all ready yet."""
        self._serving: Crew | None = None
        self._host = host
        self._notifier = notifier
        self._workers: dict[int, WorkerProcess] = {}
        self._missing: list[tuple[float, Crew, int]] = []
        """When to start which worker, by monotonic time, crew and number."""
        self._is_reload_due = False
        self._successor: Successor | None = None
        """Started, and not serving yet."""
        self._has_handed_over = False
        self._heir: int | None = None
        """The process that has taken over, until it is reaped."""
        self._grace = crew.grace
        self._stop_end: float | None = None
        self._has_failed = False
        self._had_terminal = _has_terminal()
        self._last_turn = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._signals, self._signal_end = socket.socketpair()

    def run(self) -> int:
        """Return the exit code: 0, 1 if no worker could start, 130 if interrupted."""
        self._catch_signals()
        if self._coming:
            self._begin(self._coming)
        while self._workers or self._missing:
            for key, _ in self._selector.select(timeout=0.5):
                if key.fileobj is self._signals:
                    if self._handle_signals():
                        self._tell_all(signal.SIGKILL)
                        return 130
                else:
                    key.data()
            self._reap()
            self._look_after()
            self._notifier.give_sign()
        return 1 if self._has_failed else 0

    def _catch_signals(self) -> None:
        self._signals.setblocking(False)
        self._signal_end.setblocking(False)
        signal.set_wakeup_fd(self._signal_end.fileno())
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)  # the wake-up tells all
        self._selector.register(self._signals, selectors.EVENT_READ)

    def _handle_signals(self) -> bool:
        """Do what was asked for; True if told to leave at once."""
        for number in self._signals.recv(256):
            match number:
                case signal.SIGINT if self._stop_end is not None:
                    return True
                case signal.SIGINT | signal.SIGTERM:
                    self._stop()
                case signal.SIGHUP if self._had_terminal and not _has_terminal():
                    self._stop()  # nobody is there any more who could
                case signal.SIGHUP:
                    self._reload()
                case signal.SIGUSR1:
                    self._host.reopen_logs()
                    self._tell_all(signal.SIGUSR1)
                case signal.SIGUSR2:
                    self._upgrade()
                case _:
                    pass  # of a child: each turn reaps
        return False

    # One crew after the other.

    def _reload(self) -> None:
        if self._stop_end is not None or self._has_handed_over:
            return
        if self._coming or self._successor:
            self._is_reload_due = True
            return
        self._notifier.tell_reloading()
        self._coming = self._host.reload()
        if self._coming:
            self._begin(self._coming)
        else:
            self._notifier.tell("READY=1")

    def _begin(self, crew: Crew) -> None:
        self._grace = crew.grace
        for number in range(crew.count):
            if crew is self._coming:
                self._start(crew, number)

    def _take_over(self, crew: Crew) -> None:
        former, self._serving, self._coming = self._serving, crew, None
        crew.take_over()
        if former:
            self._retire(former)
        self._notifier.tell("READY=1")
        tell_predecessor()
        self._reload_if_due()

    def _give_up(self, crew: Crew) -> None:
        self._coming = None
        self._forget_missing(crew)
        for worker in self._members(crew):
            # Who is ready may have clients already.
            if worker.is_ready:
                worker.retire()
            else:
                worker.kill()
        if self._serving is None:
            self._has_failed = True
            self._stop()
            return
        _log.error("its workers can't start: the configuration stays as it was")
        self._grace = self._serving.grace
        crew.give_up()
        self._notifier.tell("READY=1")
        self._reload_if_due()

    def _reload_if_due(self) -> None:
        if self._is_reload_due:
            self._is_reload_due = False
            self._reload()

    def _retire(self, crew: Crew) -> None:
        self._forget_missing(crew)
        for worker in self._members(crew):
            worker.retire()

    def _forget_missing(self, crew: Crew) -> None:
        self._missing = [each for each in self._missing if each[1] is not crew]

    def _members(self, crew: Crew) -> list[WorkerProcess]:
        return [each for each in self._workers.values() if each.crew is crew]

    # Another process in our place.

    def _upgrade(self) -> None:
        if self._stop_end is not None or self._has_handed_over:
            return
        if self._coming or self._successor:
            _log.error("cannot upgrade before all workers are ready")
            return
        if os.getpid() == 1:
            _log.error("cannot upgrade: with the first process a container ends")
            return
        successor = self._successor = self._host.start_successor()
        if successor:
            _log.info("process %d is to take over", successor.pid)
            self._selector.register(
                successor.link, selectors.EVENT_READ, self._hear_successor
            )

    def _hear_successor(self) -> None:
        successor, self._successor = self._successor, None
        assert successor
        self._selector.unregister(successor.link)
        if successor.is_serving():
            self._hand_over(successor.pid)
            return
        os.kill(successor.pid, signal.SIGKILL)
        os.waitpid(successor.pid, 0)
        if self._stop_end is None:
            _log.error("process %d could not take over", successor.pid)
            self._reload_if_due()

    def _hand_over(self, pid: int) -> None:
        self._has_handed_over = True
        self._heir = pid
        # Of its own signs it has given one already, when nobody believed it.
        self._notifier.tell(f"MAINPID={pid}", "WATCHDOG=1")
        if self._is_reload_due:
            os.kill(pid, signal.SIGHUP)
        self._host.hand_over()
        if self._serving:
            self._retire(self._serving)
        self._serving = None
        _log.info("process %d has taken over", pid)

    # Workers.

    def _start(self, crew: Crew, number: int) -> None:
        if self._fork(crew, number) is None:
            self._lack(crew, number, _TOO_SHORT_LIFE_S)

    def _fork(self, crew: Crew, number: int) -> WorkerProcess | None:
        """Start a worker; None if that can't be done, which is logged."""
        try:
            worker = start_worker(crew, number, self._let_go)
        except OSError as error:
            _log.error("cannot start a worker: %s", error.strerror)
            return None
        self._workers[worker.pid] = worker
        self._selector.register(
            worker.link, selectors.EVENT_READ, lambda: self._hear(worker)
        )
        return worker

    def _let_go(self) -> None:
        """Close what is only ours, in a worker."""
        self._selector.close()
        self._signals.close()
        self._signal_end.close()
        forget_predecessor()
        if self._successor:
            os.close(self._successor.link)
        for worker in self._workers.values():
            worker.link.close()

    def _hear(self, worker: WorkerProcess) -> None:
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
        crew = worker.crew
        worker.has_successor = False
        for each in self._members(crew):
            if each.number == worker.number and each is not worker:
                # They answer nothing, so they can't be asked to drain.
                each.kill()
        ready = sum(each.is_ready for each in self._members(crew))
        if crew is self._coming and ready == crew.count and self._stop_end is None:
            self._take_over(crew)

    def _reap(self) -> None:
        if self._heir and os.waitpid(self._heir, os.WNOHANG)[0]:
            self._heir = None
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                del self._workers[pid]
                self._replace_dead(worker, os.waitstatus_to_exitcode(status))

    def _replace_dead(self, worker: WorkerProcess, code: int) -> None:
        if self._stop_end is not None or worker.is_killed:
            return
        is_needed = self._is_needed(worker.crew)
        if code or is_needed:
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            # With code 0 it was told to, as by a signal to the whole process group.
            level = logging.ERROR if code else logging.INFO
            _log.log(level, "worker %d ended %s", worker.pid, how)
        if is_needed and not worker.has_successor:
            lived = time.monotonic() - worker.started
            delay = _TOO_SHORT_LIFE_S if lived < _TOO_SHORT_LIFE_S else 0.0
            self._lack(worker.crew, worker.number, delay, was_ready=worker.is_ready)

    def _lack(
        self, crew: Crew, number: int, delay: float, *, was_ready: bool = False
    ) -> None:
        """Start a worker later; a crew of which one was never ready is given up."""
        if crew is self._coming and not was_ready:
            self._give_up(crew)
        else:
            self._missing.append((time.monotonic() + delay, crew, number))

    def _look_after(self) -> None:
        now = time.monotonic()
        if now - self._last_turn > _LATE_S:
            # All of us may have been stopped meanwhile.
            for worker in self._workers.values():
                worker.last_beat = now
        self._last_turn = now
        if self._stop_end is not None:
            if now > self._stop_end:
                self._tell_all(signal.SIGKILL)
            return
        if self._successor and now - self._successor.started > _SUCCESSION_S:
            os.kill(self._successor.pid, signal.SIGKILL)
        for due in [due for due in self._missing if due[0] <= now]:
            self._missing.remove(due)
            self._start(due[1], due[2])
        for worker in list(self._workers.values()):
            if now - worker.last_beat > _SILENCE_S and not worker.has_successor:
                self._replace_silent(worker, now - worker.last_beat)

    def _replace_silent(self, worker: WorkerProcess, seconds: float) -> None:
        _log.error("worker %d has been silent for %d s", worker.pid, seconds)
        if worker.crew is self._coming and self._serving:
            self._give_up(worker.crew)
        elif not self._is_needed(worker.crew):
            worker.kill()
        elif worker.is_ready and self._fork(worker.crew, worker.number):
            worker.has_successor = True
        else:
            worker.last_beat = time.monotonic()  # and then try again
            if worker.crew is self._serving and not worker.is_ready:
                # Another one is started when this has ended: if it can't even end,
                # as in a disk that hangs, more of them would not help.
                os.kill(worker.pid, signal.SIGKILL)

    def _is_needed(self, crew: Crew) -> bool:
        return crew in (self._serving, self._coming)

    def _stop(self) -> None:
        if self._stop_end is not None:
            return
        self._stop_end = time.monotonic() + self._grace + _LEAVE_S
        self._missing.clear()
        self._tell_all(signal.SIGTERM)
        if not self._has_handed_over:
            self._notifier.tell("STOPPING=1")
            self._host.leave()
        if self._successor:
            os.kill(self._successor.pid, signal.SIGTERM)

    def _tell_all(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)


def _has_terminal() -> bool:
    return os.isatty(2)
