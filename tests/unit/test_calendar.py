"""The sessions of the New York Stock Exchange."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from connectors.calendar import ExchangeCalendar

NEW_YORK = ZoneInfo("America/New_York")
HOUR_NS = 3_600 * 1_000_000_000


def ns(text: str) -> int:
    """Return a New York time as nanoseconds UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * 1_000_000_000


ROWS = [
    ("2013-10-07T09:30", "2013-10-07", "regular", "the open belongs to the session"),
    ("2013-10-07T04:00", "2013-10-07", "pre", "pre-market begins at 04:00"),
    ("2013-10-07T03:59", "2013-10-07", "closed", "before it the market is closed"),
    ("2013-10-07T16:00", "2013-10-07", "post", "the close does not"),
    ("2013-10-07T19:59", "2013-10-07", "post", "post-market lasts until 20:00"),
    ("2013-10-07T20:00", "2013-10-08", "closed", "then it is the next session's turn"),
    ("2013-10-05T12:00", "2013-10-07", "closed", "a Saturday leads to Monday"),
    ("2013-11-28T12:00", "2013-11-29", "closed", "Thanksgiving"),
    ("2013-11-29T12:59", "2013-11-29", "regular", "the half day after it"),
    ("2013-11-29T13:00", "2013-11-29", "post", "closes at 13:00"),
    ("2013-11-29T17:00", "2013-12-02", "closed", "and its post-market at 17:00"),
    ("2013-12-31T19:30", "2013-12-31", "post", "New Year's Eve, already next year in UTC"),
    ("2013-12-31T20:00", "2014-01-02", "closed", "across the year"),
    ("2026-07-02T12:00", "2026-07-02", "regular", "daylight saving time"),
]


@pytest.mark.parametrize(("at", "date", "phase"), [pytest.param(*r[:3], id=r[3]) for r in ROWS])
def test_session_of_a_moment(at: str, date: str, phase: str) -> None:
    """A moment belongs to its session, or else to the next one."""
    session = ExchangeCalendar().session_at(ns(at))
    assert (session.date, session.phase(ns(at))) == (date, phase)


def test_shift_moves_the_session_in_event_time() -> None:
    """With market time shifted by 100 hours, the session is found and returned 100 hours later."""
    calendar, shift = ExchangeCalendar(), 100 * HOUR_NS
    plain = calendar.session_at(ns("2013-10-07T12:00"))
    assert calendar.session_at(ns("2013-10-07T12:00") + shift, shift) == plain.shifted(shift)
