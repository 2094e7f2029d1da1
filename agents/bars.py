"""Make bars of each symbol's prints, final when their time is over, restated by what comes late.

In      market.trades, key symbol
Out     market.bars, key symbol: each bar when it is final, and again, with the next revision,
        whenever a late print, a correction or a cancel changes what it says
State   table `bars`: the prints that can still be corrected, the bars that can still be restated,
        each symbol's clock; written here only
Twice   a redelivered print changes nothing; a worker that starts publishes the bars of the last
        minute again, equal to those before. A print that the source numbers counts once
Bad     LATE_TRADE: its bar can no longer be restated; BAD_PRINT: a correction of a later print, or
        to no price or size above 0; FUTURE: one of more than a day ahead; NO_SESSION: in no known
        year. A print that is as bad and corrects none is in no bar; prices counts it as refused
"""

from collections.abc import Callable, Iterable, Sequence

from streams.domain.bars.frames import Plans
from streams.domain.bars.keeper import Keeper, RefusedError
from streams.domain.bars.rows import BarsRecord
from streams.domain.bars.spans import Spans
from streams.domain.controls import ControlSet
from streams.domain.sessions import Calendar
from streams.models.market import Bar
from streams.ports import BulkAgent, Record, Unit
from streams.topics import MARKET_BARS

#: What the checks of ticks refuse too: counted there, so that a broken feed is no flood of letters.
COUNTED = frozenset({"BAD_PRINT", "FUTURE"})


class Bars(BulkAgent[BarsRecord]):
    """The bars agent. `keep_ns`: for how long after its end a bar can be restated."""

    def __init__(
        self, plans: Plans, keep_ns: int, calendar: Calendar, controls: Callable[[], ControlSet]
    ) -> None:
        self._plans = plans
        self._keep_ns = keep_ns
        self._calendar = calendar
        self._controls = controls
        self._spans = Spans(calendar)
        self._keepers: dict[int, Keeper] = {}

    def fold(self, unit: Unit[BarsRecord], records: Sequence[Record]) -> None:
        """Take prints, and store what they change before this returns."""
        keeper = self._keeper(unit.partition)
        emit = _emitting(unit)
        self._publish_again(unit, keeper)
        for record in records:
            if record.redelivered:
                continue
            try:
                keeper.take(unit, record.value, record.offset, emit)
            except RefusedError as refused:
                if refused.code not in COUNTED or record.value.amends:
                    unit.dead_letter(record, refused.code, refused.text)
        keeper.store(unit)

    def on_timer(self, unit: Unit[BarsRecord]) -> None:
        """Close the bars of silent symbols."""
        keeper = self._keeper(unit.partition)
        self._publish_again(unit, keeper)
        keeper.on_time(unit, _emitting(unit))

    def quiet_until(self, partition: int, ts_ns: int) -> int:
        """Return when the next bar may close."""
        return self._keeper(partition).quiet_until(ts_ns)

    def on_assigned(self, partition: int, state: Iterable[tuple[str, BarsRecord]]) -> None:
        """Take up what is stored of a partition; its time goes on with the first unit."""
        self._keepers.pop(partition, None)
        self._keeper(partition).load(state)

    def on_revoked(self, partition: int) -> None:
        """Forget a partition."""
        self._keepers.pop(partition, None)

    def _keeper(self, partition: int) -> Keeper:
        shift_ns = self._controls().session_shift_ns()
        if shift_ns != self._spans.shift_ns:
            self._spans = Spans(self._calendar, shift_ns)
        keeper = self._keepers.get(partition)
        if keeper is None:
            keeper = self._keepers[partition] = Keeper(self._plans, self._keep_ns, self._spans)
        keeper.spans = self._spans
        return keeper

    def _publish_again(self, unit: Unit[BarsRecord], keeper: Keeper) -> None:
        for bar in keeper.take_again():
            unit.emit(MARKET_BARS, bar.symbol, bar)


def _emitting(unit: Unit[BarsRecord]) -> Callable[[Bar], None]:
    def emit(bar: Bar) -> None:
        unit.emit(MARKET_BARS, bar.symbol, bar)

    return emit
