"""One series, the bars of a symbol and frame: what a new, late or restated bar changes.

Kept are the newest bars and the states before the oldest of them. A bar among them that is
restated, or comes late, is put in its place, and all that follows is computed anew, so the values
are those of one pass over the bars as they stand. One that is older changes nothing, and is said
to be late.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from streams.domain.build import evolve, filled, make
from streams.domain.indicators.rows import Late, SeriesRow
from streams.domain.indicators.rules import Kept, Rule, State, Values
from streams.models.base import SCHEMA_VERSION
from streams.models.market import Bar
from streams.models.signals import Indicator

#: The newest bars of a series, which can be restated.
KEEP: Final = 32
#: Units of work whose outputs may not have arrived: three under way, and the one at hand. Their
#: bars are kept however many there are, so that what was said can be said again.
UNSURE_UNITS: Final = 4

Rules = Sequence[Rule]
States = list[State]
Row = list[Values | None]


class LateError(Exception):
    """The bar is older than those that can be restated. `row` remembers that it came."""

    def __init__(self, row: SeriesRow) -> None:
        super().__init__(f"{KEEP} bars of its series are newer; no indicator was restated")
        self.row = row


class Told(NamedTuple):
    """The values of an indicator after a bar; None withdraws those that were told before."""

    rule: Rule
    bar: Kept
    values: Values | None


class Taken(NamedTuple):
    """What became of a bar: the row, the states after its newest bar, what there is to tell."""

    row: SeriesRow
    states: States
    told: list[Told]


def states_of(row: SeriesRow, rules: Rules) -> States:
    """Return the states after the newest bar."""
    states, _ = _run(rules, _base(row, rules), row.bars)
    return states


def take(row: SeriesRow, rules: Rules, states: States, bar: Bar, now_ns: int) -> Taken | None:
    """Take a bar; None if it says nothing new. Raises LateError."""
    start, bars = bar.ts_start_ns, row.bars
    if not bars or start > bars[-1].start_ns:
        kept = _kept(bar, 1, now_ns)
        states, values = _step(rules, states, kept)
        return Taken(
            _with(row, rules, (*bars, kept), bar, now_ns), states, _all(rules, kept, values)
        )
    place, known = _place(bars, start)
    if known is not None and bar.rev <= known.bar_rev:
        return None
    if len(bars) - place >= KEEP + (known is not None):
        if _told_before(row, bar):
            return None
        raise LateError(_late(row, bar, now_ns))
    return _restated(row, rules, place, known, bar, now_ns)


def values_of(row: SeriesRow, rules: Rules) -> list[Row]:
    """Return the values after each bar that is kept."""
    _, rows = _run(rules, _base(row, rules), row.bars)
    return rows


def again(row: SeriesRow, rules: Rules, rows: list[Row], bar: Bar) -> list[Told]:
    """Return what was told when a bar came, as it stands now; nothing if that is long ago.

    `rows` are the values after each bar that is kept.
    """
    place, known = _place(row.bars, bar.ts_start_ns)
    if known is None:
        return []
    told = []
    for kept, values in zip(row.bars[place:], rows[place:], strict=True):
        if kept is known or kept.rev > 1:
            told += _all(rules, kept, values, withdrawn=kept.rev > 1)
    return told


def was_late(row: SeriesRow, bar: Bar) -> bool:
    """Return whether a bar was said to be late, not long ago."""
    return any(one[:2] == (bar.ts_start_ns, bar.rev) for one in row.late)


def message(symbol: str, frame: str, told: Told) -> Indicator:
    """Return the record of what is told."""
    rule, bar, values = told
    return filled(
        Indicator,
        {
            "schema_version": SCHEMA_VERSION,
            "symbol": symbol,
            "frame": frame,
            "name": rule.name,
            "ts_start_ns": bar.start_ns,
            "ts_end_ns": bar.end_ns,
            "rev": bar.rev,
            "values": dict(zip(rule.outputs, values, strict=True)) if values is not None else {},
            "ts_init_ns": bar.told_ns,
        },
    )


def _kept(bar: Bar, rev: int, now_ns: int) -> Kept:
    return Kept(
        start_ns=bar.ts_start_ns,
        end_ns=bar.ts_end_ns,
        session=bar.session,
        bar_rev=bar.rev,
        rev=rev,
        told_ns=now_ns,
        open=None if bar.open is None else float(bar.open),
        high=None if bar.high is None else float(bar.high),
        low=None if bar.low is None else float(bar.low),
        close=None if bar.close is None else float(bar.close),
        volume=float(bar.volume),
        shares=bar.volume,
        notional=bar.notional,
    )


def _base(row: SeriesRow, rules: Rules) -> States:
    """Return the states before the oldest bar; an indicator that is new begins there."""
    return [row.base.get(rule.name, rule.start) for rule in rules]


def _step(rules: Rules, states: States, bar: Kept) -> tuple[States, Row]:
    after: States = []
    values: Row = []
    for rule, state in zip(rules, states, strict=True):
        state, value = rule.step(state, bar)  # noqa: PLW2901 - the next one of this rule
        after.append(state)
        values.append(value)
    return after, values


def _run(rules: Rules, states: States, bars: Sequence[Kept]) -> tuple[States, list[Row]]:
    rows = []
    for bar in bars:
        states, values = _step(rules, states, bar)
        rows.append(values)
    return states, rows


def _all(rules: Rules, bar: Kept, values: Row, *, withdrawn: bool = False) -> list[Told]:
    pairs = zip(rules, values, strict=True)
    return [Told(rule, bar, one) for rule, one in pairs if one is not None or withdrawn]


def _place(bars: Sequence[Kept], start_ns: int) -> tuple[int, Kept | None]:
    """Return where a bar belongs, and the one that is there if it has the same start."""
    place = len(bars)
    while place and bars[place - 1].start_ns >= start_ns:
        place -= 1
    if place < len(bars) and bars[place].start_ns == start_ns:
        return place, bars[place]
    return place, None


def _told_before(row: SeriesRow, bar: Bar) -> bool:
    """Return whether an old bar is one that is published again, as the bars agent does at start.

    Then it is as old as it says. One that was made along with the newest bar is taken for that
    too, unless it is restated.
    """
    along = bar.ts_init_ns == row.upto_ns and bar.rev == 1
    return bar.ts_init_ns < row.upto_ns or along or was_late(row, bar)


def _late(row: SeriesRow, bar: Bar, now_ns: int) -> SeriesRow:
    units = _units(row, now_ns)
    late = [one for one in row.late if one.told_ns in units]
    fresh = Late(bar.ts_start_ns, bar.rev, now_ns)
    return evolve(row, units=units, late=(*late, fresh))


def _restated(
    row: SeriesRow, rules: Rules, place: int, known: Kept | None, bar: Bar, now_ns: int
) -> Taken:
    base, bars = _base(row, rules), list(row.bars)
    _, before = _run(rules, base, bars)
    bars[place : place + (known is not None)] = [_kept(bar, 1, now_ns)]
    if known is None:
        before.insert(place, [None] * len(rules))
    else:
        bars[place] = bars[place]._replace(rev=known.rev, told_ns=known.told_ns)
    states, after = _run(rules, base, bars)
    told: list[Told] = []
    for at in range(place, len(bars)):
        if before[at] != after[at]:
            fresh = known is None and at == place
            rev = bars[at].rev + (not fresh)
            bars[at] = bars[at]._replace(rev=rev, told_ns=now_ns)
            told += _changes(rules, bars[at], before[at], after[at])
    return Taken(_with(row, rules, tuple(bars), bar, now_ns), states, told)


def _changes(rules: Rules, bar: Kept, before: Row, after: Row) -> Iterator[Told]:
    for rule, old, new in zip(rules, before, after, strict=True):
        if old != new:
            yield Told(rule, bar, new)


def _units(row: SeriesRow, now_ns: int) -> tuple[int, ...]:
    if row.units[-1:] == (now_ns,):
        return row.units
    return (*row.units[1 - UNSURE_UNITS :], now_ns)


def _with(row: SeriesRow, rules: Rules, bars: tuple[Kept, ...], bar: Bar, now_ns: int) -> SeriesRow:
    """Return the row with these bars, without those that need not be kept any more."""
    units, base = _units(row, now_ns), row.base
    drop, most = 0, len(bars) - KEEP
    while drop < most and bars[drop].told_ns not in units:
        drop += 1
    if drop:
        states, _ = _run(rules, _base(row, rules), bars[:drop])
        base = dict(zip((rule.name for rule in rules), states, strict=True))
        bars = bars[drop:]
    late = row.late and tuple(one for one in row.late if one.told_ns in units)
    upto_ns = max(row.upto_ns, bar.ts_init_ns)
    return make(SeriesRow, base=base, bars=bars, units=units, upto_ns=upto_ns, late=late)


EMPTY: Final = make(SeriesRow, base={})
