"""The sessions of the New York Stock Exchange, from `exchange_calendars`.

Pre-market begins at 04:00 New York time, post-market ends at 20:00; on half days, which close at
13:00, it ends at 17:00, as the exchange has it.
"""

import warnings
from bisect import bisect_right
from datetime import date, datetime, time
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from streams.clock import now_ns
from streams.domain.sessions import Session

_NEW_YORK = ZoneInfo("America/New_York")
_PRE = time(4)
_POST = time(20)
_POST_HALF_DAY = time(17)
_FULL_CLOSE_HOUR = 16
_SECOND_NS = 1_000_000_000
_LONGEST_CLOSE_NS = 15 * 86_400 * _SECOND_NS

#: Older ticks than this have no sessions.
FIRST_DAY = "2000-01-03"


class ExchangeCalendar:
    """The calendar XNYS. Implements `streams.domain.sessions.Calendar`."""

    def load(self) -> None:
        """Load the sessions; takes about two seconds, so a worker does it before it consumes."""
        _sessions()

    def session_at(self, ts_ns: int, shift_ns: int = 0) -> Session:
        """Return the session that `ts_ns` falls in, or else the next one.

        Raises ValueError for a time outside the years that are loaded.
        """
        ends, sessions = _sessions()
        wanted = ts_ns - shift_ns
        place = bisect_right(ends, wanted)
        if place == len(sessions) or wanted < sessions[0].pre_ns - _LONGEST_CLOSE_NS:
            raise ValueError(f"no sessions are known around {wanted} ns")
        found = sessions[place]
        return found.shifted(shift_ns) if shift_ns else found


@cache
def _sessions() -> tuple[tuple[int, ...], tuple[Session, ...]]:
    """Return all sessions in order, and where each ends."""
    # Costs more than a second, and only processes that need a calendar should pay it.
    import exchange_calendars

    last = f"{datetime.fromtimestamp(now_ns() // _SECOND_NS, _NEW_YORK).year + 1}-12-31"
    with warnings.catch_warnings():
        # How the library uses pandas is not ours to mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        calendar = exchange_calendars.get_calendar("XNYS", start=FIRST_DAY, end=last)
    rows = calendar.schedule
    sessions = tuple(
        _session(day, opens, closes)
        for day, opens, closes in zip(
            rows.index.date, _as_ns(rows["open"]), _as_ns(rows["close"]), strict=True
        )
    )
    return tuple(session.post_ns for session in sessions), sessions


def _as_ns(times: Any) -> list[int]:
    """Return a column of UTC times as nanoseconds."""
    return [
        int(value) for value in times.dt.tz_localize(None).astype("datetime64[ns]").astype("int64")
    ]


def _session(day: date, open_ns: int, close_ns: int) -> Session:
    closes = datetime.fromtimestamp(close_ns // _SECOND_NS, _NEW_YORK)
    post = _POST if closes.hour >= _FULL_CLOSE_HOUR else _POST_HALF_DAY
    return Session(day.isoformat(), _ns(day, _PRE), open_ns, close_ns, _ns(day, post))


def _ns(day: date, at: time) -> int:
    return int(datetime.combine(day, at, _NEW_YORK).timestamp()) * _SECOND_NS
