"""The virtual broker: the broker port on matching engines, one per symbol, in this process.

It has no connection and no journal of its own: the table of the gateway is its memory. A closed
order is looked up there (`bind`); open ones are in their engine.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from streams.broker import Ack, BrokerEvent, BrokerOrder, Outcome
from streams.domain.capabilities import VIRTUAL, Capabilities
from streams.domain.matching.config import VenueConfig
from streams.domain.matching.engine import Engine
from streams.domain.matching.orders import OpenOrder, content_of
from streams.domain.matching.records import BookRecord, ClosedRecord, EngineRecord, OrderRecord
from streams.domain.refusals import Code
from streams.domain.sessions import Calendar
from streams.models.market import Quote, Trade
from streams.models.orders import OrderEvent, OrderStatus, Refusal, VenueOrder

_Known = OpenOrder | ClosedRecord


class VirtualBroker:
    """The virtual venue as a broker. Implements `streams.broker.VenueInProcess`."""

    caps: Capabilities = VIRTUAL

    def __init__(self, config: VenueConfig, calendar: Calendar) -> None:
        self._config = config
        self._calendar = calendar
        self._engines: dict[str, Engine] = {}
        self._used: dict[str, Engine] = {}
        #: Engines that know what `bind` gave, and are among those used.
        self._bound: dict[str, Engine] = {}
        self._lookup: Callable[[str], object] = _nothing
        self._now_ns = 0
        self._shift_ns = 0
        self._controls_version = 0
        self._happened: list[OrderEvent] = []
        self._yielded = 0
        self._news = asyncio.Event()

    # The broker port.

    async def start(self, cursor: str | None) -> None:
        """Do nothing: there is nothing to connect to, and the table holds what was."""

    async def stop(self) -> None:
        """Do nothing: orders work on when their symbol is loaded again."""

    async def submit(self, order: VenueOrder) -> Ack:
        """Send a new order."""
        return self._submit(order)

    def refuse(self, order: VenueOrder, refusal: Refusal) -> Ack:
        """Refuse a new order, or a replace that asks for more, before the venue works on it."""
        if order.command == "submit":
            return self._submit(order, refusal)
        return self._change(order, refusal)

    def asks_for_more(self, order: VenueOrder) -> bool:
        """Return whether a command would let more trade than the venue was given before."""
        if order.command == "submit":
            return True
        if order.command == "cancel":
            return False
        known, qty = self._find(order), order.terms.qty
        before = None if known is None else known.qty
        return before is not None and qty is not None and qty > before

    def _submit(self, order: VenueOrder, stopped: Refusal | None = None) -> Ack:
        known = self._find(order)
        if known is not None:
            return _repeated(order, known)
        refusal = self._engine(order.terms.symbol).submit(order, stopped)
        self._collect(order.terms.symbol)
        if refusal is not None:
            return Ack(Outcome.REJECTED, order.client_order_id, refusal.code, refusal.text)
        return Ack(Outcome.ACCEPTED, order.client_order_id)

    async def cancel(self, order: VenueOrder) -> Ack:
        """Ask to cancel."""
        return self._change(order)

    async def replace(self, order: VenueOrder) -> Ack:
        """Ask to change."""
        return self._change(order)

    async def find(self, order: VenueOrder) -> BrokerOrder | None:
        """Return the order of this `client_order_id` and symbol, or None."""
        known = self._find(order)
        return None if known is None else _shown(known)

    async def open_orders(self) -> list[BrokerOrder]:
        """Return the open orders of the loaded symbols, by symbol and arrival."""
        return [order for symbol in sorted(self._engines) for order in self.orders_of(symbol)]

    async def events(self) -> AsyncIterator[BrokerEvent]:
        """Yield what happens, once; the cursor is the number of the event in this process."""
        while True:
            happened = self.take_events()
            if not happened:
                self._news.clear()
                await self._news.wait()
            for event in happened:
                self._yielded += 1
                yield BrokerEvent(event, str(self._yielded))

    # What the gateway drives besides.

    def bind(
        self,
        lookup: Callable[[str], object],
        now_ns: int,
        shift_ns: int,
        controls_version: int = 0,
    ) -> None:
        """Take what holds until the next call."""
        self._lookup = lookup
        self._now_ns = now_ns
        self._shift_ns = shift_ns
        self._controls_version = controls_version
        self._bound.clear()

    def tick(self, tick: Trade | Quote) -> bool:
        """Take market data; return whether there are events to take."""
        engine = self._bound.get(tick.symbol) or self._engine(tick.symbol)
        if engine.on_trade(tick) if isinstance(tick, Trade) else engine.on_quote(tick):
            self._collect(tick.symbol)
        return bool(self._happened)

    def on_clock(self, symbols: Iterable[str]) -> None:
        """Let our time move the venue's for these symbols."""
        for symbol in symbols:
            if symbol in self._engines:
                self._engine(symbol).on_clock()
                self._collect(symbol)

    def next_ns(self, symbols: Iterable[str]) -> int | None:
        """Return when time next does something to open orders of these symbols; None: none are."""
        engines = [self._engines[symbol] for symbol in symbols if symbol in self._engines]
        return min((one.next_ns for one in engines if one.next_ns is not None), default=None)

    def orders_of(self, symbol: str) -> list[BrokerOrder]:
        """Return the open orders of a symbol, by arrival; none if it is not loaded."""
        engine = self._engines.get(symbol)
        return [] if engine is None else [_shown(order) for order in engine.open_orders()]

    def take_events(self) -> list[OrderEvent]:
        """Return what happened since the last call, in order."""
        happened, self._happened = self._happened, []
        return happened

    def take_orders(self) -> list[tuple[str, OrderRecord | ClosedRecord]]:
        """Return the records of the orders that changed since the last call, by table key."""
        return [change for engine in self._used.values() for change in engine.take_orders()]

    def take_markets(self) -> list[BookRecord]:
        """Return the records of the markets that changed since the last call."""
        used, self._used = self._used, {}
        self._bound.clear()
        markets = [engine.take_market() for engine in used.values()]
        return [market for market in markets if market is not None]

    def load(self, symbol: str, records: Iterable[EngineRecord]) -> None:
        """Rebuild a symbol from its records."""
        self._engines[symbol] = Engine(symbol, self._config, self._calendar, records)
        self._bound.pop(symbol, None)

    def unload(self, symbol: str) -> None:
        """Forget a symbol, with what it did and nobody took."""
        self._engines.pop(symbol, None)
        self._used.pop(symbol, None)
        self._bound.pop(symbol, None)
        self._happened = [event for event in self._happened if event.symbol != symbol]

    def _engine(self, symbol: str) -> Engine:
        engine = self._engines.get(symbol)
        if engine is None:
            engine = self._engines[symbol] = Engine(symbol, self._config, self._calendar)
        engine.now_ns = self._now_ns
        engine.controls_version = self._controls_version
        engine.set_shift(self._shift_ns)
        self._used[symbol] = self._bound[symbol] = engine
        return engine

    def _collect(self, symbol: str) -> None:
        events = self._engines[symbol].take_events()
        if events:
            self._happened += events
            self._news.set()

    def _find(self, order: VenueOrder) -> _Known | None:
        symbol, name = order.terms.symbol, order.client_order_id
        engine = self._engines.get(symbol)
        working = None if engine is None else engine.find(name)
        if working is not None:
            return working
        closed = self._lookup(f"{symbol}|{name}")
        return closed if isinstance(closed, ClosedRecord) else None

    def _change(self, order: VenueOrder, stopped: Refusal | None = None) -> Ack:
        name, known = order.client_order_id, self._find(order)
        if known is not None and order.request_id in known.requests:
            return Ack(Outcome.DUPLICATE, name)
        engine = self._engine(order.terms.symbol)
        if isinstance(known, OpenOrder) and stopped is not None:
            engine.stop_change(order, stopped)
            ack = Ack(Outcome.REJECTED, name, stopped.code, stopped.text)
        elif isinstance(known, OpenOrder):
            engine.change(order)
            ack = Ack(Outcome.ACCEPTED, name)
        else:
            code = Code.UNKNOWN_ORDER if known is None else Code.TOO_LATE
            engine.refuse(order, code)
            ack = Ack(Outcome.REJECTED, name, code)
        self._collect(order.terms.symbol)
        return ack


def _repeated(order: VenueOrder, known: _Known) -> Ack:
    if content_of(order) == known.content:
        return Ack(Outcome.DUPLICATE, order.client_order_id, known.refusal)
    text = f"{order.client_order_id} is the id of another order, {known.order_id}"
    return Ack(Outcome.REJECTED, order.client_order_id, Code.CONFLICT, text)


def _shown(order: _Known) -> BrokerOrder:
    status = order.status
    if status is OrderStatus.ACCEPTED and order.cum_qty > 0:
        status = OrderStatus.PARTIALLY_FILLED
    return BrokerOrder(
        order.client_order_id, order.order_id, order.account, status, order.qty, order.cum_qty
    )


def _nothing(key: str) -> None:
    """Stand for a table that is empty."""
