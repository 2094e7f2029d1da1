"""The tapes of one partition: prints in, bars out, and what is stored so that nothing is lost.

All that follows from a print follows before the next one is looked at, so how prints are cut into
batches changes nothing.
"""

from collections.abc import Callable, Iterable
from typing import Final

from streams.domain.bars.conditions import CANCELED, EXTENDED, in_phase, rights
from streams.domain.bars.frames import SECOND_NS, Plans
from streams.domain.bars.loading import load
from streams.domain.bars.prints import escaped
from streams.domain.bars.rows import BarsRecord, Rows
from streams.domain.bars.spans import DAY_NS, Spans
from streams.domain.bars.tape import GRACE_NS, Bucket, Tape
from streams.domain.decimals import ZERO
from streams.models.market import Bar, Trade

#: What was published within this time before the newest may not have arrived; longer than a unit
#: of work can take.
UNSURE_NS: Final = 60 * 1_000_000_000
#: Bars forgotten per symbol and batch at most, with their prints.
MAX_DROPPED: Final = 10
#: Symbols whose bars one run of the timer closes; the others follow with the next one.
MAX_CLOSING: Final = 500

Emit = Callable[[Bar], None]


class RefusedError(Exception):
    """Set the print aside: it can be in no bar. `code` and `text` say why."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class Keeper:
    """The tapes of one partition. `keep_ns`: for how long a bar can be restated."""

    def __init__(self, plans: Plans, keep_ns: int, spans: Spans) -> None:
        self.spans = spans
        self.tapes: dict[str, Tape] = {}
        self._plans = plans
        self._keep_ns = keep_ns
        self._touched: dict[str, Tape] = {}
        self._clock_ns = 0
        self._wall_ns = 0
        #: Bars to be published again: nobody knows whether they arrived.
        self.again: list[Bar] = []

    # In one piece: a call costs a tenth of all that is done for a print.
    def take(  # noqa: C901, PLR0912
        self, rows: Rows, trade: Trade, offset: int, emit: Emit
    ) -> None:
        """Take one print; raises RefusedError for one that can be in no bar."""
        fields = trade.__dict__
        symbol, ts, seq = fields["symbol"], fields["ts_event_ns"], fields["seq"]
        price, size = fields["price"], fields["size"]
        if price <= ZERO or size <= ZERO:
            raise RefusedError("BAD_PRINT", f"price {price} and size {size} must be above 0")
        tape = self._touched.get(symbol) or self._touch(rows, symbol)
        bucket = tape.bucket
        if not bucket.start <= ts < bucket.end:
            bucket = self._enter(rows, tape, ts)
        exchange, amends, right = fields["exchange"], 0, rights(fields["conditions"])
        if not exchange.isalnum():
            exchange = escaped(exchange)
        if right & EXTENDED:
            right = in_phase(right, regular=bucket.regular)
        if fields["suspicious"]:
            right = 0
        if fields["correction_of"] is not None or fields["canceled"]:
            amends, right = _amendment(trade, right)
        if (ts, seq) > bucket.newest:
            bucket.newest = ts, seq
        elif seq and bucket.has(ts, seq, exchange):
            tape.duplicates, tape.changed = tape.duplicates + 1, True
            return
        bucket.prints.append((ts, seq, exchange, offset, price, size, right, amends))
        if bucket.closed:
            for bar in tape.restate(rows, self.spans, bucket):
                emit(bar)
        if ts > tape.event_ns:
            tape.event_ns = ts
            if ts >= tape.due_ns:
                for bar in tape.advance(rows, self.spans, ts):
                    emit(bar)

    def _touch(self, rows: Rows, symbol: str) -> Tape:
        tape = self.tapes.get(symbol)
        if tape is None:
            tape = self.tapes[symbol] = Tape(symbol, self._plans.of(symbol), self._keep_ns)
        for key in tape.stale:
            rows.delete(key)
        tape.stale.clear()
        self._touched[symbol] = tape
        return tape

    def _enter(self, rows: Rows, tape: Tape, ts_ns: int) -> Bucket:
        """Return the bucket of a moment; raises RefusedError if nothing can be taken for it."""
        if ts_ns > rows.now_ns + DAY_NS:
            raise RefusedError("FUTURE", f"venue time {ts_ns} is more than a day ahead")
        try:
            span = self.spans.span(tape.plan.time[0], ts_ns)
        except ValueError as error:
            raise RefusedError("NO_SESSION", str(error)) from None
        if tape.too_late(span):
            behind_s = (tape.event_ns - ts_ns) // SECOND_NS
            raise RefusedError("LATE_TRADE", f"{behind_s} s behind {tape.symbol}; its bar stands")
        return tape.enter(rows, self.spans, span)

    def store(self, rows: Rows) -> None:
        """Put into rows what the prints since the last time have changed."""
        for tape in self._touched.values():
            for bucket in tape.buckets.values():
                if bucket.stored < len(bucket.prints):
                    tape.store(rows, bucket)
            if tape.drops and tape.drops[0][0] <= tape.event_ns:
                tape.drop(rows, MAX_DROPPED)
            self._clock_ns = max(self._clock_ns, tape.event_ns)
            tape.wall_ns = self._wall_ns = rows.now_ns
            if tape.changed:
                tape.store_own(rows)
        self._touched.clear()

    def on_time(self, rows: Rows, emit: Emit) -> None:
        """Close the bars of silent symbols.

        A symbol's time goes on with ours from its last print, but no further than that of all
        symbols: what a worker has still to catch up with is waited for.
        """
        self._wall_ns = self._wall_ns or rows.now_ns
        general = self._clock_ns + rows.now_ns - self._wall_ns
        closing = 0
        for tape in self.tapes.values():
            tape.wall_ns = tape.wall_ns or rows.now_ns
            clock = min(general, tape.event_ns + rows.now_ns - tape.wall_ns)
            if clock >= tape.due_ns:
                for bar in tape.advance(rows, self.spans, clock):
                    emit(bar)
                tape.store_own(rows)
                closing += 1
                if closing == MAX_CLOSING:
                    return

    def quiet_until(self, ts_ns: int) -> int:
        """Return a time before which prints from `ts_ns` on, in order of time, close no bar."""
        until = min((tape.due_ns for tape in self.tapes.values()), default=ts_ns + DAY_NS)
        for plan in {id(tape.plan): tape.plan for tape in self.tapes.values()}.values():
            try:
                until = min(until, self.spans.span(plan.time[0], ts_ns).end_ns + GRACE_NS)
            except ValueError:  # no session is known; such prints are set aside
                continue
        return until

    def take_again(self) -> Iterable[Bar]:
        """Return, once, what has to be published again."""
        again, self.again = self.again, []
        return again

    def load(self, state: Iterable[tuple[str, BarsRecord]]) -> None:
        """Take up what is stored, in key order. Our time is taken when it is first known."""
        loaded = load(state, self._plans, self._keep_ns, self.spans)
        self.tapes = loaded.tapes
        self.again = loaded.unsure(UNSURE_NS)
        clocks = [tape.event_ns for tape in self.tapes.values()]
        self._clock_ns = max(clocks, default=0)


def _amendment(trade: Trade, right: int) -> tuple[int, int]:
    """Return which print a correction or cancel is about, and what it may do."""
    amends = trade.correction_of
    if amends is None or amends >= trade.seq:
        text = f"seq {trade.seq} cannot correct seq {amends}: it must name an earlier one"
        raise RefusedError("BAD_PRINT", text)
    return amends, CANCELED if trade.canceled else right
