"""Peers that wait: what it costs, what is held for them, and whose end they hear."""

import select
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import pytest

from relaying import Relay, connect, descriptors, read_all, reset
from running import Server, cpu_ticks, pass_time, wait_until
from sendfile_server.transport.room import unacknowledged
from wire import fill

OTHER = {"client": "target", "target": "client"}
# What has happened, in its order. To fill is to send until nothing takes any more;
# to clear is to take until the relay's kernel has all that the other end has sent.
STATES: dict[str, tuple[tuple[str, str], ...]] = {
    "silent": (),
    "client ended": (("client", "end"),),
    "target ended": (("target", "end"),),
    "to target full": (("client", "fill"),),
    "to client full": (("target", "fill"),),
    "both full": (("client", "fill"), ("target", "fill")),
    "to target full, then the end": (("client", "fill"), ("client", "end")),
    "to client full, then the end": (("target", "fill"), ("target", "end")),
    "client ended, to client full": (("client", "end"), ("target", "fill")),
    "target ended, to target full": (("target", "end"), ("client", "fill")),
    "client ended, then target, unread": (
        *(("client", "end"), ("target", "fill"), ("target", "end")),
        ("client", "clear"),
    ),
    "target ended, then client, unread": (
        *(("target", "end"), ("client", "fill"), ("client", "end")),
        ("target", "clear"),
    ),
}


@dataclass
class Line:
    """The ends of one connection through a relay, and what is on its way to each."""

    client: socket.socket
    target: socket.socket
    coming: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OTHER, 0))

    def end(self, name: str) -> socket.socket:
        """Return the end of that *name*."""
        return self.client if name == "client" else self.target

    def bring_to(self, state: str) -> None:
        """Let happen what there is to it."""
        for name, what in STATES[state]:
            if what == "end":
                self.end(name).shutdown(socket.SHUT_WR)
            elif what == "fill":
                self.coming[OTHER[name]] += fill_all(self.end(name))
            else:
                while unacknowledged(self.end(OTHER[name])):
                    self.coming[name] -= len(self.end(name).recv(65536))


Lines = tuple[Server, dict[str, Line]]


@pytest.fixture
def waiting(relay: Relay) -> Iterator[Lines]:
    """Bring a connection to each state, all of them through one relay."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = relay(f"127.0.0.1:{listener.getsockname()[1]}", "--workers", "1")
        lines = {}
        for state in STATES:
            client = stack.enter_context(connect(server))
            target = stack.enter_context(listener.accept()[0])
            target.settimeout(60)
            lines[state] = Line(client, target)
        with ThreadPoolExecutor(len(lines)) as threads:
            list(threads.map(Line.bring_to, lines.values(), lines))
        pass_time(0.3)
        yield server, lines


def fill_all(sock: socket.socket) -> int:
    """Send until all the way to the other end nothing more is taken."""
    sock.setblocking(False)
    sent = [fill(sock)]

    def is_full() -> bool:
        pass_time(0.1)
        sent.append(fill(sock))
        return not sent[-1]

    wait_until(is_full, "everything to be full")
    sock.settimeout(60)
    return sum(sent)


def hears_reset(sock: socket.socket) -> bool:
    """Tell whether a reset comes, though nothing is read (poll(2), POLLERR)."""
    poll = select.poll()
    poll.register(sock, 0)
    return any(events & select.POLLERR for _, events in poll.poll(3_000))


@pytest.mark.alone
def test_waiting_takes_no_time(waiting: Lines) -> None:
    """Whatever is waited for, nothing wakes the relay meanwhile."""
    server, _ = waiting
    before = cpu_ticks(server)
    pass_time(1)
    assert cpu_ticks(server) - before <= 2


@pytest.mark.parametrize("name", OTHER)
def test_reset_is_passed_on_though_nothing_moves(waiting: Lines, name: str) -> None:
    """From either side to the other, whatever both wait for."""
    server, lines = waiting
    # Where both directions of one side have ended, TCP knows of no reset any more.
    lines = {state: line for state, line in lines.items() if "unread" not in state}
    most = descriptors(server) - 2 * len(lines)
    for line in lines.values():
        reset(line.end(name))
    others = {state: line.end(OTHER[name]) for state, line in lines.items()}
    assert [state for state, each in others.items() if not hears_reset(each)] == []
    wait_until(lambda: descriptors(server) <= most, "all to be closed")


def test_waiting_loses_nothing(waiting: Lines) -> None:
    """What was sent arrives when it is taken at last, and after it comes the end."""
    _, lines = waiting
    pass_time(1.2)  # in which a reset would be found
    for line in lines.values():
        for name in OTHER:
            with suppress(OSError):  # all has been said, both ways
                line.end(name).shutdown(socket.SHUT_WR)
    received = {
        state: {name: len(read_all(line.end(name))) for name in OTHER}
        for state, line in lines.items()
    }
    assert received == {state: line.coming for state, line in lines.items()}
