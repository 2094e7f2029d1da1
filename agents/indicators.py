"""Compute the indicators that are asked for of each bar, and anew when a bar is restated.

In      market.bars, key symbol
Out     indicators, key symbol: values after each bar once the warm-up is over; the same bar with a
        higher revision, and those after it, where a restated or late bar changes what they say
State   table `indicators`: the newest bars of each symbol and frame, and the states before them;
        written here only
Twice   a redelivered bar tells what it told again, as it stands now, and changes nothing; a bar
        that is published again with the same revision does nothing
Bad     LATE_BAR: it is older than the bars that can be restated, and no indicator takes it in
"""

from collections import defaultdict
from dataclasses import dataclass, field

from streams.domain.indicators.asked import Asked
from streams.domain.indicators.rows import SeriesRow, series_key
from streams.domain.indicators.series import (
    EMPTY,
    LateError,
    Row,
    Rules,
    States,
    Told,
    again,
    message,
    states_of,
    take,
    values_of,
    was_late,
)
from streams.models.market import Bar
from streams.ports import Agent, Record, Unit
from streams.topics import INDICATORS

#: Series of a partition whose newest states are kept at hand.
MAX_AT_HAND = 5_000


@dataclass(slots=True)
class AtHand:
    """What follows from the rows of a partition: each time with the row that it follows from."""

    states: dict[str, tuple[SeriesRow, States]] = field(default_factory=dict)
    #: Values after each bar of the series that are told again.
    values: dict[str, tuple[SeriesRow, list[Row]]] = field(default_factory=dict)
    #: Series that no indicator is asked of; they have no rows.
    unasked: set[str] = field(default_factory=set)


class Indicators(Agent[SeriesRow]):
    """The indicators agent."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._partitions: defaultdict[int, AtHand] = defaultdict(AtHand)

    def step(self, unit: Unit[SeriesRow], record: Record) -> None:
        """Take one bar."""
        bar: Bar = record.value
        key, at_hand = series_key(bar.symbol, bar.frame), self._partitions[unit.partition]
        rules = self._asked.of(bar.symbol, bar.frame)
        if not rules:
            _forget(unit, at_hand, key)
            return
        row = unit.get(key) or EMPTY
        if record.redelivered:
            _tell(unit, bar, again(row, rules, _values(at_hand, key, row, rules), bar))
            if was_late(row, bar):
                unit.dead_letter(record, "LATE_BAR", str(LateError(row)))
            return
        try:
            taken = take(row, rules, _newest(at_hand, key, row, rules), bar, unit.now_ns)
        except LateError as late:
            unit.put(key, late.row)
            unit.dead_letter(record, "LATE_BAR", str(late))
            return
        if taken is not None:
            unit.put(key, taken.row)
            at_hand.states[key] = taken.row, taken.states
            _tell(unit, bar, taken.told)

    def on_batch_end(self, unit: Unit[SeriesRow]) -> None:
        """Drop what was needed to tell things again."""
        self._partitions[unit.partition].values.clear()

    def on_revoked(self, partition: int) -> None:
        """Forget what follows from the rows of a partition."""
        self._partitions.pop(partition, None)


def _newest(at_hand: AtHand, key: str, row: SeriesRow, rules: Rules) -> States:
    found = at_hand.states.get(key)
    if found is not None and found[0] is row:
        return found[1]
    if len(at_hand.states) >= MAX_AT_HAND:
        at_hand.states.clear()
    return states_of(row, rules)


def _values(at_hand: AtHand, key: str, row: SeriesRow, rules: Rules) -> list[Row]:
    found = at_hand.values.get(key)
    if found is None or found[0] is not row:
        found = at_hand.values[key] = row, values_of(row, rules)
    return found[1]


def _forget(unit: Unit[SeriesRow], at_hand: AtHand, key: str) -> None:
    """Drop the row of a series whose indicators are no longer asked for."""
    if key not in at_hand.unasked:
        at_hand.unasked.add(key)
        if unit.get(key) is not None:
            unit.delete(key)


def _tell(unit: Unit[SeriesRow], bar: Bar, told: list[Told]) -> None:
    for one in told:
        unit.emit(INDICATORS, bar.symbol, message(bar.symbol, bar.frame, one))
