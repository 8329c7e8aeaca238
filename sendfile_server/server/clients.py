"""Who clients are, as their peers, or the fields that trusted proxies wrote, tell."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import ip_address

from sendfile_server.hosting.trust import is_trusted
from sendfile_server.options import Network
from sendfile_server.semantics.forwarding import (
    find_client,
    split_forwarded,
    split_x_forwarded_for,
)
from sendfile_server.server.log_formats import field

UNIX_PEER = b"unix:"
"""Who comes by a Unix socket."""

FindClients = Callable[[Iterable[bytes], Iterable[bytes]], Iterable[bytes]]
"""Returns addresses of clients, from those of their peers, and tails of their heads."""

_FIELDS = {
    "x-forwarded-for": (field(b"X-Forwarded-For"), split_x_forwarded_for),
    "forwarded": (field(b"Forwarded"), split_forwarded),
}


def client_finder(source: str | None, trusted: Sequence[Network]) -> FindClients:
    """Return what reads *source*, and no other, if a peer in *trusted* wrote it."""
    if source not in _FIELDS:
        return lambda peers, _: peers  # themselves, or whom a PROXY header told of
    pattern, split = _FIELDS[source]

    @lru_cache(maxsize=1024)  # clients repeat themselves
    def find_in(peer: bytes, values: tuple[bytes, ...]) -> bytes:
        address = None if peer == UNIX_PEER else ip_address(peer.decode())
        client = find_client(
            address, split(values), lambda each: is_trusted(each, trusted)
        )
        return str(client).encode() if client else UNIX_PEER

    @lru_cache(maxsize=256)  # and so do their heads
    def find(peer: bytes, tail: bytes) -> bytes:
        values = pattern.findall(tail)
        return find_in(peer, tuple(values)) if values else peer

    return lambda peers, tails: map(find, peers, tails)
