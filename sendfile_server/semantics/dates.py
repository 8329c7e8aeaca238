"""HTTP-date (RFC 9110 section 5.6.7): three forms in, one form out."""

import calendar
import re
import time
from datetime import UTC, datetime
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_MONTH_NUMBERS = {name.encode(): n for n, name in enumerate(_MONTHS, start=1)}

_DAY = "|".join(_DAYS)
_LONG_DAY = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_YEAR = "(?P<year>[0-9]{4})"
_SHORT_YEAR = "(?P<short_year>[0-9]{2})"
_FORMS = tuple(
    re.compile(form.encode())
    for form in (
        f"(?:{_DAY}), (?P<day>[0-9]{{2}}) {_MONTH} {_YEAR} {_TIME} GMT",
        f"(?:{_LONG_DAY}), (?P<day>[0-9]{{2}})-{_MONTH}-{_SHORT_YEAR} {_TIME} GMT",
        f"(?:{_DAY}) {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} {_YEAR}",
    )
)

IMF_FIXDATE_SIZE = 29
"""Bytes of what `format_http_date` returns."""


def parse_http_date(value: bytes, now: int) -> int | None:
    """Return the seconds since the epoch that *value* names, or None.

    *now* is in seconds since the epoch and decides the century of the obsolete
    two-digit year: the nearest that is not over 50 years ahead. The name of
    the day must be one, but need not be the right one.
    """
    for form in _FORMS:
        match = form.fullmatch(value)
        if match:
            return _seconds(match.groupdict(), now)
    return None


@lru_cache(maxsize=256)  # the time of day, and files of one deployment
def format_http_date(seconds: int) -> bytes:
    """Return *seconds* since the epoch as an IMF-fixdate."""
    t = time.gmtime(seconds)
    return b"%s, %02d %s %04d %02d:%02d:%02d GMT" % (
        _DAYS[t.tm_wday].encode(),
        t.tm_mday,
        _MONTHS[t.tm_mon - 1].encode(),
        t.tm_year,
        t.tm_hour,
        t.tm_min,
        t.tm_sec,
    )


def _seconds(parts: dict[str, bytes], now: int) -> int | None:
    month, day = _MONTH_NUMBERS[parts["month"]], int(parts["day"])
    hour, minute = int(parts["hour"]), int(parts["minute"])
    second = int(parts["second"])
    if hour > 23 or minute > 59 or second > 60:  # 60 is a leap second
        return None
    year = int(parts["year"]) if "year" in parts else 0
    try:
        if "short_year" in parts:
            moment = (month, day, hour, minute, second)
            year = _full_year(int(parts["short_year"]), moment, now)
        datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        return None
    return calendar.timegm((year, month, day, hour, minute, second))


def _full_year(short_year: int, moment: tuple[int, ...], now: int) -> int:
    this_year, *this_moment = time.gmtime(now)[:6]
    year = this_year - this_year % 100 + 100 + short_year
    while (year, *moment) > (this_year + 50, *this_moment):
        year -= 100
    return year
