"""Whose word is taken for what can't be seen, such as who is behind a proxy."""

from collections.abc import Iterable
from ipaddress import ip_address

from sendfile_server.options import Network


def is_trusted(peer: object, networks: Iterable[Network]) -> bool:
    """Tell whether one of *networks* has *peer*, an address as `socket` says it.

    An IPv4 address that is written as an IPv6 one counts as what it is (RFC 4291
    section 2.5.5.2).
    """
    if not isinstance(peer, tuple):
        return "unix:" in networks
    address = ip_address(peer[0])
    if address.version == 6:
        address = address.ipv4_mapped or address
    return any(address in each for each in networks if not isinstance(each, str))
