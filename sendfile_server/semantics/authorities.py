"""The authority of a target and the value of Host (RFC 3986 section 3.2)."""

import re
from ipaddress import AddressValueError, IPv6Address

_AUTHORITY = re.compile(
    rb"(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"  # reg-name, IPv4address
    rb"|\[v[0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+\]"  # IPvFuture
    rb"|\[(?P<ipv6>[0-9A-Fa-f:.]+)\])"
    rb"(?::[0-9]*)?",
    re.IGNORECASE,
)


def is_authority(value: bytes) -> bool:
    """Tell whether *value* is a host that is not empty, with a port or without.

    Userinfo is an error in HTTP (RFC 9110 section 4.2.4).
    """
    match = _AUTHORITY.fullmatch(value)
    if not match:
        return False
    if match["ipv6"] is None:
        return True
    try:
        IPv6Address(match["ipv6"].decode())
    except AddressValueError:
        return False
    return True
