"""Bars of so many prints, shares or so much money, cut when the bars of the lowest frame close.

Prints are counted in market order, so what came within the grace is in order. Prints of the same
nanosecond stay in one bar, and a print is never split: a bar ends with the prints that fill it,
so it may hold more than its frame says. No bar reaches from one trading day into the next. Once
cut, bars stay where they are: a late print restates the bar that covers its time, and one before
the first bar of its day makes a bar of its own.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import groupby
from typing import Any

from streams.domain.bars.fold import Figures, merged, of_prints
from streams.domain.bars.frames import Frame
from streams.domain.bars.prints import Print
from streams.domain.bars.rows import BarRow, CountRow, Rows, bar_key
from streams.domain.bars.spans import Span
from streams.domain.build import make
from streams.models.market import Bar

#: Prints that stand from one moment until before another.
Between = Callable[[int, int], list[Print]]
#: Stores a bar, and yields it if it says something new: frame, bounds, figures.
Publish = Callable[[Frame, Span, Figures | None], Iterator[Bar]]


def _ts(one: Print) -> int:
    return one[0]


@dataclass(slots=True)
class Counted:
    """The bars of one counted frame of one symbol."""

    symbol: str
    frame: Frame
    #: Of the bar that is open: trading day, first print, figures; start 0: none is.
    session: str = ""
    start_ns: int = 0
    figures: Figures | None = None
    #: The newest print that was counted.
    upto_ns: int = -1
    #: Where the bars that were cut begin.
    starts: list[int] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Return the key of the row that this is stored in."""
        return f"{self.symbol}|c|{self.frame.name}"

    def stored(self) -> CountRow:
        """Return what is stored of it."""
        now = self.figures._asdict() if self.figures else {}
        mine = {"session": self.session, "start_ns": self.start_ns, "upto_ns": self.upto_ns}
        return make(CountRow, **mine, **now)

    def load(self, row: CountRow) -> None:
        """Go on from what is stored."""
        self.session, self.start_ns, self.upto_ns = row.session, row.start_ns, row.upto_ns
        figures = {name: getattr(row, name) for name in Figures._fields}
        self.figures = Figures(**figures) if row.start_ns else None

    def cut(
        self, rows: Rows, span: Span, prints: list[Print], between: Between, publish: Publish
    ) -> Iterator[Bar]:
        """Count the prints of a bar of the lowest frame that was closed."""
        for ts, group in groupby(prints, _ts):
            if ts <= self.upto_ns:
                yield from self.restate(rows, span, ts, between, publish)
                continue
            yield from self._count(span, ts, of_prints(group), publish)
        rows.put(self.key, self.stored())

    def _count(
        self, span: Span, ts_ns: int, figures: Figures | None, publish: Publish
    ) -> Iterator[Bar]:
        """Add the prints of one moment, newer than all before."""
        if figures is None:
            return
        if self.start_ns and self.session != span.date:
            yield from self._close(publish)
        self.session, self.start_ns = span.date, self.start_ns or ts_ns
        self.figures, self.upto_ns = merged(self.figures, figures), ts_ns
        if self._measure() >= self.frame.size:
            yield from self._close(publish)

    def _measure(self) -> Decimal | int:
        figures = self.figures or Figures()
        if self.frame.kind == "prints":
            return figures.trades
        return figures.volume if self.frame.kind == "shares" else figures.notional

    def _close(self, publish: Publish) -> Iterator[Bar]:
        span = Span(self.start_ns, self.upto_ns + 1, self.session, False)
        insort(self.starts, self.start_ns)
        yield from publish(self.frame, span, self.figures)
        self.start_ns, self.figures = 0, None

    def restate(
        self, rows: Rows, span: Span, ts_ns: int, between: Between, publish: Publish
    ) -> Iterator[Bar]:
        """Make anew the bar that covers a moment of which something came late."""
        if ts_ns > self.upto_ns:
            figures = of_prints(between(ts_ns, ts_ns + 1))
            yield from self._count(span, ts_ns, figures, publish)
            rows.put(self.key, self.stored())
            return
        if self.start_ns and ts_ns >= self.start_ns:
            self.figures = of_prints(between(self.start_ns, self.upto_ns + 1))
            rows.put(self.key, self.stored())
            return
        place = bisect_right(self.starts, ts_ns)
        later = [*self.starts[place : place + 1], self.start_ns, self.upto_ns + 1]
        until = next(start for start in later if start)
        known = self._known(rows, self.starts[place - 1]) if place else None
        start_ns, end_ns = ts_ns, ts_ns + 1
        if known is not None and known.session == span.date:
            start_ns, end_ns = known.ts_start_ns, known.ts_end_ns
        else:
            insort(self.starts, ts_ns)
        prints = between(start_ns, until)
        end_ns = max([end_ns, *(one[0] + 1 for one in prints)])
        own = Span(start_ns, end_ns, span.date, False)
        yield from publish(self.frame, own, of_prints(prints))

    def _known(self, rows: Rows, start_ns: int) -> Bar | None:
        row: Any = rows.get(bar_key(self.symbol, self.frame.name, start_ns))
        return row.bar if isinstance(row, BarRow) else None
