"""Sockets that whoever started us listens on already (sd_listen_fds(3))."""

import os
import socket
from collections.abc import Sequence
from urllib.parse import quote, unquote

from sendfile_server.errors import ConfigError
from sendfile_server.options import Entrance, GivenSocket, describe, parse_entrance

Place = tuple[Entrance, int]
"""An entrance, and how often it is asked for besides: port 0 may be several times."""

Listening = dict[Place, list[socket.socket]]
"""The non-blocking sockets of each place."""

FIRST_DESCRIPTOR = 3
"""That of the first socket; the others follow."""

_PID, _COUNT, _NAMES = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"
_NO_NAME = "unknown"
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


def take_given() -> Listening:
    """Take over the sockets that are meant for this process, once.

    Raises ConfigError.
    """
    # Not for those whom we start.
    pid, count, names = (os.environ.pop(each, "") for each in (_PID, _COUNT, _NAMES))
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    named = names.split(":") if names else []
    given: Listening = {}
    for place in range(int(count)):
        name = named[place] if place < len(named) else _NO_NAME
        sock = _take(FIRST_DESCRIPTOR + place, name)
        given.setdefault(_place_of(name), []).append(sock)
    return given


def listen_variables(places: Sequence[Place]) -> dict[str, str]:
    """Return what tells this process, after execve(2), of a socket of each."""
    return {
        _PID: str(os.getpid()),
        _COUNT: str(len(places)),
        _NAMES: ":".join(map(_name_of, places)),
    }


def _name_of(place: Place) -> str:
    # Names have no colon, and those that systemd gives no escapes like these.
    entrance, count = place
    if isinstance(entrance, GivenSocket):
        return entrance.name
    return f"{quote(describe(entrance), safe='/')}#{count}"


def _place_of(name: str) -> Place:
    entrance, _, count = name.rpartition("#")
    try:
        return parse_entrance(unquote(entrance)), int(count)
    except ValueError:
        return GivenSocket(name), 0


def _take(descriptor: int, name: str) -> socket.socket:
    where = f"fd:{name}"
    try:
        sock = socket.socket(fileno=descriptor)
        is_listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigError(f"cannot listen on {where}: {error.strerror}") from None
    if not is_listening or sock.type != socket.SOCK_STREAM:
        raise ConfigError(f"cannot listen on {where}: it is no listening stream socket")
    if sock.family not in _FAMILIES:
        raise ConfigError(f"cannot listen on {where}: it is neither of TCP nor Unix")
    sock.set_inheritable(False)
    sock.setblocking(False)
    return sock
