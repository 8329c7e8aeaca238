"""One worker: an event loop with listeners, a sweep of deadlines, and an end."""

import gc
import logging
import signal
import socket
from collections.abc import Callable
from itertools import chain
from typing import Any

import uvloop

from sendfile_server.hosting.census import Place
from sendfile_server.hosting.clock import Clock
from sendfile_server.hosting.guest import Guest, Reception
from sendfile_server.hosting.listener import Listener

_log = logging.getLogger(__name__)

_SWEEP_INTERVAL_S = 1.0
# How often Python looks for cycles in what is new, in what is left of that, and in all
# that there is, while nobody is served: that takes long where much is remembered.
# Serving makes none but of errors, which are found while they are new.
_COLLECTIONS = 700, 10, 1000
# While draining, how often to look whether all has been sent.
_DRAIN_INTERVAL_S = 0.05
# More would take descriptors that guests may need.
_MOST_VISITORS = 16


class Worker:
    """Looks after the guests of its listening sockets until it is told to stop."""

    def __init__(self, place: Place, grace: float, idle_timeout: float) -> None:
        """Prepare, without accepting; guests have *grace* seconds to finish."""
        self.loop = uvloop.new_event_loop()
        self.place = place
        self.clock = Clock(self.loop, idle_timeout)
        self.is_draining = False
        """Whether it has been told to stop."""
        self.on_drain: Callable[[], None] = _nothing
        """Called once, when it has been told to."""
        self.on_sweep: Callable[[], None] = _nothing
        """Called every second, after the deadlines."""
        self.on_end: Callable[[], None] = _nothing
        """Called when the loop has stopped."""
        self._grace = grace
        self._drain_end: float | None = None
        self.accepted = 0
        """How many guests there were so far."""
        self._guests: set[Guest] = set()
        self._listeners: list[Listener] = []
        # These neither count as connections nor stop for as long as the loop turns.
        self._visitors: dict[Guest, None] = {}  # in the order of their coming
        self._side_listeners: list[Listener] = []
        place.note(0)  # and not what a predecessor had

    @property
    def guests(self) -> int:
        """How many guests there are."""
        return len(self._guests)

    def listen(self, sock: socket.socket, receive: Reception) -> None:
        """Have *receive* make guests of who comes by *sock*, once it runs."""

        def take(client: socket.SocketType, address: Any) -> None:  # noqa: ANN401 - as the family's
            guest = receive(client, address, self._closed)
            self._opened(guest)
            # Most often its first bytes are there already; then one that does not
            # stay is never registered with the loop.
            guest.read()

        self._listeners.append(Listener(sock, self.loop, self.place, take))

    def listen_aside(self, sock: socket.socket, receive: Reception) -> None:
        """Have *receive* make visitors of who comes by *sock*, even when draining."""

        def take(client: socket.SocketType, address: Any) -> None:  # noqa: ANN401 - as the family's
            if len(self._visitors) >= _MOST_VISITORS:
                # The first has had the most time to ask, and whoever asks whether
                # this server lives does not wait for it.
                next(iter(self._visitors)).close()
            visitor = receive(client, address, self._left)
            self._visitors[visitor] = None
            visitor.read()

        self._side_listeners.append(Listener(sock, self.loop, self.place, take))

    def run(self, *, ready: Callable[[], None], beat: Callable[[], None]) -> None:
        """Serve until drained.

        *ready* is called once, when connections are accepted; after that *beat*,
        at once and every second for as long as the loop turns.
        """
        for listener in (*self._listeners, *self._side_listeners):
            listener.resume()
        # What was made so far stays for good: no collection need look at it.
        gc.freeze()
        gc.set_threshold(*_COLLECTIONS)
        self.loop.call_soon(ready)
        self.loop.call_soon(self._sweep, beat)
        self.loop.run_forever()
        self.on_end()

    def on_signal(self, number: signal.Signals, handler: Callable[[], None]) -> None:
        """Call *handler* on the loop when signal *number* comes."""
        self.loop.add_signal_handler(number, handler)

    def heed(self, link: socket.socket) -> None:
        """Retire when the peer of *link* sends something; drain when it is gone."""

        def listen() -> None:
            try:
                is_told = link.recv(16) != b""
            except BlockingIOError:
                return
            except OSError:
                is_told = False
            if is_told:
                self.retire()
            else:
                self.loop.remove_reader(link.fileno())
                self.drain()

        self.loop.add_reader(link.fileno(), listen)

    def retire(self) -> None:
        """Accept no more, and end when the last guest has left by itself.

        Nobody is in a hurry: an idle guest stays for as long as it might have
        anyway, so that none is closed on just when it asks for more.
        """
        if not self.is_draining:
            self._stop_accepting()
            for listener in self._side_listeners:
                listener.stop()
            self._side_listeners.clear()
            self._end_when_empty()

    def drain(self) -> None:
        """Accept no more, finish what is under way, and end after the grace."""
        if self._drain_end is None:
            self._drain_end = self.loop.time() + self._grace
            if not self.is_draining:
                self._stop_accepting()
            self._end_when_drained(self._drain_end)

    def _stop_accepting(self) -> None:
        self.is_draining = True
        self.on_drain()
        for listener in self._listeners:
            listener.stop()

    def _end_when_empty(self) -> None:
        if self._guests or self._visitors:
            self.loop.call_later(_DRAIN_INTERVAL_S, self._end_when_empty)
        else:
            self.loop.stop()

    def _end_when_drained(self, end: float) -> None:
        is_over = self.loop.time() >= end
        if not is_over and not all(each.is_idle for each in self._guests):
            self.loop.call_later(_DRAIN_INTERVAL_S, self._end_when_drained, end)
            return
        # Something may have come meanwhile for a guest that seemed idle.
        for guest in list(self._guests):
            if guest.is_idle:
                guest.read()
        idle = [each for each in self._guests if each.is_idle]
        if not is_over and len(idle) < len(self._guests):
            self.loop.call_later(_DRAIN_INTERVAL_S, self._end_when_drained, end)
            return
        for guest in idle:
            guest.close()
        if self._guests:
            count = len(self._guests)
            _log.warning("%d connections cut short at the end of the grace", count)
        self.loop.stop()

    def _sweep(self, beat: Callable[[], None]) -> None:
        self.loop.call_later(_SWEEP_INTERVAL_S, self._sweep, beat)
        beat()
        passed = self.clock.passed
        everyone = chain(self._guests, self._visitors)
        for guest in [each for each in everyone if each.deadline <= passed]:
            try:
                guest.expire()
            except Exception:  # noqa: BLE001
                # The deadlines of all the others come after this one.
                _log.exception("a deadline failed")
                guest.close()
        self._resume_accepting()
        self._resume_visits()
        self.on_sweep()

    def _opened(self, guest: Guest) -> None:
        self.accepted += 1
        self._guests.add(guest)
        self._count()
        if len(self._guests) >= self.place.max_connections:
            for listener in self._listeners:
                listener.pause()

    def _closed(self, guest: Guest) -> None:
        self._guests.discard(guest)
        self._count()
        self._resume_accepting()

    def _left(self, visitor: Guest) -> None:
        self._visitors.pop(visitor, None)
        self._resume_visits()

    def _count(self) -> None:
        if not self.is_draining:  # then the place is a successor's
            self.place.note(len(self._guests))

    def _resume_accepting(self) -> None:
        has_room = len(self._guests) < self.place.max_connections
        if has_room and not self.is_draining:
            for listener in self._listeners:
                listener.resume()

    def _resume_visits(self) -> None:
        for listener in self._side_listeners:
            listener.resume()


def _nothing() -> None:
    pass
