"""Cut one head off a buffer, and refuse what no honest client sends.

The gate is stricter than h11 and comes first; its limits are nginx's for the
request line (8 KiB) and h11's for the head (16 KiB).
"""

import re

from sendfile_server.errors import ProtocolError

MAX_REQUEST_LINE = 8192
MAX_HEAD = 16384
MAX_LINES = 100
"""Bytes, bytes, and lines: the request line and every field line."""

# Control characters, and CR or LF outside their pair. A CR that ends the buffer
# may still get its LF.
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
_REQUEST_LINE = re.compile(
    rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+ [\x21-\x7e]+ HTTP/(?P<version>[0-9]\.[0-9])\r\n"
)
_FOLD = re.compile(rb"\r\n[ \t]")


class Gate:
    """What a client has sent and nobody has read yet; sans I/O."""

    __slots__ = ("_buffer", "_may_skip", "_scanned", "_start")

    def __init__(self) -> None:
        self._buffer = b""
        # Where in it the next head begins: one after another, heads are not moved.
        self._start = 0
        self._may_skip = True
        # Up to where the buffer is known to be neither forbidden nor a whole head,
        # so that a head that arrives byte by byte is scanned only once.
        self._scanned = 0

    def __len__(self) -> int:
        return len(self._buffer) - self._start

    def feed(self, data: bytes) -> None:
        """Append what was received."""
        self._buffer = self._buffer[self._start :] + data if self else data
        self._scanned -= self._start
        self._start = 0

    def take_head(self) -> bytes | None:
        """Remove and return one head with its empty line, or None for want of bytes.

        Raises ProtocolError if what is there cannot become a head, and leaves it.
        """
        self._skip_empty_line()
        buffer, start = self._buffer, self._start
        # The end may lie across the old and the new bytes.
        end = buffer.find(b"\r\n\r\n", max(start, self._scanned - 3)) + 4
        is_whole = end > 3
        stop = end if is_whole else len(buffer)
        forbidden = _FORBIDDEN.search(buffer, max(start, self._scanned - 1), stop)
        # What is outgrown before it is forbidden is outgrown, in pieces or whole.
        _check_sizes(buffer, start, forbidden.end() if forbidden else stop)
        if forbidden:
            raise ProtocolError(400, "control character or bare line end in the head")
        if not is_whole:
            self._scanned = len(buffer)
            return None
        head = buffer[start:end]
        _check_lines(head)
        self._start = self._scanned = end
        self._may_skip = True
        return head

    def first_line(self) -> bytes:
        """Return what there is of the line that the next head would begin with."""
        rest = self._buffer[self._start :].lstrip(b"\r\n")
        return rest[:MAX_REQUEST_LINE].partition(b"\r\n")[0]

    def _skip_empty_line(self) -> None:
        # One, as RFC 9112 section 2.2 asks: some clients end a body with it.
        if self._may_skip and len(self) > 1:
            self._may_skip = False
            if self._buffer.startswith(b"\r\n", self._start):
                self._start += 2
                self._scanned = self._start


def _check_sizes(buffer: bytes, start: int, stop: int) -> None:
    """Refuse a head that has outgrown its limits, whole or not."""
    size = stop - start
    if size > MAX_REQUEST_LINE + 1:  # its CR may have come without its LF
        line_end = buffer.find(b"\r\n", start, start + MAX_REQUEST_LINE + 2)
        if line_end < 0:
            raise ProtocolError(414, "request line too long")
    if size > MAX_HEAD:
        raise ProtocolError(431, "head too large")
    # The empty line has a line end too.
    if buffer.count(b"\r\n", start, stop) > MAX_LINES + 1:
        raise ProtocolError(431, "too many field lines")


def _check_lines(head: bytes) -> None:
    request_line = _REQUEST_LINE.match(head)
    if not request_line:
        raise ProtocolError(400, "malformed request line")
    if request_line["version"] not in (b"1.0", b"1.1"):
        raise ProtocolError(505, "version is neither 1.0 nor 1.1")
    if _FOLD.search(head):
        raise ProtocolError(400, "folded field line")
