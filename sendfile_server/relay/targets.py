"""Where to connect: what an address or a name stands for."""

import socket
from dataclasses import dataclass

from sendfile_server.options import Address, UnixAddress


@dataclass(frozen=True, slots=True)
class Place:
    """One place to connect to (connect(2))."""

    family: int
    address: str | tuple[object, ...]


def look_up(target: Address) -> tuple[Place, ...]:
    """Return all places that *target* stands for, the preferred one first.

    May wait for a name server. Raises OSError.
    """
    if isinstance(target, UnixAddress):
        return (Place(socket.AF_UNIX, target.path),)
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(None, "not a name") from None
    return tuple(
        Place(family, address) for family, _, _, _, address in dict.fromkeys(found)
    )


def is_at_hand(target: Address) -> bool:
    """Tell whether *target* is no name, so that looking it up asks nobody."""
    if isinstance(target, UnixAddress):
        return True
    try:
        socket.getaddrinfo(target.host, target.port, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True
