"""Tapes out of what is stored of them, when a worker takes up a partition."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.domain.bars.frames import Plans
from streams.domain.bars.prints import unpacked
from streams.domain.bars.rows import (
    BarRow,
    BarsRecord,
    CountRow,
    PrintsRow,
    SymbolRow,
    bar_key,
)
from streams.domain.bars.spans import Spans
from streams.domain.bars.tape import Bucket, Tape
from streams.models.market import Bar


@dataclass(slots=True)
class Loaded:
    """The tapes, and the bars that were closed."""

    tapes: dict[str, Tape] = field(default_factory=dict)
    closed: dict[str, BarRow] = field(default_factory=dict)

    def unsure(self, within_ns: int) -> list[Bar]:
        """Return the bars that were published within a time before the newest one."""
        bars = [row.bar for row in self.closed.values() if row.bar is not None]
        bars.sort(key=lambda bar: (bar.ts_init_ns, bar.ts_end_ns))
        return [bar for bar in bars if bar.ts_init_ns >= bars[-1].ts_init_ns - within_ns]


def load(
    state: Iterable[tuple[str, BarsRecord]], plans: Plans, keep_ns: int, spans: Spans
) -> Loaded:
    """Return what stored rows, in key order, come to.

    Rows of a symbol whose frames have changed are only listed, to be deleted.
    """
    loaded = Loaded()
    changed = False
    for key, row in state:
        symbol, _, rest = key.partition("|")
        if isinstance(row, SymbolRow):
            tape = loaded.tapes[symbol] = Tape(symbol, plans.of(symbol), keep_ns)
            tape.event_ns, tape.duplicates = row.event_ns, row.duplicates
            changed = tape.changed = row.frames != tape.plan.names
            continue
        tape, place = loaded.tapes[symbol], rest.split("|")
        if changed:
            tape.stale.append(key)
        elif isinstance(row, BarRow):
            loaded.closed[key] = row
            tape.drop_at(row.drop_ns, int(place[2]), key)
            for counted in tape.counted:
                if counted.frame.name == place[1]:
                    counted.starts.append(int(place[2]))
        elif isinstance(row, CountRow):
            next(one for one in tape.counted if one.key == key).load(row)
        elif isinstance(row, PrintsRow):
            tape.stored_at(int(place[1]), row.end_ns, int(place[2]))
            _fill(tape, int(place[1]), row, loaded.closed, spans)
    _await(loaded, spans)
    return loaded


def _fill(
    tape: Tape, start_ns: int, row: PrintsRow, closed: dict[str, BarRow], spans: Spans
) -> None:
    """Give the prints of an open bar back to it."""
    lowest = tape.plan.time[0]
    if bar_key(tape.symbol, lowest.name, start_ns) in closed:
        return
    bucket = tape.buckets.get(start_ns)
    if bucket is None:
        regular = spans.span(lowest, start_ns).regular
        bucket = tape.buckets[start_ns] = Bucket(start_ns, row.end_ns, regular)
    bucket.prints += unpacked(row.prints)
    bucket.stored = len(bucket.prints)
    bucket.newest = max(one[:2] for one in bucket.prints)
    tape.event_ns = max(tape.event_ns, bucket.newest[0])


def _await(loaded: Loaded, spans: Spans) -> None:
    """Wait for the ends of all bars that have begun and are not closed."""
    for tape in loaded.tapes.values():
        for start in tape.buckets:
            _await_from(loaded, tape, 0, start, spans)
    for key in loaded.closed:
        symbol, _, frame, begin = key.split("|")
        tape = loaded.tapes[symbol]
        levels = {one.name: level for level, one in enumerate(tape.plan.time)}
        if frame in levels:
            _await_from(loaded, tape, levels[frame] + 1, int(begin), spans)


def _await_from(loaded: Loaded, tape: Tape, lowest: int, start_ns: int, spans: Spans) -> None:
    for level, frame in enumerate(tape.plan.time):
        span = spans.span(frame, start_ns)
        known = bar_key(tape.symbol, frame.name, span.start_ns) in loaded.closed
        if level >= lowest and not known and not tape.too_late(span):
            tape.wait_for(span, level)
