"""Where bars begin and end: counted from the beginning of each part of a trading day.

A trading day reaches from the end of the session before it to its own end, so nothing that trades
is in no day. Its parts are the closed hours, pre-market, regular hours and post-market. Bars of a
time frame are counted from the start of their part and end with it: no bar mixes pre-market and
regular hours, hourly bars begin at 09:30, and a half day ends when it ends. The bounds come from
the calendar as instants, so daylight saving is in them.
"""

from typing import NamedTuple

from streams.domain.bars.frames import Frame
from streams.domain.sessions import Calendar, Session

DAY_NS = 86_400_000_000_000
#: No exchange that is known was closed for longer.
LONGEST_CLOSE_DAYS = 15
#: Days kept at hand.
MAX_DAYS = 64


class Day(NamedTuple):
    """One trading day; each bound belongs to the part that it opens."""

    date: str
    begin_ns: int
    pre_ns: int
    open_ns: int
    close_ns: int
    end_ns: int


class Span(NamedTuple):
    """The bounds of one bar."""

    start_ns: int
    end_ns: int
    date: str
    regular: bool


class Spans:
    """The bounds of bars, by a calendar and a shift of market time."""

    def __init__(self, calendar: Calendar, shift_ns: int = 0) -> None:
        self.shift_ns = shift_ns
        self._calendar = calendar
        self._days: dict[str, Day] = {}
        self._last: Day | None = None

    def day(self, ts_ns: int) -> Day:
        """Return the trading day of a moment; raises ValueError where none is known."""
        last = self._last
        if last is not None and last.begin_ns <= ts_ns < last.end_ns:
            return last
        session = self._calendar.session_at(ts_ns, self.shift_ns)
        day = self._days.get(session.date)
        if day is None:
            if len(self._days) >= MAX_DAYS:
                self._days.clear()
            day = self._days[session.date] = Day(
                session.date,
                self._begin(session),
                session.pre_ns,
                session.open_ns,
                session.close_ns,
                session.post_ns,
            )
        self._last = day
        return day

    def _begin(self, session: Session) -> int:
        for days in range(1, LONGEST_CLOSE_DAYS + 1):
            try:
                before = self._calendar.session_at(session.pre_ns - days * DAY_NS, self.shift_ns)
            except ValueError:  # the first one that is known
                break
            if before.date != session.date:
                return before.post_ns
        return session.pre_ns - DAY_NS

    def span(self, frame: Frame, ts_ns: int) -> Span:
        """Return the bounds of the bar of a time frame that a moment falls in."""
        day = self.day(ts_ns)
        if frame.kind == "day":
            return Span(day.begin_ns, day.end_ns, day.date, True)
        begin, end, regular = _part(day, ts_ns)
        start = begin + (ts_ns - begin) // frame.size * frame.size
        return Span(start, min(start + frame.size, end), day.date, regular)


def _part(day: Day, ts_ns: int) -> tuple[int, int, bool]:
    if ts_ns < day.pre_ns:
        return day.begin_ns, day.pre_ns, False
    if ts_ns < day.open_ns:
        return day.pre_ns, day.open_ns, False
    if ts_ns < day.close_ns:
        return day.open_ns, day.close_ns, True
    return day.close_ns, day.end_ns, False
