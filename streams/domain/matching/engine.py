"""The matching engine of one symbol: commands and ticks in, events and changed records out.

Time is the market's. It is the newest of ticks, commands and (if the venue follows the clock)
our time, and never goes back. A command takes effect when time reaches its `ts_event_ns` plus the
venue's latency: what the market does before that comes first, so a fill can win against a cancel.
What is due at a tick's very time comes before that tick. Commands of one order take effect in the
order they came in.
"""

from collections.abc import Iterable
from heapq import heappop, heappush

from streams.domain.matching import checks
from streams.domain.matching.book import Book
from streams.domain.matching.config import DAY_NS, VenueConfig, draw
from streams.domain.matching.effects import Effects
from streams.domain.matching.hours import Hours
from streams.domain.matching.ledger import Ledger
from streams.domain.matching.matcher import Matcher
from streams.domain.matching.orders import OpenOrder, opened, order_of
from streams.domain.matching.records import (
    BookRecord,
    ClosedRecord,
    EngineRecord,
    OrderRecord,
    PendingCommand,
)
from streams.domain.refusals import Code
from streams.domain.sessions import Calendar
from streams.models.market import Quote, Trade
from streams.models.orders import (
    EventType,
    OrderEvent,
    OrderStatus,
    Refusal,
    VenueOrder,
)

_Due = tuple[int, int, OpenOrder, PendingCommand | None]


class Engine:
    """The engine of one symbol. Callers set `now_ns`, our time, before they call a method."""

    def __init__(
        self,
        symbol: str,
        config: VenueConfig,
        calendar: Calendar,
        records: Iterable[EngineRecord] = (),
    ) -> None:
        """Build an engine, from the records of an earlier one if there are any."""
        kept = list(records)
        market = next((r for r in kept if isinstance(r, BookRecord)), None)
        self.symbol = symbol
        #: Of the controls that callers know when they give an order; they set it before.
        self.controls_version = 0
        self._config = config
        self._ledger = Ledger(symbol, config)
        self._book = Book(config, market)
        self._hours = Hours(calendar, config)
        self._matcher = Matcher(self._ledger, self._book, self._hours)
        self._effects = Effects(self._ledger, self._hours, self._matcher)
        self._due: list[_Due] = []
        self._next_ns = 0
        self._moved = False
        self._restore(market, [r for r in kept if isinstance(r, OrderRecord)])

    # What comes in.

    def submit(self, order: VenueOrder, stopped: Refusal | None = None) -> Refusal | None:
        """Take a new order, whose id the venue does not know; return why it is rejected, if so.

        One that is `stopped` is rejected for that, and its id is taken all the same.
        """
        self._advance(order.ts_event_ns)
        self._moved = True
        seq, version = self._ledger.next_seq(), self.controls_version
        fresh = opened(order, seq, self._effective_ns(order), version)
        self._ledger.add(fresh)
        refusal = stopped or self._too_old(order) or checks.refusal_of(order.terms)
        if refusal is not None:
            fresh.refusal = refusal.code
            blocks = {"terms": fresh.terms, "refusal": refusal, "request_id": order.request_id}
            self._ledger.report(fresh, EventType.REJECTED, **blocks)
            self._ledger.end(fresh, OrderStatus.REJECTED)
            return refusal
        self._schedule((fresh.effective_ns, fresh.arrival, fresh, None))
        return None

    def stop_change(self, order: VenueOrder, refusal: Refusal) -> None:
        """Refuse a change of an open order; its repetition is a repetition."""
        self._advance(order.ts_event_ns)
        self._moved = True
        target = self._ledger.orders.get(order.client_order_id)
        if target is None:  # it ended while time moved on
            self.refuse(order, Code.TOO_LATE)
            return
        target.heard(order.request_id)
        self._ledger.touch(target)
        self._ledger.report_refused(target, order.command, order.request_id, refusal)

    def change(self, order: VenueOrder) -> None:
        """Take a cancel or replace of an order that is open."""
        self._advance(order.ts_event_ns)
        self._moved = True
        target = self._ledger.orders.get(order.client_order_id)
        if target is None:  # it ended while time moved on
            self.refuse(order, Code.TOO_LATE)
            return
        newest = target.commands[-1] if target.commands else target
        command = PendingCommand(
            command="cancel" if order.command == "cancel" else "replace",
            request_id=order.request_id,
            terms=order.terms,
            revision=order.revision,
            ts_requested_ns=order.ts_requested_ns,
            effective_ns=max(self._effective_ns(order), newest.effective_ns),
            seq=self._ledger.next_seq(),
        )
        target.heard(order.request_id)
        target.commands.append(command)
        self._ledger.touch(target)
        pending = order.command == "cancel"
        event = EventType.PENDING_CANCEL if pending else EventType.PENDING_REPLACE
        self._ledger.report(target, event, order.request_id, request_id=order.request_id)
        self._schedule((command.effective_ns, command.seq, target, command))

    def refuse(self, order: VenueOrder, code: str) -> None:
        """Report a cancel or replace of an order that is over, or that the venue never had."""
        self._advance(order.ts_event_ns)
        text = "the order is over" if code == Code.TOO_LATE else "no such order at the venue"
        refusal = Refusal(code=code, text=text, actual=order.client_order_id)
        stranger = opened(order, 0, 0)
        self._ledger.report_refused(stranger, order.command, order.request_id, refusal)

    def on_quote(self, quote: Quote) -> bool:
        """Take a quote; return whether there are events."""
        ts_ns, ledger = quote.ts_event_ns, self._ledger
        if ts_ns < self._next_ns or self._reach(ts_ns):
            if ts_ns > ledger.clock_ns:  # noqa: PLR1730 - `max` is a call, and this is every tick
                ledger.clock_ns = ts_ns
            self._moved = True
            if self._book.quote(quote) and ledger.orders:
                self._matcher.on_quote()
        return bool(ledger.events)

    def on_trade(self, trade: Trade) -> bool:
        """Take a print; return whether there are events."""
        ts_ns, ledger = trade.ts_event_ns, self._ledger
        if ts_ns < self._next_ns or self._reach(ts_ns):
            if ts_ns > ledger.clock_ns:  # noqa: PLR1730 - `max` is a call, and this is every tick
                ledger.clock_ns = ts_ns
            self._moved = True
            if self._book.trade(trade) and ledger.orders:
                self._matcher.on_trade()
        return bool(ledger.events)

    def on_clock(self) -> None:
        """Let our time move the venue's, where something is due by it."""
        waiting = self._next_ns or self._due
        if waiting and self._config.follow_clock and self.now_ns >= self._next_ns:
            self._advance(self.now_ns)

    def set_shift(self, shift_ns: int) -> None:
        """Move the sessions against the calendar, as the `session-shift` control says."""
        if shift_ns != self._hours.shift_ns:
            self._hours.shift_ns = shift_ns
            self._moved = True
            if self._next_ns:
                self._change_hours(self._ledger.clock_ns)

    # What goes out.

    @property
    def now_ns(self) -> int:
        """Return our time, as the caller set it."""
        return self._ledger.now_ns

    @now_ns.setter
    def now_ns(self, now_ns: int) -> None:
        self._ledger.now_ns = now_ns

    @property
    def events(self) -> list[OrderEvent]:
        """Return the events that `take_events` would take."""
        return self._ledger.events

    def take_events(self) -> list[OrderEvent]:
        """Return what happened since the last call, in order."""
        return self._ledger.take_events()

    def take_orders(self) -> list[tuple[str, OrderRecord | ClosedRecord]]:
        """Return the records of the orders that changed since the last call, by table key."""
        return self._ledger.take_changes()

    def take_market(self) -> BookRecord | None:
        """Return the market's record if it changed since the last call."""
        if not self._moved:
            return None
        self._moved = False
        ledger, shift = self._ledger, self._hours.shift_ns
        return self._book.record(self.symbol, ledger.clock_ns, shift, ledger.seq)

    def find(self, client_order_id: str) -> OpenOrder | None:
        """Return an open order, or None."""
        return self._ledger.orders.get(client_order_id)

    @property
    def next_ns(self) -> int | None:
        """Return when time next does something to an open order; None: none is open."""
        return self._next_ns if self._ledger.orders else None

    def open_orders(self) -> list[OpenOrder]:
        """Return the open orders, in order of arrival."""
        return sorted(self._ledger.orders.values(), key=lambda order: order.arrival)

    # Time.

    def _effective_ns(self, order: VenueOrder) -> int:
        config = self._config
        cancels = order.command == "cancel"
        latency = config.cancel_latency_ns if cancels else config.latency_ns
        if config.latency_jitter_ns:
            occasion = f"latency|{order.command}|{order.request_id}"
            latency += draw(config.seed, order.client_order_id, occasion, config.latency_jitter_ns)
        return order.ts_event_ns + latency

    def _schedule(self, due: _Due) -> None:
        if due[0] <= self._ledger.clock_ns:
            self._effects.apply(due[2], due[3])
            return
        heappush(self._due, due)
        self._next_ns = min(self._next_ns, due[0])
        if self._config.follow_clock and due[0] <= self.now_ns:
            self._advance(due[0])

    def _reach(self, ts_ns: int) -> bool:
        """Let time come to a tick's; return False for one that is absurdly far ahead.

        More than a day ahead of the venue's time and of ours is a broken clock somewhere: it
        would end every day order, and make all that follows late.
        """
        known = self._next_ns or self._config.follow_clock
        if known and ts_ns > max(self._ledger.clock_ns, self.now_ns) + DAY_NS:
            return False
        self._advance(ts_ns)
        return True

    def _advance(self, ts_ns: int) -> None:
        """Move time to `ts_ns`, with all that is due until then, in order of time."""
        ledger = self._ledger
        if not self._next_ns:
            ledger.clock_ns = ts_ns
            self._change_hours(ts_ns)
        while self._next_ns <= ts_ns:
            ledger.clock_ns = max(ledger.clock_ns, self._next_ns)
            if self._due and self._due[0][0] < self._hours.next_ns:
                _, _, order, command = heappop(self._due)
                self._effects.apply(order, command)
            else:
                self._end_of_hours(self._hours.next_ns)
            self._moved = True
            self._set_next()
        if ts_ns > ledger.clock_ns:
            ledger.clock_ns = ts_ns
            self._moved = True

    def _set_next(self) -> None:
        bound = self._hours.next_ns
        self._next_ns = min(bound, self._due[0][0]) if self._due else bound

    def _end_of_hours(self, ts_ns: int) -> None:
        """Cross a bound of the session: close, expire, and wake or rest the others."""
        if ts_ns == self._hours.session.close_ns:
            self._matcher.close_auction(ts_ns)
        for order in self.open_orders():
            if order.working and order.expire_ns <= ts_ns:
                self._matcher.executor.end(order, OrderStatus.EXPIRED, "its time in force is over")
        self._change_hours(ts_ns)

    def _change_hours(self, ts_ns: int) -> None:
        self._hours.move(ts_ns)
        self._matcher.requeue()
        self._set_next()
        self._moved = True

    def _too_old(self, order: VenueOrder) -> Refusal | None:
        age = self.now_ns - order.ts_approved_ns
        if not self._config.follow_clock or age <= self._config.remember_ns:
            return None
        return Refusal(
            code=Code.ORDER_TOO_OLD,
            text="approved so long ago that it may have been executed and forgotten",
            limit=f"{self._config.remember_ns} ns",
            actual=f"{age} ns",
        )

    def _restore(self, market: BookRecord | None, orders: list[OrderRecord]) -> None:
        ledger = self._ledger
        if market is not None:
            ledger.clock_ns, ledger.seq = market.clock_ns, market.seq
            self._hours.shift_ns = market.shift_ns
        for order in sorted(map(order_of, orders), key=lambda order: order.arrival):
            ledger.orders[order.client_order_id] = order
            ledger.seq = max(ledger.seq, order.arrival, *(each.seq for each in order.commands))
            if order.status is OrderStatus.PENDING_NEW:
                heappush(self._due, (order.effective_ns, order.arrival, order, None))
            for command in order.commands:
                heappush(self._due, (command.effective_ns, command.seq, order, command))
        if ledger.clock_ns:
            self._change_hours(ledger.clock_ns)
            self._moved = False
