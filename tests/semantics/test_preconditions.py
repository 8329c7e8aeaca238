"""The whole decision table of RFC 9110 section 13.2.2, against a slow oracle."""

from email.utils import formatdate
from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.semantics.etags import EntityTag
from sendfile_server.semantics.preconditions import (
    Validators,
    Verdict,
    allows_range,
    depends_on_time,
    evaluate,
)

MODIFIED = 1_500_000_000
NOW = MODIFIED + 1_000_000


def http_date(seconds: float) -> bytes:
    return formatdate(seconds, usegmt=True).encode()


CURRENT = Validators(EntityTag(b'"ours"'), MODIFIED)
WEAK = Validators(EntityTag(b'"ours"', is_weak=True), MODIFIED)
NOTHING = Validators(entity_tag=None, modified=None)
STATES = {"strong tag": CURRENT, "weak tag": WEAK, "no validators": NOTHING}


class Row(NamedTuple):
    """A value of a field, and whether its condition is true in each of `STATES`.

    None is a field that must be ignored.
    """

    value: bytes | None
    strong: bool | None
    weak: bool | None
    without: bool | None


ABSENT = Row(None, None, None, None)

IF_MATCH = {
    "absent": ABSENT,
    "star": Row(b"*", True, True, True),
    "ours": Row(b'"ours"', True, False, False),
    "ours in a list": Row(b'"a,b", "ours"', True, False, False),
    "ours but weak": Row(b'W/"ours"', False, False, False),
    "another": Row(b'"other"', False, False, False),
    "malformed": Row(b"ours", False, False, False),
}
IF_NONE_MATCH = {
    "absent": ABSENT,
    "star": Row(b"*", False, False, False),
    "ours": Row(b'"ours"', False, False, True),
    "ours in a list": Row(b'"a,b", "ours"', False, False, True),
    "ours but weak": Row(b'W/"ours"', False, False, True),
    "another": Row(b'"other"', True, True, True),
    "malformed": Row(b"ours", True, True, True),
}
IF_UNMODIFIED_SINCE = {
    "absent": ABSENT,
    "a second before": Row(http_date(MODIFIED - 1), False, False, None),
    "the same second": Row(http_date(MODIFIED), True, True, None),
    "a second after": Row(http_date(MODIFIED + 1), True, True, None),
    "malformed": Row(b"yesterday", None, None, None),
}
IF_MODIFIED_SINCE = {
    "absent": ABSENT,
    "a second before": Row(http_date(MODIFIED - 1), True, True, None),
    "the same second": Row(http_date(MODIFIED), False, False, None),
    "a second after": Row(http_date(MODIFIED + 1), False, False, None),
    "malformed": Row(b"yesterday", None, None, None),
}


def decide(n: int, match: Row, unmodified: Row, none_match: Row, modified: Row) -> str:
    """Walk through the steps of section 13.2.2, in state number *n* of `STATES`.

    Each step is: the field, whether it is evaluated, where a true condition leads,
    and where a false one does. A field to be ignored counts as true.
    """
    steps = {
        1: (match, match.value is not None, 3, "FAILED"),
        2: (unmodified, match.value is None, 3, "FAILED"),
        3: (none_match, none_match.value is not None, 5, "NOT_MODIFIED"),
        4: (modified, none_match.value is None, 5, "NOT_MODIFIED"),
    }
    step = 1
    while step < 5:
        row, is_evaluated, next_step, stop = steps[step]
        if is_evaluated and row[1 + n] is False:
            return stop
        step = next_step if is_evaluated else step + 1
    return "PROCEED"


@pytest.mark.parametrize(
    "state", [pytest.param(n, id=f"a {name}") for n, name in enumerate(STATES)]
)
@pytest.mark.parametrize(
    "if_match", [pytest.param(name, id=f"If-Match {name}") for name in IF_MATCH]
)
@pytest.mark.parametrize(
    "if_none_match",
    [pytest.param(name, id=f"If-None-Match {name}") for name in IF_NONE_MATCH],
)
def test_decision_table(if_match: str, if_none_match: str, state: int) -> None:
    """Every combination of the four fields comes to what the RFC's steps come to."""
    current = [*STATES.values()][state]
    for unmodified, modified in product(IF_UNMODIFIED_SINCE, IF_MODIFIED_SINCE):
        rows = {
            b"if-match": IF_MATCH[if_match],
            b"if-unmodified-since": IF_UNMODIFIED_SINCE[unmodified],
            b"if-none-match": IF_NONE_MATCH[if_none_match],
            b"if-modified-since": IF_MODIFIED_SINCE[modified],
        }
        fields = {
            name: row.value for name, row in rows.items() if row.value is not None
        }

        verdict = evaluate(fields, current, NOW)

        assert verdict.name == decide(state, *rows.values()), (unmodified, modified)


def test_fields_of_other_names_decide_nothing() -> None:
    """If-Range and what is no precondition have no part in the verdict."""
    fields = {b"if-range": b'"other"', b"host": b"x", b"range": b"bytes=0-"}

    assert evaluate(fields, CURRENT, NOW) is Verdict.PROCEED


@pytest.mark.parametrize(
    ("value", "current", "expected"),
    [
        pytest.param(b'"ours"', CURRENT, True, id="our tag"),
        pytest.param(b'"other"', CURRENT, False, id="another tag"),
        pytest.param(b'W/"ours"', CURRENT, False, id="our tag but weak"),
        pytest.param(b'"ours"', WEAK, False, id="our tag where ours is weak"),
        pytest.param(b'W/"ours"', WEAK, False, id="both weak"),
        pytest.param(b'"ours"', NOTHING, False, id="a tag where there is none"),
        pytest.param(b'"ours", "other"', CURRENT, False, id="a list of tags"),
        pytest.param(b"*", CURRENT, False, id="a star"),
        pytest.param(b"", CURRENT, False, id="nothing"),
        pytest.param(b"ours", CURRENT, False, id="a tag without quotes"),
        pytest.param(http_date(MODIFIED), CURRENT, True, id="our date"),
        pytest.param(http_date(MODIFIED - 1), CURRENT, False, id="an earlier date"),
        pytest.param(http_date(MODIFIED + 1), CURRENT, False, id="a later date"),
        pytest.param(http_date(MODIFIED), NOTHING, False, id="a date without ours"),
        pytest.param(b"yesterday", CURRENT, False, id="no date"),
        pytest.param(b"yesterday", NOTHING, False, id="no date, and none of ours"),
    ],
)
def test_if_range(value: bytes, current: Validators, expected: bool) -> None:
    """Only our own strong validator lets a range through (section 13.1.5)."""
    assert allows_range(value, current, NOW) is expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(MODIFIED - 1, False, id="before that second"),
        pytest.param(MODIFIED, False, id="within that second"),
        pytest.param(MODIFIED + 1, True, id="after that second"),
    ],
)
def test_date_is_strong_once_its_second_is_over(now: int, expected: bool) -> None:
    """A file may change twice in one second (section 8.8.2.2)."""
    assert allows_range(http_date(MODIFIED), CURRENT, now) is expected


@given(st.integers(2, 2**32), st.integers(-2, 2) | st.integers(-(2**31), 2**31))
@settings(deadline=None, max_examples=200)
def test_dates_split_time_in_two(modified: int, distance: int) -> None:
    """For any two seconds, one of the two date conditions stops the request.

    If-Range lets pass only the very second.
    """
    current = Validators(entity_tag=None, modified=modified)
    value = http_date(modified + distance)
    now = modified + 2**31

    not_since = evaluate({b"if-modified-since": value}, current, now)
    since = evaluate({b"if-unmodified-since": value}, current, now)

    is_newer = distance < 0
    assert not_since is (Verdict.PROCEED if is_newer else Verdict.NOT_MODIFIED)
    assert since is (Verdict.FAILED if is_newer else Verdict.PROCEED)
    assert allows_range(value, current, now) is (distance == 0)


OLD_YEAR = b"Sunday, 06-Nov-94 08:49:37 GMT"


@pytest.mark.parametrize(
    ("fields", "modified", "expected"),
    [
        pytest.param({}, NOW - 1, False, id="a file of the second before"),
        pytest.param({}, NOW, True, id="a file of this second"),
        pytest.param({}, NOW + 1, True, id="a file of the future"),
        pytest.param({}, None, False, id="no validators"),
        pytest.param({b"if-modified-since": OLD_YEAR}, 0, True, id="two-digit year"),
        pytest.param({b"if-unmodified-since": OLD_YEAR}, 0, True, id="in the other"),
        pytest.param({b"if-range": OLD_YEAR}, 0, True, id="in If-Range"),
        pytest.param({b"if-modified-since": http_date(0)}, 0, False, id="full year"),
        pytest.param({b"if-range": b'"a-b"'}, 0, False, id="strong tag"),
        pytest.param({b"if-range": b'W/"a-b"'}, 0, False, id="weak tag"),
    ],
)
def test_time_matters_where_a_date_may_turn(
    fields: dict[bytes, bytes], modified: int | None, expected: bool
) -> None:
    """Only a file that is too new, or a date without its century, is judged again."""
    current = Validators(None, modified)

    assert depends_on_time(fields, current, NOW) is expected


@given(
    st.sampled_from([b"if-modified-since", b"if-unmodified-since", b"if-range"]),
    st.integers(0, 2**32).map(http_date),
    st.integers(2, 2**32),
    *[st.integers(0, 2**32)] * 2,
)
@settings(deadline=None)
def test_what_is_decided_for_good_stays(
    name: bytes, date: bytes, modified: int, now: int, later: int
) -> None:
    """Unless time matters, the verdict is the same at any later time."""
    current = Validators(EntityTag(b'"ours"'), modified)
    fields = {name: date}

    if not depends_on_time(fields, current, now):
        assert evaluate(fields, current, now) == evaluate(fields, current, now + later)
        assert allows_range(date, current, now) == allows_range(
            date, current, now + later
        )
