"""Heads as bytes."""

from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.response.heads import REASONS, Plan, format_head, restamp
from sendfile_server.semantics.ranges import Span


@pytest.mark.parametrize(
    ("connection", "last"),
    [
        pytest.param(b"", b"", id="goes on, as HTTP/1.1 does"),
        pytest.param(b"close", b"Connection: close\r\n", id="the last response"),
        pytest.param(b"keep-alive", b"Connection: keep-alive\r\n", id="HTTP/1.0"),
    ],
)
def test_head_is_framed(connection: bytes, last: bytes) -> None:
    """Status line, Date, the planned fields, Connection, an empty line."""
    plan = Plan(200, ((b"Content-Length", b"0"),))

    assert format_head(plan, 0, connection) == (
        b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
        b"Content-Length: 0\r\n" + last + b"\r\n"
    )


def test_date_is_stamped_anew() -> None:
    """That of the head, whatever else looks like it."""
    head = b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:0%d GMT\r\n\r\n%b"

    assert restamp(head % (0, head % (0, b"")), 7) == head % (7, head % (0, b""))


def test_spans_are_filled_in_order() -> None:
    """What was read takes the place of the spans; all else stays."""
    plan = Plan(206, ((b"A", b"b"),), (b"1", Span(0, 2), b"2", Span(5, 6)))

    assert plan.filled([b"xx", b"y"]) == Plan(
        206, plan.fields, (b"1", b"xx", b"2", b"y")
    )
    assert plan.body_size == plan.filled([b"xx", b"y"]).body_size == 5


# Renamed by RFC 9110 or RFC 6585 where older Pythons keep the old phrase.
RENAMED = {
    414: b"URI Too Long",
    416: b"Range Not Satisfiable",
}


@pytest.mark.parametrize("status", sorted(REASONS))
def test_reason_is_the_registered_one(status: int) -> None:
    """Each status has the phrase under which it is registered, and none other."""
    phrase = HTTPStatus(status).phrase.encode()

    assert REASONS[status] == RENAMED.get(status, phrase)


@given(st.sampled_from(sorted(REASONS)), st.integers(0, 2**33))
@settings(deadline=None)
def test_any_head_has_one_status_line_and_one_end(status: int, now: int) -> None:
    """Every status has its reason, and nothing splits the head."""
    head = format_head(Plan(status, ()), now, b"close")

    assert head.startswith(b"HTTP/1.1 %d %s\r\nDate: " % (status, REASONS[status]))
    assert head.count(b"\r\n") == 4
    assert head.endswith(b"\r\n\r\n")


@given(st.sampled_from(sorted(REASONS)), *[st.integers(0, 2**33)] * 2, st.binary())
@settings(deadline=None)
def test_restamped_head_is_that_of_another_time(
    status: int, then: int, now: int, body: bytes
) -> None:
    """A remembered response differs in its Date only, and its body is untouched."""
    plan = Plan(status, ((b"ETag", b'"x"'),))

    wire = restamp(format_head(plan, then, b"") + body, now)

    assert wire == format_head(plan, now, b"") + body
