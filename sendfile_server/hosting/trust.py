"""Whose word is taken for what can't be seen, such as who is behind a proxy."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from sendfile_server.options import Network


def is_trusted(
    peer: IPv4Address | IPv6Address | None, networks: Iterable[Network]
) -> bool:
    """Tell whether one of *networks* has *peer*; None came by a Unix socket.

    An IPv4 address that is written as an IPv6 one counts as what it is (RFC 4291
    section 2.5.5.2).
    """
    if peer is None:
        return "unix:" in networks
    if peer.version == 6:
        peer = peer.ipv4_mapped or peer
    return any(peer in each for each in networks if not isinstance(each, str))


def address_of(peer: object) -> IPv4Address | IPv6Address | None:
    """Return the address of *peer*, of whom `socket` says it; None of a Unix socket."""
    return ip_address(peer[0]) if isinstance(peer, tuple) else None
