"""Times of tick files as integer nanoseconds UTC: numbers since 1970 in any unit, and ISO 8601.

Exact to the nanosecond: what `datetime` would cut is read apart.
"""

import re
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

TimeFormat = Literal["auto", "ns", "us", "ms", "s", "iso"]

_SCALE = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}
#: `auto` tells the unit of a number by its size: below the first bound it is seconds (to the year
#: 5138), then milliseconds and microseconds (from 1973 on), then nanoseconds.
_BOUNDS = ((10**11, "s"), (10**14, "ms"), (10**17, "us"))
_NUMBER = re.compile(r"\d{1,19}(\.\d{1,18})?")
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d(?::?\d\d)?)?"
)
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)


def time_ns(value: Any, form: TimeFormat, zone: tzinfo | None = None) -> int:
    """Return a cell's time in nanoseconds; `zone` is that of ISO times that name none.

    Raises ValueError for what is no time of that format.

    >>> time_ns("2013-10-07T09:30:00.019-04:00", "auto"), time_ns(1381152600019, "auto")
    (1381152600019000000, 1381152600019000000)
    """
    if isinstance(value, bool):
        raise ValueError("a boolean is no time")  # noqa: TRY004 - one error for every bad cell
    if isinstance(value, int) and form != "iso":
        return value * _SCALE[form if form != "auto" else _unit(value)]
    text = str(value).strip()  # a float is read as its shortest text
    if form != "iso" and _NUMBER.fullmatch(text):
        return _of_number(text, form)
    if form not in ("auto", "iso"):
        raise ValueError(f"{text!r} is no number of {form} since 1970")
    return _of_iso(text, zone)


def _unit(value: int) -> str:
    return next((unit for below, unit in _BOUNDS if value < below), "ns")


def _of_number(text: str, form: TimeFormat) -> int:
    whole, _, fraction = text.partition(".")
    unit = form if form != "auto" else _unit(int(whole))
    if not fraction:
        return int(whole) * _SCALE[unit]
    return int(Decimal(text) * _SCALE[unit])


def _of_iso(text: str, zone: tzinfo | None) -> int:
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time; write 2013-10-07T09:30:00.019-04:00")
    day, clock, fraction, offset = match.groups()
    return _second_ns(f"{day}T{clock}", offset or "", zone) + int((fraction or "").ljust(9, "0"))


@lru_cache(maxsize=4096)
def _second_ns(text: str, offset: str, zone: tzinfo | None) -> int:
    """Return a whole second; ticks of the same second ask again."""
    time = datetime.fromisoformat(text + offset)
    if time.tzinfo is None:
        if zone is None:
            raise ValueError(f"{text!r} names no zone; give --zone, such as America/New_York")
        time = time.replace(tzinfo=zone)
    passed = time - _FIRST
    return (passed.days * 86_400 + passed.seconds) * 10**9
