"""The planner as a decision table, and what holds for any request."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.response.heads import REASONS, Plan
from sendfile_server.response.plan import plan_response, plan_without_file
from sendfile_server.semantics.dates import format_http_date
from sendfile_server.semantics.etags import EntityTag
from sendfile_server.semantics.preconditions import Validators
from sendfile_server.semantics.ranges import Span
from sendfile_server.semantics.representations import (
    Redirect,
    Refusal,
    Representation,
    validate_by_state,
)
from sendfile_server.semantics.requests import Request

NOW = 1_800_000_000
MTIME = 1_700_000_000


def css(size: int, mtime: int) -> Representation:
    """Return a file of *size* bytes that was changed at *mtime*, in seconds."""
    mtime_ns = mtime * 10**9
    validators = validate_by_state(mtime_ns, size)
    return Representation(size, mtime_ns, b"text/css", validators)


FILE = css(1000, MTIME)
TAG = b'"17979cfe362a0000-3e8"'
DATE = b"Tue, 14 Nov 2023 22:13:20 GMT"
BEFORE = b"Mon, 13 Nov 2023 22:13:20 GMT"


def ask(
    method: bytes = b"GET", *, is_http_1_0: bool = False, **fields: bytes
) -> Request:
    """Return a request for some file; underscores in field names are dashes."""
    named = {name.replace("_", "-").encode(): value for name, value in fields.items()}
    return Request(
        method=method,
        target=b"/file",
        fields=named,
        is_http_1_0=is_http_1_0,
        keeps_alive=True,
        has_body=False,
    )


def field(plan: Plan, name: bytes) -> bytes | None:
    """Return the value of the one field called *name*, or None."""
    values = [value for key, value in plan.fields if key == name]
    assert len(values) < 2, f"{name!r} is there more than once"
    return values[0] if values else None


WHOLE = (Span(0, 1000),)
TABLE = [
    pytest.param(ask(), 200, WHOLE, id="the whole file"),
    pytest.param(ask(b"HEAD"), 200, (), id="HEAD has no body"),
    pytest.param(ask(range=b"bytes=0-9"), 206, (Span(0, 10),), id="one range"),
    pytest.param(ask(b"HEAD", range=b"bytes=0-9"), 200, (), id="no range for HEAD"),
    pytest.param(ask(range=b"lines=0-9"), 200, WHOLE, id="an unknown unit"),
    pytest.param(
        ask(range=b"bytes=0-9", if_range=TAG), 206, (Span(0, 10),), id="If-Range holds"
    ),
    pytest.param(
        ask(range=b"bytes=0-9", if_range=b"W/" + TAG), 200, WHOLE, id="a weak If-Range"
    ),
    pytest.param(
        ask(range=b"bytes=0-9", if_range=DATE), 206, (Span(0, 10),), id="If-Range date"
    ),
    pytest.param(
        ask(range=b"bytes=0-9", if_range=BEFORE), 200, WHOLE, id="another If-Range date"
    ),
    pytest.param(ask(if_range=b"x"), 200, WHOLE, id="If-Range without Range"),
    pytest.param(ask(if_none_match=TAG), 304, (), id="the tag is current"),
    pytest.param(ask(b"HEAD", if_none_match=b"*"), 304, (), id="any tag, for HEAD"),
    pytest.param(
        ask(if_none_match=TAG, range=b"bytes=0-9"), 304, (), id="304 before the range"
    ),
    pytest.param(ask(if_modified_since=DATE), 304, (), id="the date is current"),
    pytest.param(
        ask(if_none_match=b'"x"', if_modified_since=DATE),
        200,
        WHOLE,
        id="tag over date",
    ),
]


@pytest.mark.parametrize(("request_", "status", "body"), TABLE)
def test_decides_by_the_table(
    request_: Request, status: int, body: tuple[Span, ...]
) -> None:
    """Method, preconditions and range make the status and the body."""
    plan = plan_response(request_, FILE, NOW)

    assert (plan.status, plan.body) == (status, body)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(ask(if_match=b'"x"'), 412, id="another tag"),
        pytest.param(ask(if_unmodified_since=BEFORE), 412, id="a newer file"),
        pytest.param(ask(range=b"bytes=1000-"), 416, id="beyond the end"),
    ],
)
def test_refuses_with_a_fixed_body(request_: Request, status: int) -> None:
    """A refusal says its status and nothing of the file."""
    plan = plan_response(request_, FILE, NOW)

    assert plan.status == status
    assert plan.body == (b"%d %s\n" % (status, REASONS[status]),)
    assert field(plan, b"ETag") is None


def test_whole_file_is_labelled() -> None:
    """A 200 carries type, length, both validators, and that ranges are served."""
    plan = plan_response(ask(), FILE, NOW)

    assert dict(plan.fields) == {
        b"Content-Type": b"text/css",
        b"Content-Length": b"1000",
        b"ETag": TAG,
        b"Last-Modified": DATE,
        b"Accept-Ranges": b"bytes",
        b"X-Content-Type-Options": b"nosniff",
    }


def test_part_says_where_it_belongs() -> None:
    """A 206 carries Content-Range, its own length, and the fields of the 200."""
    plan = plan_response(ask(range=b"bytes=-10"), FILE, NOW)

    assert field(plan, b"Content-Range") == b"bytes 990-999/1000"
    assert field(plan, b"Content-Length") == b"10"
    assert field(plan, b"ETag") == TAG
    assert field(plan, b"Accept-Ranges") == b"bytes"


def test_unsatisfiable_range_tells_the_size() -> None:
    """A 416 carries the complete length (RFC 9110 section 15.5.17)."""
    plan = plan_response(ask(range=b"bytes=5000-"), FILE, NOW)

    assert field(plan, b"Content-Range") == b"bytes */1000"


def test_not_modified_carries_the_tag_alone() -> None:
    """A 304 has what guides a cache (RFC 9110 section 15.4.5), and no length."""
    plan = plan_response(ask(if_none_match=TAG), FILE, NOW)

    assert plan.fields == ((b"ETag", TAG),)


def test_head_has_the_fields_of_get() -> None:
    """HEAD differs from GET in the body only."""
    get, head = (plan_response(ask(method), FILE, NOW) for method in (b"GET", b"HEAD"))

    assert head.fields == get.fields


def test_empty_file_has_no_body() -> None:
    """There is no span of nothing."""
    plan = plan_response(ask(), replace(FILE, size=0), NOW)

    assert plan.body == ()
    assert field(plan, b"Content-Length") == b"0"


@pytest.mark.parametrize("seconds", [-86400, 0, 1])
def test_unbelievable_time_is_no_validator(seconds: int) -> None:
    """The mtime of a reproducible build makes neither tag nor date."""
    plan = plan_response(ask(), css(1000, seconds), NOW)

    assert field(plan, b"ETag") is None
    assert field(plan, b"Last-Modified") is None


@pytest.mark.parametrize("tag", [None, EntityTag(TAG)], ids=["no tag", "tag"])
@pytest.mark.parametrize("modified", [None, MTIME], ids=["no date", "date"])
def test_validators_are_told_each_by_itself(
    tag: EntityTag | None, modified: int | None
) -> None:
    """One does not need the other; a 304 has the one that is better."""
    told = [(b"ETag", TAG)] * bool(tag) + [(b"Last-Modified", DATE)] * bool(modified)
    file = replace(FILE, validators=Validators(tag, modified))

    whole = plan_response(ask(), file, NOW)
    not_modified = plan_response(ask(if_none_match=b"*"), file, NOW)

    names = (b"ETag", b"Last-Modified")
    assert [each for each in whole.fields if each[0] in names] == told
    assert [*not_modified.fields] == told[:1]


def test_date_of_the_future_is_clamped() -> None:
    """Last-Modified is never later than Date (RFC 9110 section 8.8.2.1)."""
    plan = plan_response(ask(), FILE, MTIME - 1)

    assert field(plan, b"Last-Modified") == b"Tue, 14 Nov 2023 22:13:19 GMT"


def test_several_ranges_are_framed() -> None:
    """Several spans leave as parts, in the order asked."""
    plan = plan_response(ask(range=b"bytes=500-509,0-9"), FILE, NOW)
    kind = field(plan, b"Content-Type") or b""

    assert plan.status == 206
    assert re.fullmatch(rb"multipart/byteranges; boundary=[0-9a-f]{32}", kind)
    assert [part for part in plan.body if isinstance(part, Span)] == [
        Span(500, 510),
        Span(0, 10),
    ]
    assert field(plan, b"Content-Range") is None


def test_parts_never_cost_more_than_the_file() -> None:
    """Where the framing would make the answer longer, the whole file is sent."""
    plan = plan_response(ask(range=b"bytes=0-0,2-2,4-990"), FILE, NOW)

    assert (plan.status, plan.body) == (200, WHOLE)


@pytest.mark.parametrize(
    ("size", "status"),
    [
        pytest.param(227, 200, id="a byte less than the parts"),
        pytest.param(228, 206, id="as much as the parts"),
    ],
)
def test_parts_may_cost_as_much_as_the_file(size: int, status: int) -> None:
    """The last answer that saves nothing is still the one that was asked for."""
    file = replace(FILE, size=size)
    plan = plan_response(ask(range=b"bytes=0-0,2-2"), file, NOW)

    assert (plan.status, plan.body_size) == (status, size)


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_redirect_and_refusal_need_no_file(method: bytes) -> None:
    """A redirect has its location, a refusal its status; HEAD no body."""
    redirect = plan_response(ask(method), Redirect(b"/dir/"), NOW)
    refusal = plan_response(ask(method, if_match=b"*"), Refusal(404), NOW)

    assert (redirect.status, field(redirect, b"Location")) == (308, b"/dir/")
    assert refusal.status == 404
    assert bool(redirect.body) == bool(refusal.body) == (method == b"GET")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        pytest.param(ask(b"OPTIONS"), 204, id="OPTIONS"),
        pytest.param(ask(b"POST"), 405, id="a known method"),
        pytest.param(ask(b"TRACE"), 405, id="TRACE"),
        pytest.param(ask(b"get"), 501, id="methods have their case"),
        pytest.param(ask(b"BREW"), 501, id="an unknown method"),
        pytest.param(ask(expect=b"unicorns"), 417, id="an unknown expectation"),
        pytest.param(ask(b"HEAD", expect=b"x"), 417, id="the same for HEAD"),
        pytest.param(ask(expect=b"100-continue, x"), 417, id="one of two is not known"),
    ],
)
def test_answers_without_a_file(request_: Request, status: int) -> None:
    """What no file can change is answered before one is looked for."""
    plan = plan_without_file(request_)

    assert plan is not None
    assert plan.status == status
    assert (field(plan, b"Allow") is not None) == (status in (204, 405))


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(ask(), id="GET"),
        pytest.param(ask(b"HEAD"), id="HEAD"),
        pytest.param(ask(expect=b"100-Continue"), id="an expectation that is met"),
        pytest.param(ask(expect=b"100-continue,"), id="an empty element beside it"),
        pytest.param(ask(expect=b"100-continue, 100-continue"), id="it is met twice"),
        pytest.param(ask(expect=b"x", is_http_1_0=True), id="none in HTTP/1.0"),
    ],
)
def test_file_is_needed(request_: Request) -> None:
    """All else waits for the file."""
    assert plan_without_file(request_) is None


CONDITIONS = st.sampled_from([TAG, b'"x"', b"*", b"W/" + TAG, DATE, BEFORE, b"junk"])


@given(
    method=st.sampled_from([b"GET", b"HEAD"]),
    ranges=st.none()
    | st.from_regex(rb"bytes=(\d{0,4}-\d{0,4},){0,5}-\d", fullmatch=True),
    conditions=st.dictionaries(
        st.sampled_from(
            [b"if-match", b"if-none-match", b"if-modified-since", b"if-range"]
        ),
        CONDITIONS,
    ),
    size=st.integers(0, 5000),
    mtime=st.integers(-10, NOW + 10),
)
@settings(deadline=None)
def test_length_is_that_of_the_body(
    method: bytes,
    ranges: bytes | None,
    conditions: dict[bytes, bytes],
    size: int,
    mtime: int,
) -> None:
    """Content-Length is true, no answer is longer than the file, spans lie in it."""
    fields = conditions | ({b"range": ranges} if ranges else {})
    file = css(size, mtime)
    plan = plan_response(replace(ask(method), fields=fields), file, NOW)
    length = field(plan, b"Content-Length")

    assert plan.status in REASONS
    if plan.status == 304:
        assert length is None
    elif method == b"GET":
        assert length == b"%d" % plan.body_size
    if plan.status in (200, 206):
        assert plan.body_size <= size
    for part in plan.body:
        assert isinstance(part, bytes) or 0 <= part.start < part.stop <= size


@given(
    method=st.sampled_from([b"GET", b"HEAD"]),
    conditions=st.dictionaries(
        st.sampled_from(
            [b"if-match", b"if-none-match", b"if-modified-since", b"if-range"]
        ),
        CONDITIONS,
    ),
    size=st.integers(0, 5000),
    mtime=st.integers(-10, 10) | st.integers(NOW - 10, NOW + 10),
)
@settings(deadline=None)
def test_validators_are_believable_and_the_same_for_head(
    method: bytes, conditions: dict[bytes, bytes], size: int, mtime: int
) -> None:
    """Last-Modified is never later than Date; HEAD says all that GET says."""
    file = css(size, mtime)
    plan = plan_response(replace(ask(method), fields=conditions), file, NOW)
    get = plan_response(replace(ask(), fields=conditions), file, NOW)
    modified = field(plan, b"Last-Modified")

    assert (plan.status, plan.fields) == (get.status, get.fields)
    assert plan.body == (get.body if method == b"GET" else ())
    if mtime < 2:
        assert modified is None
    elif plan.status == 200:
        assert modified == format_http_date(min(mtime, NOW))
