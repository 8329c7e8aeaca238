"""The lines of the access log, in each format, and who can forge one."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sendfile_server.server.exchanges import Batch
from sendfile_server.server.log_formats import (
    FORMATS,
    Format,
    format_combined,
    format_common,
    format_json,
)

LINE = re.compile(
    r"(?P<peer>\S+) - - \[(?P<time>[^]]+)\]"
    r' "(?P<request>[^"]*)" (?P<status>\d{3}) (?P<size>\d+)'
    r' "(?P<referer>[^"]*)" "(?P<agent>[^"]*)"'
)
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
CLIENT = b"192.0.2.1"


def tell(line_format: Format, head: bytes = HEAD % b"") -> bytes:
    """Return the one line of an exchange whose request had *head*."""
    line, line_end, rest = head.partition(b"\r\n")
    columns = ([line], [line_end + rest], [200], [10])
    batch = Batch([b"127.0.0.1"], [1_000_000_000], [0.0015], *columns)
    [told] = line_format([CLIENT], batch)
    return told


def parse(line: str) -> dict[str, str]:
    """Take one line apart, or fail if it is not one."""
    match = LINE.fullmatch(line)
    assert match, line
    return match.groupdict()


@pytest.mark.parametrize(
    ("fields", "referer", "agent"),
    [
        (b"", "-", "-"),
        (b"Referer: http://a/\r\nUser-Agent: b c\r\n", "http://a/", "b c"),
        (b"user-AGENT:x\r\nREFERER:\ty \t\r\n", "y", "x"),
        (b"Referer:\r\nUser-Agent: \r\n", "-", "-"),
        (b"X-Referer: no\r\nMy-User-Agent: no\r\n", "-", "-"),
        (b'User-Agent: a"b\\c\r\n', "-", r"a\x22b\x5Cc"),
        (b"User-Agent: caf\xc3\xa9 \x1b[2J\x7f\r\n", "-", r"caf\xC3\xA9 \x1B[2J\x7F"),
        (b'Referer: " 200 1 "-" "-\r\n', r"\x22 200 1 \x22-\x22 \x22-", "-"),
    ],
)
def test_fields_are_found_and_escaped(fields: bytes, referer: str, agent: str) -> None:
    """Referer and user agent are told as they came, but for what is unsafe."""
    line = tell(format_combined, HEAD % fields).decode("ascii")

    told = parse(line.removesuffix("\n"))
    assert (told["referer"], told["agent"]) == (referer, agent)


@pytest.mark.parametrize(
    ("head", "request_line"),
    [
        (b"", "-"),
        (b"GET /half", "GET /half"),
        (b'GET /"\n1.2.3.4 - - HTTP/1.1', r"GET /\x22\x0A1.2.3.4 - - HTTP/1.1"),
        (b"\x16\x03\x01\x00", r"\x16\x03\x01\x00"),
        (bytes(range(256)).replace(b"\r\n", b""), None),
    ],
)
def test_no_request_line_makes_two_lines(head: bytes, request_line: str | None) -> None:
    """Whatever came, it is one line of printable ASCII."""
    line = tell(format_combined, head).decode("ascii")

    assert line.count("\n") == 1
    assert line.removesuffix("\n").isprintable()
    told = parse(line.removesuffix("\n"))
    if request_line is not None:
        assert told["request"] == request_line


def test_time_is_that_of_the_record() -> None:
    """The time is the response's, with the offset of the zone."""
    told = parse(tell(format_combined).decode().removesuffix("\n"))

    when = time.strptime(told["time"], "%d/%b/%Y:%H:%M:%S %z")
    seconds = time.mktime((*when[:8], -1))
    assert seconds == 1_000_000_000


def test_common_is_the_beginning_of_combined() -> None:
    """It ends before the referer and the user agent."""
    head = HEAD % b"User-Agent: x\r\n"
    common = tell(format_common, head)

    assert common.endswith(b'"GET / HTTP/1.1" 200 10\n')
    assert tell(format_combined, head).startswith(common.removesuffix(b"\n"))


def test_json_has_always_the_same_names() -> None:
    """What was not said is null, and what was, as it came."""
    fields = b'user-agent: caf\xc3\xa9 \xff"\r\nX-Request-ID:\t7f-1 \r\n'
    line = tell(format_json, HEAD % fields)

    assert json.loads(line) == {
        "time": "2001-09-09T01:46:40Z",
        "client": "192.0.2.1",
        "peer": "127.0.0.1",
        "status": 200,
        "bytes": 10,
        "duration": 0.0015,
        "method": "GET",
        "target": "/",
        "version": "HTTP/1.1",
        "host": "localhost",
        "referer": None,
        "user_agent": 'caf\u00e9 \\xff"',
        "request_id": "7f-1",
    }


@pytest.mark.parametrize("name", FORMATS)
@given(head=st.binary(max_size=200) | st.text().map(str.encode))
def test_whatever_came_is_one_line_of_ascii(name: str, head: bytes) -> None:
    """No bytes of a client end a line, or reach a terminal as they are."""
    line = tell(FORMATS[name], head).decode("ascii")

    assert line.removesuffix("\n").isprintable()
    assert line.endswith("\n")
    if name == "json":
        assert set(json.loads(line)) == set(json.loads(tell(format_json)))
