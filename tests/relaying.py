"""A relay of our own as a process, and what is at both ends of it."""

import hashlib
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from running import Server, opened, wait_until

MIB = 1024 * 1024

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
    client = socket.socket()
    # With a timeout, Python would ask once more how connecting ended, when a relay
    # that resets whom it refuses may have done so.
    try:
        client.connect(("127.0.0.1", server.port))
    except OSError:
        client.close()
        raise
    client.settimeout(60)
    return client


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


def read_exactly(peer: socket.socket, size: int) -> bytes:
    """Return so many bytes, all of which come before the end."""
    received = bytearray()
    while len(received) < size:
        piece = peer.recv(size - len(received))
        assert piece, "the end came first"
        received += piece
    return bytes(received)


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
    targets = (target for pid in server.processes() for target in opened(pid))
    return sum(target.startswith(kind) for target in targets)


def send_much(sock: socket.socket, size: int, seed: bytes) -> bytes:
    """Send *size* bytes that no shift of themselves equals; return their hash."""
    digest = hashlib.blake2b()
    block = hashlib.shake_128(seed).digest(MIB)
    for number in range(size // MIB):
        piece = number.to_bytes(8, "big") + block[8:]
        digest.update(piece)
        sock.sendall(piece)
    sock.shutdown(socket.SHUT_WR)
    return digest.digest()


def hash_all(sock: socket.socket) -> bytes:
    """Return the hash of all that comes up to the end."""
    digest = hashlib.blake2b()
    buffer = memoryview(bytearray(MIB))
    while count := sock.recv_into(buffer):
        digest.update(buffer[:count])
    return digest.digest()


def exchange(server: Server, handle_results: list[bytes], size: int) -> None:
    """Send *size* bytes both ways at once, and compare what arrived with what left."""
    with connect(server) as client, ThreadPoolExecutor() as threads:
        received = threads.submit(hash_all, client)
        sent = send_much(client, size, b"there")
        back = received.result(120)
    wait_until(lambda: len(handle_results) == 2, "the target's hashes")
    target_sent, target_received = handle_results
    assert sent == target_received
    assert back == target_sent


def both_ways(results: list[bytes], size: int) -> Handler:
    """Make a target that sends *size* bytes while it hashes what comes."""

    def handle(client: socket.socket) -> None:
        with ThreadPoolExecutor() as threads:
            received = threads.submit(hash_all, client)
            sent = send_much(client, size, b"back")
            results.extend((sent, received.result(120)))

    return handle
