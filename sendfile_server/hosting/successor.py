"""The same command, started anew as a process that goes on with our sockets.

So another version of the program takes over, and nobody is refused meanwhile. It
says that it serves by one byte; if the end comes instead, it could not.
"""

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from sendfile_server.hosting.activation import (
    FIRST_DESCRIPTOR,
    Listening,
    listen_variables,
)
from sendfile_server.hosting.crew import SIGNALS

_READY = "SENDFILE_SERVER_READY_FD"


@dataclass(frozen=True, slots=True)
class Successor:
    """A process that is to take over."""

    pid: int
    link: int
    """Where it says that it serves: a descriptor to read from."""
    started: float = field(default_factory=time.monotonic)

    def is_serving(self) -> bool:
        """Tell whether it serves, once *link* is readable; and close that."""
        said = os.read(self.link, 1)
        os.close(self.link)
        return said != b""


def start_successor(listening: Listening, variables: Mapping[str, str]) -> Successor:
    """Start the command with which this process was started.

    *variables* are added to its environment. Raises OSError.
    """
    link, theirs = os.pipe()
    # What comes before it is another program is meant for that, and not for us.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            _become(listening, theirs, variables)
    except OSError:
        os.close(link)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(theirs)
    return Successor(pid, link)


def tell_predecessor() -> None:
    """Say that this process serves, once, if it is a successor."""
    link = os.environ.get(_READY, "")
    if link.isdecimal():
        with contextlib.suppress(OSError):  # it may be gone
            os.write(int(link), b".")
    forget_predecessor()


def forget_predecessor() -> None:
    """Have nothing to say to whom this process succeeds, if to anyone."""
    link = os.environ.pop(_READY, "")
    if link.isdecimal():
        with contextlib.suppress(OSError):
            os.close(int(link))


def _become(listening: Listening, link: int, variables: Mapping[str, str]) -> NoReturn:
    try:
        pairs = [(each, sock) for each, socks in listening.items() for sock in socks]
        places = [place for place, _ in pairs]
        descriptors = [*(sock.fileno() for _, sock in pairs), link]
        # Out of the way first, of places that are to be taken.
        above = FIRST_DESCRIPTOR + len(descriptors)
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in descriptors]
        for place, descriptor in enumerate(moved, FIRST_DESCRIPTOR):
            os.dup2(descriptor, place, inheritable=True)
        environment = {
            **os.environ,
            **variables,
            **listen_variables(places),
            _READY: str(above - 1),
        }
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, environment)  # noqa: S606 - our own
    finally:
        os._exit(1)  # the end of the link tells
