"""Who a client is behind proxies: X-Forwarded-For, and Forwarded (RFC 7239).

Each proxy appends whom it got the request from, so both are read from the right,
where our own proxies wrote; what is left of the first that is not ours, anybody may
have written.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

IPAddress = IPv4Address | IPv6Address

# token and quoted-string of RFC 9110 section 5.6.
_TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_QUOTED = rb"\"(?:[^\"\\]|\\.)*\""
# An element and a parameter of RFC 7239 section 4.
_ELEMENT = re.compile(rb"(?:[^\",]|%b)*" % _QUOTED)
_PARAMETER = re.compile(
    rb"[ \t]*(?:(%b)=(%b|%b))?[ \t]*(;|$)" % (_TOKEN, _TOKEN, _QUOTED)
)
_ESCAPE = re.compile(rb"\\(.)")
# An address with or without a port: RFC 7239 section 6; X-Forwarded-For has no
# grammar, and an IPv6 address in it most often no brackets.
_BRACKETED = re.compile(rb"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")
_WITH_PORT = re.compile(rb"([0-9.]+):[0-9]{1,5}")


def find_client(
    peer: IPAddress | None,
    hops: Iterable[bytes],
    is_trusted: Callable[[IPAddress | None], bool],
) -> IPAddress | None:
    """Return the nearest that is not trusted, from *peer* on to the left of *hops*.

    If all are, the farthest; if a trusted one tells of what is no address, itself.
    None is whoever has no address, such as the peer of a Unix socket.
    """
    client = peer
    for hop in reversed(list(hops)):
        if not is_trusted(client):
            break
        address = parse_node(hop)
        if address is None:
            break
        client = address
    return client


def parse_node(node: bytes) -> IPAddress | None:
    """Return the address of *node*, without its port; None if it has none."""
    match = _BRACKETED.fullmatch(node) or _WITH_PORT.fullmatch(node)
    if b"%" in node:
        return None  # a zone, in which `ipaddress` takes anything
    try:
        address = ip_address((match[1] if match else node).decode("ascii"))
    except ValueError:
        return None
    if address.version == 6:
        return address.ipv4_mapped or address
    return address


def split_x_forwarded_for(values: Sequence[bytes]) -> list[bytes]:
    """Return the nodes of all field lines, as if they were one."""
    return [node.strip(b" \t") for node in b",".join(values).split(b",")]


def split_forwarded(values: Sequence[bytes]) -> list[bytes]:
    """Return whom each element says that it is ``for``.

    It is empty if the element does not say so, or is malformed: no address, at which
    a search for the client ends.
    """
    nodes: list[bytes] = []
    text, position = b",".join(values), 0
    while position <= len(text):
        element = _ELEMENT.match(text, position)
        assert element, "it matches nothing too"
        position = element.end() + 1
        if text[element.end() : position] == b'"':
            # Whoever left a quote open meant to swallow what our proxies wrote.
            return [*nodes, b""]
        if element[0].strip(b" \t"):
            nodes.append(_find_for(element[0]))
    return nodes


def _find_for(element: bytes) -> bytes:
    found, position = [], 0
    while position < len(element):
        parameter = _PARAMETER.match(element, position)
        if not parameter:
            return b""
        name, value, _ = parameter.groups()
        if name and name.lower() == b"for":
            found.append(value)
        position = parameter.end()
    if len(found) != 1:
        return b""
    (node,) = found
    return _ESCAPE.sub(rb"\1", node[1:-1]) if node.startswith(b'"') else node
