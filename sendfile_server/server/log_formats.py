"""One line for each exchange, in one of three formats.

Whatever a client sent, it is one line of printable ASCII, and nothing of it can be
taken for what we say.
"""

import json
import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache

from sendfile_server.server.exchanges import Batch

# What would let a client forge a line, or steer a terminal.
_UNSAFE = re.compile(rb'["\\\x00-\x1f\x7f-\xff]')

Format = Callable[[Iterable[bytes], Batch], Iterable[bytes]]
"""Returns the lines of exchanges with clients, with their line ends."""


def field(name: bytes) -> re.Pattern[bytes]:
    """Return what finds the values of a field in a head, or in its tail."""
    return re.compile(rb"\r\n(?i:%b):[ \t]*([^\r\n]*)" % re.escape(name))


_REFERER, _USER_AGENT = field(b"Referer"), field(b"User-Agent")
_HOST, _REQUEST_ID = field(b"Host"), field(b"X-Request-ID")


def format_common(clients: Iterable[bytes], batch: Batch) -> Iterable[bytes]:
    """Return the lines that NCSA's server wrote, and all others do."""
    return map(
        b'%s - - [%s] "%s" %d %d\n'.__mod__,
        zip(
            clients,
            map(_format_time, batch.seconds),
            map(_escape_line, batch.lines),
            batch.statuses,
            batch.sent,
            strict=True,
        ),
    )


def format_combined(clients: Iterable[bytes], batch: Batch) -> Iterable[bytes]:
    """Return the common lines, with the referer and the user agent."""
    what = map(_format_combined, batch.lines, batch.tails, batch.statuses, batch.sent)
    times = map(_format_time, batch.seconds)
    return map(b"%s - - [%s] %s".__mod__, zip(clients, times, what, strict=True))


def format_json(clients: Iterable[bytes], batch: Batch) -> Iterable[bytes]:
    """Return objects with the same names in each line; null is what was not said."""
    line = b'{"time": "%s", "client": "%s", "peer": "%s", "status": %d, "bytes": %d'
    line += b', "duration": %.6f, %s\n'
    return map(
        line.__mod__,
        zip(
            map(_format_utc, batch.seconds),
            clients,
            batch.peers,
            batch.statuses,
            batch.sent,
            batch.took,
            map(_format_head, batch.lines, batch.tails),
            strict=True,
        ),
    )


FORMATS: dict[str, Format] = {
    "combined": format_combined,
    "common": format_common,
    "json": format_json,
}
"""By the name that an operator chooses one by."""


@lru_cache(maxsize=256)  # clients repeat themselves
def _format_combined(line: bytes, tail: bytes, status: int, sent: int) -> bytes:
    return b'"%s" %d %d "%s" "%s"\n' % (
        _escape_line(line),
        status,
        sent,
        _escape(_find(_REFERER, tail)) or b"-",
        _escape(_find(_USER_AGENT, tail)) or b"-",
    )


@lru_cache(maxsize=256)
def _format_head(line: bytes, tail: bytes) -> bytes:
    method, _, rest = line.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    said = {
        "method": method,
        "target": target,
        "version": version,
        "host": _find(_HOST, tail),
        "referer": _find(_REFERER, tail),
        "user_agent": _find(_USER_AGENT, tail),
        "request_id": _find(_REQUEST_ID, tail),
    }
    # What is no UTF-8 is shown as \xNN; whatever is no ASCII, escaped as JSON does.
    known = {
        name: value.decode("utf-8", "backslashreplace") if value else None
        for name, value in said.items()
    }
    return json.dumps(known).removeprefix("{").encode("ascii")


def _find(pattern: re.Pattern[bytes], tail: bytes) -> bytes:
    match = pattern.search(tail)
    return match[1].rstrip(b" \t") if match else b""


def _escape_line(line: bytes) -> bytes:
    return _escape(line) or b"-"


def _escape(text: bytes) -> bytes:
    if not _UNSAFE.search(text):
        return text
    return _UNSAFE.sub(lambda byte: b"\\x%02X" % ord(byte[0]), text)


@lru_cache(maxsize=4)  # lines come by the second
def _format_time(seconds: int) -> bytes:
    t = time.localtime(seconds)
    return time.strftime("%d/%b/%Y:%H:%M:%S %z", t).encode()


@lru_cache(maxsize=4)
def _format_utc(seconds: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)).encode()
