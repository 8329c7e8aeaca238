"""Answers that carry no file."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.response.heads import REASONS
from sendfile_server.response.refusals import (
    plan_options,
    plan_redirect,
    plan_refusal,
)


@pytest.mark.parametrize(
    ("status", "extra"),
    [
        pytest.param(404, {}, id="nothing more to say"),
        pytest.param(405, {b"Allow": b"GET, HEAD, OPTIONS"}, id="what is allowed"),
        pytest.param(503, {b"Retry-After": b"1"}, id="when to come again"),
    ],
)
def test_refusal_says_what_its_status_asks_for(
    status: int, extra: dict[bytes, bytes]
) -> None:
    """Each has a short plain body, and the fields that its section demands."""
    plan = plan_refusal(status)
    body = b"%d %s\n" % (status, REASONS[status])

    assert plan.body == (body,)
    assert dict(plan.fields) == {
        b"Content-Type": b"text/plain; charset=utf-8",
        b"Content-Length": b"%d" % len(body),
        b"X-Content-Type-Options": b"nosniff",
        **extra,
    }


def test_redirect_keeps_the_method() -> None:
    """308, so that nobody turns the method into GET."""
    plan = plan_redirect(b"/dir/?q")

    assert plan.status == 308
    assert (b"Location", b"/dir/?q") in plan.fields


def test_options_has_no_content() -> None:
    """204 has neither a body nor a length (RFC 9110 section 8.6)."""
    assert plan_options().status == 204
    assert plan_options().fields == ((b"Allow", b"GET, HEAD, OPTIONS"),)
    assert plan_options().body == ()


@given(st.sampled_from(sorted(set(REASONS) - {200, 204, 206, 304})))
@settings(deadline=None)
def test_any_refusal_is_short(status: int) -> None:
    """A refusal costs a client few bytes, and its length is true."""
    plan = plan_refusal(status)

    assert plan.body_size < 64
    assert dict(plan.fields)[b"Content-Length"] == b"%d" % plan.body_size
