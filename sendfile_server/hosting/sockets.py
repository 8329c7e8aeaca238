"""Listening sockets: made once, by the supervisor, and inherited by all workers.

Without SO_REUSEPORT, so that a stopped or dead worker takes no connection with
it, and so that a second server on the same port fails.
"""

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from sendfile_server.errors import ConfigError
from sendfile_server.options import (
    Access,
    Address,
    TcpAddress,
    UnixAddress,
    describe,
)

_BACKLOG = 4096
# A server has a directory locked for less than a millisecond.
_LOCK_S = 2.0
_LIVE = frozenset((0, errno.EAGAIN))  # the other is a full queue
_ABSENT = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))


Inherited = tuple[tuple[int, int, int], ...]
"""Options of TCP that accepted sockets inherit, so that they cost nothing for each."""


def listen(
    address: Address,
    inherited: Inherited = (),
    access: Access = Access(),  # noqa: B008 - frozen
) -> list[socket.socket]:
    """Return non-blocking listening sockets for *address*.

    A name may stand for several. *access* is to Unix sockets. Raises ConfigError.
    """
    if isinstance(address, UnixAddress):
        return [_listen_unix(address.path, access)]
    return _listen_tcp(address, inherited)


def inherit(listeners: list[socket.socket], inherited: Inherited) -> None:
    """Have connections of *listeners* inherit these options, where they are of TCP."""
    for listener in listeners:
        if listener.family != socket.AF_UNIX:
            for option in inherited:
                listener.setsockopt(*option)


def remove_left(path: str) -> None:
    """Remove the file of a socket that is closed, unless it is another server's now."""
    with _alone_at(path), suppress(ConfigError):
        _remove_stale(path)


def describe_bound(listener: socket.socket) -> str:
    """Return the address of *listener*, as it is written in a configuration."""
    if listener.family == socket.AF_UNIX:
        return describe(UnixAddress(listener.getsockname()))
    return describe(TcpAddress(*listener.getsockname()[:2]))


def url_of(listener: socket.socket, path: str = "/") -> str:
    """Return what to open in a browser to reach *path* by *listener*."""
    if listener.family == socket.AF_UNIX:
        return describe_bound(listener)
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - shown, not bound
        return f"http://localhost:{port}{path} (on every interface)"
    return f"http://{describe_bound(listener)}{path}"


def _listen_tcp(address: TcpAddress, inherited: Inherited) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(
            address.host,
            address.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except (socket.gaierror, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a name"
        raise ConfigError(f"cannot listen on {address.host}: {reason}") from None
    listeners: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, _, _, _, place in dict.fromkeys(found):
            try:
                listeners.append(_open_tcp(family, place, inherited))
            except OSError as error:
                # A name may stand for an IPv6 address that is not to be had here.
                if error.errno not in _ABSENT:
                    raise
                absent = error
        if absent and not listeners:
            raise absent
    except OSError as error:
        for listener in listeners:
            listener.close()
        raise ConfigError(_explain(error, address)) from None
    return listeners


def _open_tcp(
    family: int, place: tuple[object, ...], inherited: Inherited
) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Closed connections of the server before us don't hold the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        inherit([listener], inherited)
        listener.bind(place)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _explain(error: OSError, address: TcpAddress) -> str:
    place = f"{address.host}:{address.port}"
    match error.errno:
        case errno.EADDRINUSE:
            return f"cannot listen on {place}: it is in use"
        case errno.EACCES:
            return f"cannot listen on {place}: the port is privileged"
        case errno.EADDRNOTAVAIL:
            return f"cannot listen on {place}: no such address on this machine"
        case _:
            return f"cannot listen on {place}: {error.strerror}"


def _listen_unix(path: str, access: Access) -> socket.socket:
    with ExitStack() as undo:
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        listener = undo.enter_context(socket.socket(socket.AF_UNIX, kind))
        try:
            with _alone_at(path):
                _remove_stale(path)
                _bind_unix(listener, path, access)
                listener.listen(_BACKLOG)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ConfigError(f"cannot listen on unix:{path}: {reason}") from None
        undo.pop_all()
    return listener


@contextmanager
def _alone_at(path: str) -> Iterator[None]:
    """Let no other server make or remove a socket there meanwhile.

    Until it listens, a new one looks like one that nobody listens on any more. Whoever
    may read the directory may lock it, so nobody is waited for in vain.
    """
    with ExitStack() as stack:
        with suppress(OSError):  # bind(2) tells what is wrong with the directory
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            directory = os.open(os.path.dirname(path) or ".", flags)
            stack.callback(os.close, directory)
            end = time.monotonic() + _LOCK_S
            while not _has_locked(directory) and time.monotonic() < end:
                time.sleep(_LOCK_S / 100)
        yield


def _has_locked(directory: int) -> bool:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _bind_unix(listener: socket.socket, path: str, access: Access) -> None:
    """Bind *listener*, to which nobody can connect before it listens (connect(2)).

    The umask gives the file its mode as it appears. chmod(2) afterwards would leave
    it to others for a moment, and follow a link that somebody put in its place.
    """
    with _umask(access.mode):
        listener.bind(path)
    if access.owner:
        try:
            os.chown(path, *access.owner, follow_symlinks=False)
        except OSError as error:
            os.unlink(path)
            raise OSError(error.errno, f"--socket-owner: {error.strerror}") from None


@contextmanager
def _umask(mode: int | None) -> Iterator[None]:
    """Have what is created meanwhile get *mode*, if one is given.

    The umask is the process's: no other thread may be creating files.
    """
    if mode is None:
        yield
        return
    before = os.umask(0o777 & ~mode)
    try:
        yield
    finally:
        os.umask(before)


def _remove_stale(path: str) -> None:
    """Remove a socket file that nobody listens on any more."""
    with suppress(OSError):  # bind(2) tells what is in the way
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ConfigError(f"cannot listen on unix:{path}: a file is in the way")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            answer = probe.connect_ex(path)
        if answer in _LIVE:
            raise ConfigError(f"cannot listen on unix:{path}: it is in use")
        if answer == errno.ECONNREFUSED:
            os.unlink(path)
