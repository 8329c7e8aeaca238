"""One line for each exchange, in one of three formats.

Whatever a client sent, it is one line of printable ASCII, and nothing of it can be
taken for what we say.
"""

import json
import re
import time
from collections.abc import Callable
from functools import lru_cache

from sendfile_server.server.exchanges import Exchange

# What would let a client forge a line, or steer a terminal.
_UNSAFE = re.compile(rb'["\\\x00-\x1f\x7f-\xff]')

Format = Callable[[bytes, Exchange], bytes]
"""Returns the line of an exchange with a client, with its line end."""


def field(name: bytes) -> re.Pattern[bytes]:
    """Return what finds the values of a field in a head."""
    return re.compile(rb"\r\n(?i:%b):[ \t]*([^\r\n]*)" % re.escape(name))


_REFERER, _USER_AGENT = field(b"Referer"), field(b"User-Agent")
_HOST, _REQUEST_ID = field(b"Host"), field(b"X-Request-ID")


def format_common(client: bytes, exchange: Exchange) -> bytes:
    """Return the line that NCSA's server wrote, and all others do."""
    _, seconds, _, head, status, sent = exchange
    request_line = _escape(_request_line(head)) or b"-"
    line = b'%s - - [%s] "%s" %d %d\n'
    return line % (client, _format_time(seconds), request_line, status, sent)


def format_combined(client: bytes, exchange: Exchange) -> bytes:
    """Return the common line, with the referer and the user agent."""
    _, seconds, _, head, status, sent = exchange
    what = _format_combined(head, status, sent)
    return b"%s - - [%s] %s" % (client, _format_time(seconds), what)


def format_json(client: bytes, exchange: Exchange) -> bytes:
    """Return an object with the same names in each line; null is what was not said."""
    peer, seconds, duration, head, status, sent = exchange
    line = b'{"time": "%s", "client": "%s", "peer": "%s", "status": %d, "bytes": %d'
    line += b', "duration": %.6f, %s\n'
    return line % (
        _format_utc(seconds),
        client,
        peer,
        status,
        sent,
        duration,
        _format_head(head),
    )


FORMATS: dict[str, Format] = {
    "combined": format_combined,
    "common": format_common,
    "json": format_json,
}
"""By the name that an operator chooses one by."""


@lru_cache(maxsize=256)  # clients repeat themselves
def _format_combined(head: bytes, status: int, sent: int) -> bytes:
    return b'"%s" %d %d "%s" "%s"\n' % (
        _escape(_request_line(head)) or b"-",
        status,
        sent,
        _escape(_find(_REFERER, head)) or b"-",
        _escape(_find(_USER_AGENT, head)) or b"-",
    )


@lru_cache(maxsize=256)
def _format_head(head: bytes) -> bytes:
    method, _, rest = _request_line(head).partition(b" ")
    target, _, version = rest.rpartition(b" ")
    said = {
        "method": method,
        "target": target,
        "version": version,
        "host": _find(_HOST, head),
        "referer": _find(_REFERER, head),
        "user_agent": _find(_USER_AGENT, head),
        "request_id": _find(_REQUEST_ID, head),
    }
    # What is no UTF-8 is shown as \xNN; whatever is no ASCII, escaped as JSON does.
    known = {
        name: value.decode("utf-8", "backslashreplace") if value else None
        for name, value in said.items()
    }
    return json.dumps(known).removeprefix("{").encode("ascii")


def _request_line(head: bytes) -> bytes:
    line_end = head.find(b"\r\n")
    return head if line_end < 0 else head[:line_end]


def _find(pattern: re.Pattern[bytes], head: bytes) -> bytes:
    match = pattern.search(head)
    return match[1].rstrip(b" \t") if match else b""


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
