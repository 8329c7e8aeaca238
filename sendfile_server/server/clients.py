"""Who a client is, as its peer, or the fields that trusted proxies wrote, tell."""

from collections.abc import Callable, Sequence
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

FindClient = Callable[[bytes, bytes], bytes]
"""Returns the address of a client, from that of its peer and the request's head."""

_FIELDS = {
    "x-forwarded-for": (field(b"X-Forwarded-For"), split_x_forwarded_for),
    "forwarded": (field(b"Forwarded"), split_forwarded),
}


def client_finder(source: str | None, trusted: Sequence[Network]) -> FindClient:
    """Return what reads *source*, and no other, if a peer in *trusted* wrote it."""
    if source not in _FIELDS:
        return lambda peer, _: peer  # itself, or whom a PROXY header told of
    pattern, split = _FIELDS[source]

    @lru_cache(maxsize=1024)  # clients repeat themselves
    def find_in(peer: bytes, values: tuple[bytes, ...]) -> bytes:
        address = None if peer == UNIX_PEER else ip_address(peer.decode())
        client = find_client(
            address, split(values), lambda each: is_trusted(each, trusted)
        )
        return str(client).encode() if client else UNIX_PEER

    @lru_cache(maxsize=256)  # and so do their heads
    def find(peer: bytes, head: bytes) -> bytes:
        values = pattern.findall(head)
        return find_in(peer, tuple(values)) if values else peer

    return find
