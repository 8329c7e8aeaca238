"""The PROXY protocol: the header by which a proxy tells whose connection it passes on.

Both versions, read and written; sans I/O. The sections are those of the specification,
doc/proxy-protocol.txt of HAProxy.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

MAX_SIZE = 4096
"""Bytes of a header, whatever it tells beside the addresses; nginx's bound, too."""

_LINE_START = b"PROXY "
_MAX_LINE = 107  # with its end
_UNKNOWN_LINE = b"PROXY UNKNOWN\r\n"
_PORT = rb"(0|[1-9][0-9]{0,4})"
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: .*)?"
    rb"|TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) %b %b)\r\n" % (_PORT, _PORT),
    re.DOTALL,
)
_KINDS: dict[bytes, type[IPv4Address | IPv6Address]] = {
    b"4": IPv4Address,
    b"6": IPv6Address,
}

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = struct.Struct("!12sBBH")
_VERSION = 2
_LOCAL, _PROXY = 0, 1
_FAMILIES = 4  # none, IPv4, IPv6 and Unix
_PROTOCOLS = 3  # none, stream and datagram
# By family and protocol: bytes of two addresses, with their ports.
_SIZES = {0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_LAYOUTS = {_TCP4: struct.Struct("!4s4sHH"), _TCP6: struct.Struct("!16s16sHH")}

IPAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Route:
    """The two ends of a connection by TCP; their addresses are of one family."""

    source: IPAddress
    destination: IPAddress
    source_port: int
    destination_port: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a stream begins with."""

    size: int
    """Bytes; what is sent through the proxy comes after them."""
    route: Route | None
    """None if there is nothing to tell: the connection's own ends are meant."""


@dataclass(frozen=True, slots=True)
class NoHeader:
    """A stream begins otherwise."""

    reason: str


def parse_header(data: bytes) -> Header | NoHeader | None:
    """Return what a stream begins with, of which *data* came first; None needs more.

    As soon as it is whole or wrong; that is within `MAX_SIZE` bytes.
    """
    if data.startswith(_LINE_START):
        return _parse_line(data)
    if data.startswith(_SIGNATURE):
        return _parse_binary(data)
    if _LINE_START.startswith(data) or _SIGNATURE.startswith(data):
        return None
    return NoHeader("it begins with neither signature")


def format_line(route: Route | None) -> bytes:
    """Return the header of version 1 (section 2.1)."""
    if route is None:
        return _UNKNOWN_LINE
    family = f"TCP{route.source.version}"
    ports = f"{route.source_port} {route.destination_port}"
    line = f"PROXY {family} {route.source} {route.destination} {ports}\r\n"
    return line.encode("ascii")


def format_binary(route: Route | None) -> bytes:
    """Return the header of version 2 (section 2.2)."""
    if route is None:
        # PROXY of no family would say it better, but HAProxy refuses that, and LOCAL
        # must be accepted.
        return _FIXED.pack(_SIGNATURE, _VERSION << 4 | _LOCAL, _UNSPECIFIED, 0)
    kind = _TCP4 if route.source.version == 4 else _TCP6
    layout = _LAYOUTS[kind]
    fixed = _FIXED.pack(_SIGNATURE, _VERSION << 4 | _PROXY, kind, layout.size)
    return fixed + layout.pack(
        route.source.packed,
        route.destination.packed,
        route.source_port,
        route.destination_port,
    )


FORMATS: dict[str, Callable[[Route | None], bytes]] = {
    "v1": format_line,
    "v2": format_binary,
}
"""What writes each version of the header."""


def route_between(peer: object, local: object) -> Route | None:
    """Return the route of a connection, of whose ends `socket` says these addresses.

    None of a Unix socket, which has no route.
    """
    match peer, local:
        case (str(source), int(source_port), *_), (str(host), int(port), *_):
            return Route(ip_address(source), ip_address(host), source_port, port)
        case _:
            return None


def _parse_line(data: bytes) -> Header | NoHeader | None:
    """Parse version 1 (section 2.1)."""
    end = data.find(b"\r\n", 0, _MAX_LINE)
    if end < 0:
        is_too_long = len(data) >= _MAX_LINE
        return NoHeader(f"no end in {_MAX_LINE} bytes") if is_too_long else None
    size = end + 2
    line = _LINE.fullmatch(data, 0, size)
    if not line:
        return NoHeader("a malformed line")
    if not line[1]:
        return Header(size, None)
    kind = _KINDS[line[1]]
    source_port, destination_port = int(line[4]), int(line[5])
    try:
        # An IPv6 address may end in the form of an IPv4 one, against the grammar:
        # so does what inet_ntop(3) writes of one that stands for one.
        source, destination = kind(line[2].decode()), kind(line[3].decode())
    except ValueError:
        return NoHeader("an address that is none of its family")
    if max(source_port, destination_port) > 65535:
        return NoHeader("a port above 65535")
    return Header(size, Route(source, destination, source_port, destination_port))


def _parse_binary(data: bytes) -> Header | NoHeader | None:
    """Parse version 2 (section 2.2)."""
    if len(data) < _FIXED.size:
        return None
    _, version_and_command, kind, length = _FIXED.unpack_from(data)
    version, command = divmod(version_and_command, 16)
    if version != _VERSION or command not in (_LOCAL, _PROXY):
        return NoHeader(f"version {version}, command {command}")
    size = _FIXED.size + length
    if size > MAX_SIZE:
        return NoHeader(f"{size} bytes, which is more than {MAX_SIZE}")
    if command == _LOCAL:
        kind = _UNSPECIFIED  # whatever it says (section 2.2)
    family, protocol = divmod(kind, 16)
    if family >= _FAMILIES or protocol >= _PROTOCOLS:
        return NoHeader(f"family {family}, protocol {protocol}")
    if length < _SIZES.get(kind, 0):
        return NoHeader(f"{length} bytes for the addresses of family {family}")
    if len(data) < size:
        return None
    layout = _LAYOUTS.get(kind)
    if not layout:
        return Header(size, None)
    source, destination, *ports = layout.unpack_from(data, _FIXED.size)
    return Header(size, Route(ip_address(source), ip_address(destination), *ports))
