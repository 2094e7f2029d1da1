"""What a replay's results are made of: fills with the prices at their decisions, equity, orders."""

from collections import Counter
from collections.abc import Callable
from decimal import Decimal, localcontext

from streams.domain.decimals import EXACT, ZERO
from streams.domain.performance import Book, Traded
from streams.domain.sessions import Calendar
from streams.models.market import LastPrice
from streams.models.orders import EventType, Order, OrderEvent, Side, Submit
from streams.models.signals import StrategyState
from streams.replay.engine import Written
from streams.topics import (
    DEAD_LETTERS,
    ORDERS_EVENTS,
    ORDERS_REQUESTED,
    ORDERS_UPDATES,
    STRATEGIES_UPDATES,
)


class Observer:
    """Looks at what is written. `price` gives the newest price of a symbol.

    Equity is sampled at each whole minute of regular hours, and at the end.
    """

    def __init__(self, price: Callable[[str], LastPrice | None], calendar: Calendar) -> None:
        self._price = price
        self._calendar = calendar
        self._decided: dict[tuple[str, str], tuple[int, Decimal | None]] = {}
        self._symbols: dict[str, None] = {}
        self.book = Book()
        self.fills: list[Traded] = []
        self.orders: dict[str, Order] = {}
        self.strategies: dict[str, StrategyState] = {}
        self.records: Counter[str] = Counter()
        self.letters: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        #: (time, trading day, profit so far, value of what is held without sign) of each sample.
        self.samples: list[tuple[int, str, Decimal, Decimal]] = []
        #: Time and profit at the end.
        self.ended = 0, ZERO
        #: Prices at the samples, by symbol.
        self.prices: dict[str, list[tuple[int, Decimal]]] = {}

    def written(self, what: Written) -> None:
        """Take a record."""
        self.records[what.spec.name] += 1
        value = what.record.value
        if what.spec is ORDERS_EVENTS:
            self._event(value)
        elif what.spec is ORDERS_REQUESTED and isinstance(value, Submit):
            key = value.account, value.order_id
            self._decided.setdefault(key, (what.now_ns, self._middle(value.symbol)))
        elif what.spec is ORDERS_UPDATES:
            self.orders[(what.record.key or b"").decode()] = value
        elif what.spec is STRATEGIES_UPDATES:
            self.strategies[(what.record.key or b"").decode()] = value
        elif what.spec is DEAD_LETTERS:
            self.letters[dict(what.headers)["orderflow.code"]] += 1

    def priced(self, price: LastPrice) -> None:
        """Know of a symbol."""
        self._symbols[price.symbol] = None

    def minute(self, now_ns: int) -> None:
        """Take a sample, in regular hours."""
        try:
            session = self._calendar.session_at(now_ns - 1)  # the close ends the last minute
        except ValueError:  # in no known year
            return
        if session.phase(now_ns - 1) == "regular":
            self.samples.append((now_ns, session.date, *self._worth(now_ns)))

    def end(self, now_ns: int) -> None:
        """Know that nothing more comes."""
        self.ended = now_ns, self._worth(now_ns)[0]

    def _worth(self, now_ns: int) -> tuple[Decimal, Decimal]:
        """Return profit and exposure at prices as they stand, which are noted."""
        marks = {}
        for symbol in self._symbols:
            mark = self._mark(symbol)
            if mark is not None:
                marks[symbol] = mark
                self.prices.setdefault(symbol, []).append((now_ns, mark))
        with localcontext(EXACT):
            held = self.book.positions()
            gross = sum((abs(held[one]) * marks.get(one, ZERO) for one in held), ZERO)
            return self.book.profit(marks), gross

    def _event(self, event: OrderEvent) -> None:
        if event.refusal is not None and event.event is EventType.REJECTED:
            self.refusals[event.refusal.code] += 1
        if event.event is not EventType.FILL or event.fill is None:
            return
        fill, sign = event.fill, 1 if event.side is Side.BUY else -1
        decided = self._decided.get((event.account, event.order_id))
        traded = Traded(
            ts_ns=event.ts_event_ns,
            account=event.account,
            symbol=event.symbol or "",
            order_id=event.order_id,
            qty=sign * fill.last_qty,
            px=fill.last_px,
            commission=fill.commission,
            strategy=event.strategy,
            decided_px=decided[1] if decided else None,
            ts_decided_ns=decided[0] if decided else None,
        )
        self.fills.append(traded)
        with localcontext(EXACT):
            self.book.take(traded)

    def _middle(self, symbol: str) -> Decimal | None:
        """Return the middle of bid and ask, or the last print where that lies outside of them.

        A print outside says that the quotes are old.
        """
        price = self._price(symbol)
        if price is None:
            return None
        bid, ask, last = price.bid, price.ask, price.last
        if bid is None or ask is None or (last is not None and not bid <= last <= ask):
            return last
        return (bid + ask) / 2

    def _mark(self, symbol: str) -> Decimal | None:
        price = self._price(symbol)
        if price is None:
            return None
        return price.last if price.last is not None else self._middle(symbol)
