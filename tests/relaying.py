"""A relay of our own as a process, and what is at both ends of it."""

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from running import Server

COMMAND = "from sendfile_server.cli import relay_main; relay_main()"
"""What ``splice-relay`` runs, for an interpreter that has not installed it."""


# Linger for no time: socket(7), SO_LINGER.
_RESET = struct.pack("ii", 1, 0)


class Relay(Protocol):
    """Starts a relay; see `relay`."""

    def __call__(
        self,
        target: str,
        *options: str,
        listen: str = ...,
        prefix: tuple[str, ...] = (),
    ) -> Server: ...


def resolver(folder: Path, code: str) -> tuple[str, ...]:
    """Return the prefix of a Python command in which *code* answers for test names.

    *code* is the body of a function of a *host*, which returns its addresses.
    *folder* gets a file of its own for it.
    """
    names = folder / "resolver"
    names.mkdir()
    body = code.replace("\n", "\n    ")
    (names / "sitecustomize.py").write_text(f"""
import os, socket, time
real = socket.getaddrinfo
def addresses(host):
    {body}
def getaddrinfo(host, *rest, flags=0, **more):
    found = addresses(host) if host.endswith(".test") and not flags else [host]
    return [each for one in found for each in real(one, *rest, flags=flags, **more)]
socket.getaddrinfo = getaddrinfo
""")
    return ("env", f"PYTHONPATH={names}")


Handler = Callable[[socket.socket], None]


class Target(Protocol):
    """Starts a target; see `target`."""

    def __call__(self, handle: Handler, where: str = ...) -> str: ...


def echo(client: socket.socket) -> None:
    """Send back all that comes, and its end."""
    try:
        while data := client.recv(65536):
            client.sendall(data)
    except OSError:
        pass


def connect(server: Server) -> socket.socket:
    """Connect to a relay."""
    return socket.create_connection(("127.0.0.1", server.port), 60)


def connect_unix(address: str) -> socket.socket:
    """Connect to an address as the relay takes it, of a Unix socket."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(address.removeprefix("unix:"))
    return client


def read_all(peer: socket.socket) -> bytes:
    """Return all that comes up to the end."""
    pieces = []
    while piece := peer.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def fate(peer: socket.socket) -> str:
    """Take all that comes, and return how it ended."""
    try:
        while peer.recv(1 << 20):
            pass
    except ConnectionResetError:
        return "reset"
    return "end"


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


def descriptors(server: Server, kind: str = "") -> int:
    """Count the open files of all processes of *server*.

    Of those of one *kind* only, ``socket`` or ``pipe``, if it is given.
    """
    count = 0
    for pid in server.processes():
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                count += str(file.readlink()).startswith(kind)
    return count
