"""One direction by itself: what it holds for a sink that has no room."""

import fcntl
import socket
import struct
import termios

from sendfile_server.relay.flow import WAIT_SINK, Flow, Means, Moved, Shared
from wire import fill

MIB = 1024 * 1024


def waiting_in(sock: socket.socket) -> int:
    """Count the bytes that nobody has taken yet (FIONREAD, unix(7))."""
    number = fcntl.ioctl(sock, termios.FIONREAD, bytes(4))
    count: int = struct.unpack("i", number)[0]
    return count


def test_flows_that_copy_hold_little_where_much_is_held() -> None:
    """However many sinks are stalled, memory for them has a bound; closing frees it."""
    means = Means(None)
    peer, source = socket.socketpair()
    sink, other = socket.socketpair()
    flows = []

    def stall() -> int:
        """Let one more flow take what it would, and return how much that was."""
        fill(peer)
        there = waiting_in(source)
        flows.append(Flow(source, sink, means, Moved(), Shared()))
        assert flows[-1].turn() is WAIT_SINK
        return there - waiting_in(source)

    with peer, source, sink, other:
        for each in (peer, source, sink):
            each.setblocking(False)
        fill(sink)
        first = stall()
        taken = [stall() for _ in range(90 * MIB // first)]
        for flow in flows:
            flow.close()
        assert first > 100_000
        assert taken[-1] <= 16 * 1024
        assert sum(taken) < 66 * MIB
        assert stall() > 100_000
