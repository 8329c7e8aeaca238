"""Which ways of moving bytes are measured, with pieces and buffers of which sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from socket import socket

from benchmarks.trees import KIB, MIB
from benchmarks.zero_copy import movers
from benchmarks.zero_copy.movers import Moved


@dataclass(frozen=True, slots=True)
class Way:
    """One way to move bytes."""

    title: str
    move: Callable[[int, socket, int], Moved]
    is_relay: bool = False
    """Whether it is from a socket, and not from a file."""

    @property
    def copying(self) -> str:
        """The way that copies, and that it is measured against."""
        return "recv-send" if self.is_relay else "read-send"


WAYS = {
    "read-send": Way("read + send", movers.read_and_send),
    "mmap-send": Way("mmap + send", movers.map_and_send),
    "sendfile": Way("sendfile", movers.sendfile),
    "splice": Way("splice", movers.splice),
    "zerocopy": Way("MSG_ZEROCOPY", movers.send_zerocopy),
    "recv-send": Way("recv + send", movers.receive_and_send, is_relay=True),
    "relay-splice": Way("splice", movers.splice, is_relay=True),
}
"""Every way, by the name that results have for it."""

SIZES = (KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB)
"""Of pieces: what one call moves at most. Splice has a pipe of that size."""

# Buffers are varied for some ways, and with one size.
_BUFFERS = (64 * KIB, MIB)
_BUFFERED = ("read-send", "sendfile", "recv-send", "relay-splice")
_MIDDLE = 64 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way with one size."""

    way: str
    size: int
    buffer: int | None = None
    """SO_SNDBUF and SO_RCVBUF of all sockets; None leaves them to the kernel."""
    is_again: bool = False
    """Whether it is the same as another, which shows the noise."""

    @property
    def name(self) -> str:
        """What results call it."""
        buffer = f", buffers of {format_size(self.buffer)}" if self.buffer else ""
        again = ", once more" if self.is_again else ""
        return f"{self.way} {format_size(self.size)}{buffer}{again}"

    @property
    def file(self) -> str:
        """The file of the tree whose bytes are moved; the smallest pieces take long."""
        return "64m.bin" if self.size < 4 * KIB else "256m.bin"


def format_size(count: int) -> str:
    """Return a size as a reader writes it."""
    return f"{count // MIB} MiB" if count >= MIB else f"{count // KIB} KiB"


NOISE = Case(way="sendfile", size=_MIDDLE, is_again=True)

CASES = {
    case.name: case
    for case in (
        *(Case(way=way, size=size) for way in WAYS for size in SIZES),
        *(
            Case(way=way, size=_MIDDLE, buffer=buffer)
            for way in _BUFFERED
            for buffer in _BUFFERS
        ),
        NOISE,
    )
}
"""Every case, by its name, in the order in which they are shown."""
