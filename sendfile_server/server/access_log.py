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


Record = tuple[bytes, int, bytes, int, int]
"""What is told of one response; not named, which would take as long as half a line.

The client's address; when the response ended, in seconds since the epoch; the
request's head, or as much of it as came; the status; and how many bytes of the body
were given to the kernel.
"""


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
        self._tell_dropped()
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
        else:
            self._tell_dropped()

    def _tell_dropped(self) -> None:
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
    peer, seconds, head, status, sent = record
    what = _format_exchange(head, status, sent)
    return b"%s - - [%s] %s" % (peer, _format_time(seconds), what)


@lru_cache(maxsize=256)  # clients repeat themselves
def _format_exchange(head: bytes, status: int, sent: int) -> bytes:
    line_end = head.find(b"\r\n")
    request_line = head if line_end < 0 else head[:line_end]
    return b'"%s" %d %d "%s" "%s"\n' % (
        _escape(request_line) or b"-",
        status,
        sent,
        _find(_REFERER, head),
        _find(_USER_AGENT, head),
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
