"""One line per response in the combined log format, written by a thread.

The loop appends a record and goes on. Lines are made a few at a time, and a
thread writes them, so that a stuck pipe or a slow disk never stops serving;
what does not fit meanwhile is dropped, and counted.
"""

import asyncio
import logging
import os
import queue
import re
import threading
import time
from functools import lru_cache
from typing import NamedTuple

_log = logging.getLogger(__name__)

# Formatting so many takes the loop under half a millisecond.
_SLICE = 256
# Batches that may wait for the disk: some ten thousand lines.
_MAX_WAITING = 64
_FLUSH_INTERVAL_S = 0.25

_REFERER = re.compile(rb"\r\n(?i:referer):[ \t]*([^\r\n]*)")
_USER_AGENT = re.compile(rb"\r\n(?i:user-agent):[ \t]*([^\r\n]*)")
# What would let a client forge a line, or steer a terminal.
_UNSAFE = re.compile(rb'["\\\x00-\x1f\x7f-\xff]')


class Record(NamedTuple):
    """What is told of one response."""

    peer: bytes
    """The client's address."""
    seconds: int
    """When the response ended, since the epoch."""
    head: bytes
    """The request's head, or as much of it as came."""
    status: int
    sent: int
    """Bytes of the body that were given to the kernel."""


class AccessLog:
    """A log file or stream that never makes the loop wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
        """Write to *descriptor*, which must append whole batches at its end."""
        self._loop = loop
        self._descriptor = descriptor
        self._records: list[Record] = []
        self._waiting: queue.Queue[bytes | None] = queue.Queue(_MAX_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(
            target=self._write_all, name="access-log", daemon=True
        )
        self._thread.start()
        self._flush_later()

    def append(self, record: Record) -> None:
        """Note one response."""
        self._records.append(record)
        if len(self._records) >= _SLICE:
            self._flush()

    def close(self, timeout: float) -> None:
        """Write what is noted, for at most *timeout* seconds."""
        self._flush()
        try:
            self._waiting.put(None, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _flush_later(self) -> None:
        self._flush()
        self._loop.call_later(_FLUSH_INTERVAL_S, self._flush_later)

    def _flush(self) -> None:
        records, self._records = self._records, []
        if not records:
            return
        try:
            self._waiting.put_nowait(b"".join(map(format_combined, records)))
        except queue.Full:
            self._dropped += len(records)
            return
        if self._dropped:
            _log.warning("%d access log lines were dropped", self._dropped)
            self._dropped = 0

    def _write_all(self) -> None:
        while (batch := self._waiting.get()) is not None:
            try:
                while batch:
                    batch = batch[os.write(self._descriptor, batch) :]
            except OSError as error:
                _log.error("cannot write the access log: %s", error.strerror)


def format_combined(record: Record) -> bytes:
    """Return the line of *record*, with its line end."""
    line_end = record.head.find(b"\r\n")
    request_line = record.head if line_end < 0 else record.head[:line_end]
    return b'%s - - [%s] "%s" %d %d "%s" "%s"\n' % (
        record.peer,
        _format_time(record.seconds),
        _escape(request_line) or b"-",
        record.status,
        record.sent,
        _find(_REFERER, record.head),
        _find(_USER_AGENT, record.head),
    )


def _find(field: re.Pattern[bytes], head: bytes) -> bytes:
    match = field.search(head)
    return (match and _escape(match[1].rstrip(b" \t"))) or b"-"


def _escape(text: bytes) -> bytes:
    if not _UNSAFE.search(text):
        return text
    return _UNSAFE.sub(lambda byte: b"\\x%02X" % ord(byte[0]), text)


@lru_cache(maxsize=4)  # lines come by the second
def _format_time(seconds: int) -> bytes:
    t = time.localtime(seconds)
    return time.strftime("%d/%b/%Y:%H:%M:%S %z", t).encode()
