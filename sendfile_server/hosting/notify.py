"""Tell whoever started us how we are (sd_notify(3), sd_watchdog_enabled(3))."""

import contextlib
import os
import socket
import time

_NOTIFY, _WATCHDOG, _WATCHED = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


class Notifier:
    """Sends to the socket of a service manager, if there is one."""

    def __init__(self) -> None:
        """Take what is meant for this process out of the environment."""
        pid = str(os.getpid())
        is_watched = os.environ.pop(_WATCHED, pid) == pid
        self.variables = {
            name: os.environ.pop(name)
            for name in (_NOTIFY, _WATCHDOG)
            if name in os.environ
        }
        """What a successor needs to do the same."""
        path = self.variables.get(_NOTIFY, "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        interval = self.variables.get(_WATCHDOG, "")
        # Half of it, as is asked for.
        is_watched = is_watched and interval.isdecimal()
        self._interval_s = int(interval) / 2e6 if is_watched else None
        self._last_sign = 0.0

    def tell(self, *assignments: str) -> None:
        """Send *assignments*; if that can't be, nobody is worse off."""
        if not self._address:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            # A manager that hears nobody must not hold us up.
            sock.setblocking(False)
            sock.sendto("\n".join(assignments).encode(), self._address)

    def tell_reloading(self) -> None:
        """Say that the configuration is being read again."""
        microseconds = time.monotonic_ns() // 1000
        self.tell("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def give_sign(self) -> None:
        """Be alive, as often as was asked for; to be called more often."""
        now = time.monotonic()
        if self._interval_s is not None and now - self._last_sign >= self._interval_s:
            self._last_sign = now
            self.tell("WATCHDOG=1")
