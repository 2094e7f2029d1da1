"""One symbol: its clock, the prints of its open bars, and what its bars come to.

A bar is final when the symbol's clock has passed its end by the grace. The clock is venue time,
the newest of the symbol's prints; a silent symbol's goes on with ours. What comes later restates
the bar, and those made of it, with a revision each.
"""

import heapq
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from streams.domain.bars.counted import Between, Counted, Publish
from streams.domain.bars.fold import NOTHING, Figures, of_bars, of_prints
from streams.domain.bars.frames import SECOND_NS, Frame, Plan
from streams.domain.bars.prints import Print, packed, standing, unpacked
from streams.domain.bars.rows import BarRow, PrintsRow, Rows, SymbolRow, bar_key, prints_key
from streams.domain.bars.spans import Span, Spans
from streams.domain.build import make
from streams.models.market import Bar

#: How long after its end a bar waits for prints that come late.
GRACE_NS: Final = 2 * SECOND_NS
_NEVER: Final = 2**63


@dataclass(slots=True)
class Bucket:
    """The prints of one bar of the lowest frame; `stored` of them are in rows already."""

    start: int
    end: int
    regular: bool
    prints: list[Print] = field(default_factory=list)
    stored: int = 0
    newest: tuple[int, int] = (-1, -1)
    closed: bool = False
    _seen: set[tuple[int, int, str]] = field(default_factory=set)
    _looked: int = 0

    def has(self, ts_ns: int, seq: int, exchange: str) -> bool:
        """Return whether a numbered print is here already."""
        for one in self.prints[self._looked :]:
            self._seen.add(one[:3])
        self._looked = len(self.prints)
        return (ts_ns, seq, exchange) in self._seen


@dataclass(slots=True)
class Tape:
    """One symbol's bars. `keep_ns`: for how long a bar can be restated."""

    symbol: str
    plan: Plan
    keep_ns: int
    event_ns: int = 0
    wall_ns: int = 0
    duplicates: int = 0
    #: Whether the symbol's own row has to be stored: the prints that are stored tell the rest.
    changed: bool = True
    bucket: Bucket = field(default_factory=lambda: Bucket(0, 0, False))
    buckets: dict[int, Bucket] = field(default_factory=dict)
    #: Bars that have begun and are not closed: (end, level in the plan, start).
    open: list[tuple[int, int, int]] = field(default_factory=list)
    due_ns: int = _NEVER
    #: Where the rows of prints begin, by the start of their bar.
    chunks: dict[int, "array[int]"] = field(default_factory=dict)
    #: What to delete when the clock has come so far: a bar's key, or the prints of a bar.
    drops: list[tuple[int, int, str]] = field(default_factory=list)
    #: The bars of each counted frame.
    counted: list[Counted] = field(init=False)
    #: Rows of frames that are no longer asked for.
    stale: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.counted = [Counted(self.symbol, frame) for frame in self.plan.counted]

    def too_late(self, span: Span) -> bool:
        """Return whether a bar can no longer be restated."""
        return span.end_ns <= self.event_ns - self.keep_ns

    def enter(self, rows: Rows, spans: Spans, span: Span) -> Bucket:
        """Return the bucket of a bar of the lowest frame, and make it the one at hand."""
        bucket = self.buckets.get(span.start_ns)
        if bucket is None:
            bucket = self._found(rows, span)
            if not bucket.closed:
                self.buckets[span.start_ns] = bucket
                self._begin(rows, spans, span)
        self.bucket = bucket
        return bucket

    def _found(self, rows: Rows, span: Span) -> Bucket:
        """Return a bucket with the prints that rows hold of it; most often there are none."""
        bucket = Bucket(span.start_ns, span.end_ns, span.regular)
        key = bar_key(self.symbol, self.plan.time[0].name, span.start_ns)
        bucket.closed = rows.get(key) is not None
        if bucket.closed:
            bucket.prints = self._read(rows, span.start_ns)
        bucket.stored = len(bucket.prints)
        bucket.newest = max((one[:2] for one in bucket.prints), default=(-1, -1))
        return bucket

    def _read(self, rows: Rows, start_ns: int) -> list[Print]:
        """Return the prints of a bar of the lowest frame that rows hold."""
        found: list[Print] = []
        for offset in self.chunks.get(start_ns, ()):
            found += unpacked(rows.get(prints_key(self.symbol, start_ns, offset)).prints)
        return found

    def _begin(self, rows: Rows, spans: Spans, base: Span) -> None:
        """Wait for the end of every bar that a new one of the lowest frame is part of."""
        for level, frame in enumerate(self.plan.time):
            span = spans.span(frame, base.start_ns)
            known = rows.get(bar_key(self.symbol, frame.name, span.start_ns)) is not None
            if not known:
                self.wait_for(span, level)

    def wait_for(self, span: Span, level: int) -> None:
        """Close a bar when its time has come."""
        entry = (span.end_ns, level, span.start_ns)
        if entry not in self.open:
            heapq.heappush(self.open, entry)
            self.due_ns = self.open[0][0] + GRACE_NS

    def drop_at(self, ts_ns: int, start_ns: int, key: str = "") -> None:
        """Delete a row, or the prints of a bar, when the symbol's clock has come so far."""
        heapq.heappush(self.drops, (ts_ns, start_ns, key))

    def stored_at(self, start_ns: int, end_ns: int, offset: int) -> None:
        """Know of a row of prints of the bar with these bounds."""
        if start_ns not in self.chunks:
            self.chunks[start_ns] = array("q")
            self.drop_at(end_ns + self.keep_ns, start_ns)
        self.chunks[start_ns].append(offset)

    def advance(self, rows: Rows, spans: Spans, clock_ns: int) -> Iterator[Bar]:
        """Close the bars whose end the clock has passed by the grace, smaller ones first."""
        while self.open and self.open[0][0] + GRACE_NS <= clock_ns:
            self.changed = True
            _, level, start = heapq.heappop(self.open)
            self.due_ns = self.open[0][0] + GRACE_NS if self.open else _NEVER
            if level == 0:
                yield from self._close(rows, spans, self.buckets.pop(start))
            else:
                figures = self._of_lower(rows, spans, level, start)
                yield from self._publish(rows, spans, level, start, figures)

    def _close(self, rows: Rows, spans: Spans, bucket: Bucket) -> Iterator[Bar]:
        self.store(rows, bucket)
        bucket.closed = True
        prints = standing(bucket.prints)
        yield from self._publish(rows, spans, 0, bucket.start, of_prints(prints))
        for counted in self.counted:
            span = spans.span(self.plan.time[0], bucket.start)
            between, publish = self._between(rows, bucket), self._publisher(rows)
            yield from counted.cut(rows, span, prints, between, publish)

    def restate(self, rows: Rows, spans: Spans, bucket: Bucket) -> Iterator[Bar]:
        """Make a closed bar anew, and all that are made of it."""
        self.store(rows, bucket)
        self.changed = True
        figures = of_prints(standing(bucket.prints))
        yield from self._publish(rows, spans, 0, bucket.start, figures)
        for counted in self.counted:
            span = spans.span(self.plan.time[0], bucket.start)
            between, publish = self._between(rows, bucket), self._publisher(rows)
            ts = bucket.prints[-1][0]
            yield from counted.restate(rows, span, ts, between, publish)

    def _between(self, rows: Rows, at_hand: Bucket) -> Between:
        """Return what gives the prints of closed bars that stand in a span of time."""

        def between(from_ns: int, until_ns: int) -> list[Print]:
            found: list[Print] = []
            for start in [one for one in self.chunks if one < until_ns]:
                if start in self.buckets:
                    continue
                found += at_hand.prints if start == at_hand.start else self._read(rows, start)
            return standing([one for one in found if from_ns <= one[0] < until_ns])

        return between

    def _publisher(self, rows: Rows) -> Publish:
        def publish(frame: Frame, span: Span, figures: Figures | None) -> Iterator[Bar]:
            key = bar_key(self.symbol, frame.name, span.start_ns)
            before = rows.get(key)
            known = before.bar if isinstance(before, BarRow) else None
            bar = _bar(self.symbol, frame.name, span, figures, known, rows.now_ns)
            if bar is None or bar is known:
                return
            drop_ns = span.end_ns + self.keep_ns
            rows.put(key, make(BarRow, bar=bar, drop_ns=drop_ns))
            if before is None:
                self.drop_at(drop_ns, span.start_ns, key)
            yield bar

        return publish

    def _of_lower(self, rows: Rows, spans: Spans, level: int, start: int) -> Figures | None:
        frame, lower = self.plan.time[level], self.plan.time[level - 1]
        whole = spans.span(frame, start)
        return of_bars(self._children(rows, spans, lower, whole, frame.kind == "day"))

    def _children(
        self, rows: Rows, spans: Spans, lower: Frame, whole: Span, by_day: bool
    ) -> Iterator[tuple[Bar, bool]]:
        at = whole.start_ns
        while at < whole.end_ns:
            span = spans.span(lower, at)
            row = rows.get(bar_key(self.symbol, lower.name, span.start_ns))
            if isinstance(row, BarRow) and row.bar is not None:
                yield row.bar, span.regular or not by_day
            at = span.end_ns

    def _publish(
        self, rows: Rows, spans: Spans, level: int, start: int, figures: Figures | None
    ) -> Iterator[Bar]:
        """Store a bar, and yield it if it says something new; then the closed ones above it."""
        frame = self.plan.time[level]
        key = bar_key(self.symbol, frame.name, start)
        before = rows.get(key)
        known = before.bar if isinstance(before, BarRow) else None
        span = spans.span(frame, start)
        bar = _bar(self.symbol, frame.name, span, figures, known, rows.now_ns)
        if before is not None and bar is known:
            return
        drop_ns = self._drop_ns(spans, level, span)
        rows.put(key, make(BarRow, bar=bar, drop_ns=drop_ns))
        if before is None:
            self.drop_at(drop_ns, start, key)
        if bar is not None:
            yield bar
        if level + 1 < len(self.plan.time):
            above = spans.span(self.plan.time[level + 1], start).start_ns
            if rows.get(bar_key(self.symbol, self.plan.time[level + 1].name, above)) is not None:
                lower = self._of_lower(rows, spans, level + 1, above)
                yield from self._publish(rows, spans, level + 1, above, lower)

    def _drop_ns(self, spans: Spans, level: int, span: Span) -> int:
        """A bar is needed for as long as the one above it can be restated."""
        above = min(level + 1, len(self.plan.time) - 1)
        return spans.span(self.plan.time[above], span.start_ns).end_ns + self.keep_ns

    def store(self, rows: Rows, bucket: Bucket) -> None:
        """Put into rows the prints that are not there yet."""
        fresh = bucket.prints[bucket.stored :]
        if fresh:
            key = prints_key(self.symbol, bucket.start, fresh[0][3])
            rows.put(key, make(PrintsRow, end_ns=bucket.end, prints=packed(fresh)))
            bucket.stored = len(bucket.prints)
            self.stored_at(bucket.start, bucket.end, fresh[0][3])

    def store_own(self, rows: Rows) -> None:
        """Put the symbol's own row."""
        row = make(
            SymbolRow,
            frames=self.plan.names,
            event_ns=self.event_ns,
            duplicates=self.duplicates,
        )
        rows.put(self.symbol, row)
        self.changed = False

    def drop(self, rows: Rows, most: int) -> None:
        """Delete what is no longer needed, of so many bars at most."""
        for _ in range(most):
            if not self.drops or self.drops[0][0] > self.event_ns:
                return
            _, start, key = heapq.heappop(self.drops)
            if key:
                rows.delete(key)
                continue
            for offset in self.chunks.pop(start, ()):
                rows.delete(prints_key(self.symbol, start, offset))


def _bar(
    symbol: str, frame: str, span: Span, figures: Figures | None, known: Bar | None, now_ns: int
) -> Bar | None:
    """Return a bar of these figures: the one that is known if it says the same."""
    if known is None and figures is None:
        return None
    now = figures or NOTHING
    if known is not None and now == _figures(known):
        return known
    return make(
        Bar,
        symbol=symbol,
        frame=frame,
        session=span.date,
        ts_start_ns=span.start_ns,
        ts_end_ns=span.end_ns,
        status="final" if known is None else "revised",
        rev=1 if known is None else known.rev + 1,
        **now._asdict(),
        vwap=now.vwap,
        ts_init_ns=now_ns,
    )


def _figures(bar: Bar) -> Figures:
    return Figures(bar.open, bar.high, bar.low, bar.close, bar.volume, bar.notional, bar.trades)
