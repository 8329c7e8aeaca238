"""HTTP-date in its three forms (RFC 9110 section 5.6.7)."""

import calendar
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendfile_server.semantics.dates import format_http_date, parse_http_date

NOVEMBER_1994 = 784111777
NOW = calendar.timegm((2026, 6, 15, 12, 0, 0))

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LONG_DAYS = (
    *("Monday", "Tuesday", "Wednesday", "Thursday"),
    *("Friday", "Saturday", "Sunday"),
)
MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def seconds(*moment: int) -> int:
    return calendar.timegm(moment)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 GMT", NOVEMBER_1994, id="IMF-fixdate"),
        pytest.param(
            b"Sunday, 06-Nov-94 08:49:37 GMT", NOVEMBER_1994, id="RFC 850 date"
        ),
        pytest.param(
            b"Sun Nov  6 08:49:37 1994", NOVEMBER_1994, id="asctime with a space"
        ),
        pytest.param(
            b"Sun Nov 06 08:49:37 1994", NOVEMBER_1994, id="asctime with a zero"
        ),
        pytest.param(
            b"Wed Nov 16 08:49:37 1994",
            NOVEMBER_1994 + 10 * 86400,
            id="asctime with two digits",
        ),
        pytest.param(b"Thu, 01 Jan 1970 00:00:00 GMT", 0, id="the epoch"),
        pytest.param(
            b"Wed, 31 Dec 1969 23:59:59 GMT", -1, id="the second before the epoch"
        ),
        pytest.param(
            b"Mon, 06 Nov 1994 08:49:37 GMT", NOVEMBER_1994, id="another day's name"
        ),
        pytest.param(
            b"Tue, 29 Feb 2000 00:00:00 GMT",
            seconds(2000, 2, 29, 0, 0, 0),
            id="leap day of a leap century",
        ),
        pytest.param(
            b"Sat, 31 Dec 2016 23:59:60 GMT",
            seconds(2017, 1, 1, 0, 0, 0),
            id="a leap second is the next day's first",
        ),
        pytest.param(
            b"Fri, 31 Dec 9999 23:59:59 GMT",
            seconds(9999, 12, 31, 23, 59, 59),
            id="the last second of four digits",
        ),
    ],
)
def test_reads(value: bytes, expected: int) -> None:
    """Each form names one second."""
    assert parse_http_date(value, NOW) == expected


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"0", id="a number"),
        pytest.param(b"784111777", id="seconds since the epoch"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37", id="no zone"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 UTC", id="another zone"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 gmt", id="the zone in small letters"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 +0000", id="a numeric zone"),
        pytest.param(b"sun, 06 Nov 1994 08:49:37 GMT", id="the day in small letters"),
        pytest.param(b"Son, 06 Nov 1994 08:49:37 GMT", id="a day's foreign name"),
        pytest.param(b"Sun, 06 Okt 1994 08:49:37 GMT", id="a month's foreign name"),
        pytest.param(b"Sunday, 06 Nov 1994 08:49:37 GMT", id="a long day's name"),
        pytest.param(b"Sun, 06-Nov-94 08:49:37 GMT", id="RFC 850 with a short name"),
        pytest.param(
            b"Sunday, 06-Nov-1994 08:49:37 GMT", id="RFC 850 with four digits"
        ),
        pytest.param(b"Sun, 6 Nov 1994 08:49:37 GMT", id="a day of one digit"),
        pytest.param(b"Sun,  6 Nov 1994 08:49:37 GMT", id="a day with a space"),
        pytest.param(b"Sun Nov 6 08:49:37 1994", id="asctime that lost a space"),
        pytest.param(b"Sun Nov  6 08:49:37 1994 GMT", id="asctime with a zone"),
        pytest.param(b"Sun, 30 Feb 1994 08:49:37 GMT", id="30 February"),
        pytest.param(b"Thu, 29 Feb 1900 08:49:37 GMT", id="leap day of no leap year"),
        pytest.param(b"Sun, 31 Nov 1994 08:49:37 GMT", id="31 November"),
        pytest.param(b"Sun, 00 Nov 1994 08:49:37 GMT", id="day zero"),
        pytest.param(b"Sun Nov  0 08:49:37 1994", id="day zero in asctime"),
        pytest.param(b"Sat, 01 Jan 0000 00:00:00 GMT", id="the year zero"),
        pytest.param(b"Sun, 06 Nov 1994 24:00:00 GMT", id="24:00"),
        pytest.param(b"Sun, 06 Nov 1994 08:60:37 GMT", id="minute 60"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:61 GMT", id="second 61"),
        pytest.param(b"Sun, 06 Nov 1994 8:49:37 GMT", id="an hour of one digit"),
        pytest.param(b"Sun, 06 Nov 1994 08:49 GMT", id="no seconds"),
        pytest.param(b"Sun, 06 Nov 10000 08:49:37 GMT", id="a year of five digits"),
        pytest.param(b" Sun, 06 Nov 1994 08:49:37 GMT", id="a space before"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 GMT ", id="a space after"),
        pytest.param(b"Sun, 06 Nov 1994 08:49:37 GMT\n", id="a line end after"),
        pytest.param(
            b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            id="a date twice",
        ),
        pytest.param(
            "Sun, \u0660\u0666 Nov 1994 08:49:37 GMT".encode(), id="foreign digits"
        ),
        pytest.param(b"Sun, +6 Nov 1994 08:49:37 GMT", id="a sign"),
    ],
)
def test_ignores(value: bytes) -> None:
    """What is no HTTP-date names nothing; no exception comes of it."""
    assert parse_http_date(value, NOW) is None


@pytest.mark.parametrize(
    ("value", "now", "year"),
    [
        pytest.param(b"15-Jun-26 12:00:00", (2026, 6, 15), 2026, id="this year"),
        pytest.param(b"06-Nov-94 08:49:37", (2026, 6, 15), 1994, id="last century"),
        pytest.param(
            b"01-Jan-76 00:00:00", (2026, 6, 15), 2076, id="under 50 years on"
        ),
        pytest.param(b"15-Jun-76 12:00:00", (2026, 6, 15), 2076, id="50 years on"),
        pytest.param(
            b"15-Jun-76 12:00:01", (2026, 6, 15), 1976, id="50 years and a second on"
        ),
        pytest.param(b"01-Jan-77 00:00:00", (2026, 6, 15), 1977, id="next year but 50"),
        pytest.param(b"01-Jan-05 00:00:00", (2099, 6, 15), 2105, id="the next century"),
        pytest.param(b"31-Dec-69 23:59:59", (1970, 1, 1), 1969, id="before the epoch"),
        pytest.param(b"29-Feb-00 00:00:00", (2026, 6, 15), 2000, id="leap day of 2000"),
    ],
)
def test_two_digit_year_is_at_most_fifty_years_ahead(
    value: bytes, now: tuple[int, int, int], year: int
) -> None:
    """A year of two digits is in the latest century not over 50 years ahead."""
    parsed = parse_http_date(b"Monday, " + value + b" GMT", seconds(*now, 12, 0, 0))

    assert parsed is not None
    assert datetime.fromtimestamp(parsed, UTC).year == year


def test_two_digit_year_after_the_last_of_four_digits_is_ignored() -> None:
    """A century that no date of ours can be in is no reason to fail."""
    now = seconds(9999, 6, 15, 12, 0, 0)

    assert parse_http_date(b"Monday, 06-Nov-05 08:49:37 GMT", now) is None


def test_writes_the_example_of_the_rfc() -> None:
    """Only IMF-fixdate is ever written."""
    assert format_http_date(NOVEMBER_1994) == b"Sun, 06 Nov 1994 08:49:37 GMT"


@given(st.datetimes(datetime(1800, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001
@settings(deadline=None, max_examples=200)
def test_every_second_survives_a_round_trip(moment: datetime) -> None:
    """What is written is what the standard library writes, and is read back."""
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    epoch = int(moment.timestamp())

    assert format_http_date(epoch).decode() == format_datetime(moment, usegmt=True)
    assert parse_http_date(format_http_date(epoch), NOW) == epoch


@given(st.datetimes(datetime(1976, 6, 16), datetime(2076, 6, 15)))  # noqa: DTZ001
@settings(deadline=None, max_examples=100)
def test_the_three_forms_agree(moment: datetime) -> None:
    """Within a century around now, all forms of one second name that second."""
    epoch = calendar.timegm(moment.timetuple())
    day, month = moment.weekday(), MONTHS[moment.month - 1]
    clock = f"{moment:%H:%M:%S}"

    for form in (
        f"{DAYS[day]}, {moment.day:02} {month} {moment.year} {clock} GMT",
        f"{LONG_DAYS[day]}, {moment.day:02}-{month}-{moment.year % 100:02} {clock} GMT",
        f"{DAYS[day]} {month} {moment.day:2} {clock} {moment.year}",
    ):
        assert parse_http_date(form.encode(), NOW) == epoch
