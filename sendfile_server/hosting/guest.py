"""A connection, as its worker sees it."""

import socket
from collections.abc import Callable
from typing import Any, Protocol


class Guest(Protocol):
    """Whoever has been accepted, until it says that it is closed."""

    @property
    def deadline(self) -> float:
        """When `expire` is due, by the elapsed seconds of the worker's clock."""

    @property
    def is_idle(self) -> bool:
        """Tell whether closing it now would cut nothing short, as far as is known."""

    def read(self) -> None:
        """Begin, or look whether there is anything to do that was not seen yet."""

    def expire(self) -> None:
        """Act on the deadline, which has passed."""

    def close(self) -> None:
        """End at once, whatever is under way."""


Closed = Callable[[Any], None]
"""Is told of a guest that is no more."""

Reception = Callable[[socket.SocketType, Any, Closed], Guest]
"""Makes a guest of an accepted, non-blocking socket and the address of its peer."""
