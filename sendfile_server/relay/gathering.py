"""Let much come together where much is coming: fewer turns, and larger ones.

A flow that follows its source closely is woken for little each time, and each time
costs the same. So once it has moved much, the kernel tells only of as much as fills a
pipe (SO_RCVLOWAT, socket(7)), or of the end. Whoever pauses before that would be
waited for in vain: so every few milliseconds it is looked what has come, and a flow
for which little has follows closely again. Two such looks are what a pause may cost,
once for each `SUSTAINED` bytes.
"""

import asyncio
import math
import socket

from sendfile_server.relay.flow import SUSTAINED, Flow
from sendfile_server.transport.room import unread

# What a turn moves.
_MUCH = 2 * 1024 * 1024
_INTERVAL_S = 0.004
# Of whoever sends less in that time, much would not come for long.
_LITTLE = _MUCH // 4


class Gathering:
    """The flows of one worker that gather; used on the loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at them on *loop*."""
        self._loop = loop
        self._is_to_look = False
        # How much had come for each of them when it was looked at.
        self._come: dict[Flow, int] = {}

    def begin(self, flow: Flow) -> None:
        """Let *flow* gather for as long as much comes."""
        self._look_later()
        self._come[flow] = flow.moved
        flow.gathers_from = math.inf
        _tell_of(flow, _MUCH)

    def end(self, flow: Flow) -> None:
        """Forget *flow*, which is being closed."""
        self._come.pop(flow, None)

    def _look(self) -> None:
        self._is_to_look = False
        for flow, before in list(self._come.items()):
            come = flow.moved
            if come < before + _LITTLE:
                come += unread(flow.source)
            if come >= before + _LITTLE:
                self._come[flow] = come
            else:
                del self._come[flow]
                flow.gathers_from = flow.moved + SUSTAINED
                # Whatever is there is told of at once (tcp_set_rcvlowat).
                _tell_of(flow, 1)
        if self._come:
            self._look_later()

    def _look_later(self) -> None:
        if not self._is_to_look:
            self._is_to_look = True
            self._loop.call_later(_INTERVAL_S, self._look)


def _tell_of(flow: Flow, least: int) -> None:
    flow.source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
