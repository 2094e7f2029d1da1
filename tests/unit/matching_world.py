"""What tests of the matching engine share: orders for the venue, and an engine to send them to."""

from typing import Any

from streams.domain.matching.config import VenueConfig
from streams.domain.matching.engine import Engine
from streams.domain.matching.records import EngineRecord
from streams.domain.sessions import Session
from streams.models.market import Quote, Trade
from streams.models.orders import OrderEvent, VenueOrder
from tests.builders import NOW_NS, SECOND, quote, trade

HOUR = 3600 * SECOND
DAY = 24 * HOUR

#: No latency, no commission: what a test does not name plays no part in it.
PLAIN: dict[str, Any] = {
    "latency_ns": 0,
    "cancel_latency_ns": 0,
    "commission_per_share": 0,
    "commission_min": 0,
    "follow_clock": False,
}


class EveryDay:
    """A calendar with a session each day: pre 09:00 UTC, open 14:30, close 21:00, post 01:00."""

    def session_at(self, ts_ns: int, shift_ns: int = 0) -> Session:
        """Return the session that `ts_ns` falls in, or else the next one."""
        wanted = ts_ns - shift_ns
        day = (wanted - HOUR) // DAY * DAY
        return Session(
            str(day // DAY),
            day + 9 * HOUR,
            day + 14 * HOUR + HOUR // 2,
            day + 21 * HOUR,
            day + 25 * HOUR,
        ).shifted(shift_ns)


def config(**fields: Any) -> VenueConfig:
    """Return a venue's settings: plain, but for these."""
    return VenueConfig(**PLAIN | fields)


def venue_order(order_id: str = "o1", **fields: Any) -> VenueOrder:
    """Return an order for the virtual venue: buy 10 AIG at a limit of 50.00, day.

    Fields of the terms and of the order itself may be mixed; `at` is its time.
    """
    at = fields.pop("at", NOW_NS)
    own = {name: fields.pop(name) for name in list(fields) if name in VenueOrder.model_fields}
    terms: dict[str, Any] = {
        "symbol": "AIG",
        "side": "buy",
        "type": "limit",
        "qty": None if "notional" in fields else "10",
        "time_in_force": "day",
    }
    if fields.get("type", "limit") == "limit":
        terms["limit_price"] = "50.00"
    given: dict[str, Any] = {
        "command": "submit",
        "broker": "virtual",
        "client_order_id": f"A1.{order_id}",
        "order_id": order_id,
        "account": "A1",
        "request_id": own.get("command", "submit"),
        "terms": terms | fields,
        "ts_requested_ns": at,
        "ts_approved_ns": at,
        "ts_event_ns": at,
    }
    return VenueOrder.model_validate(given | own)


def asks(price: str, size: str, **fields: Any) -> Quote:
    """Return a quote of the offer alone."""
    return quote(**{"bid": None, "bid_size": None, "ask": price, "ask_size": size} | fields)


def bids(price: str, size: str, **fields: Any) -> Quote:
    """Return a quote of the bid alone."""
    return quote(**{"bid": price, "bid_size": size, "ask": None, "ask_size": None} | fields)


def prints(price: str, size: str, **fields: Any) -> Trade:
    """Return a print."""
    return trade(price=price, size=size, **fields)


class World:
    """An engine whose time moves by one millisecond with each input, unless the input says."""

    def __init__(self, **settings: Any) -> None:
        self.config = config(**settings)
        self.records: dict[str, EngineRecord] = {}
        self.events: list[OrderEvent] = []
        self.now_ns = NOW_NS
        self.engine = Engine("AIG", self.config, EveryDay())

    def at(self, ts_ns: int) -> "World":
        """Move time; nothing happens by itself."""
        self.now_ns = ts_ns
        return self

    def send(self, order_id: str = "o1", **fields: Any) -> "World":
        """Send a new order."""
        return self.put(venue_order(order_id, at=self.now_ns, **fields))

    def cancel(self, order_id: str = "o1", request: str = "c1") -> "World":
        """Ask to cancel."""
        given = {"command": "cancel", "request_id": request, "at": self.now_ns}
        return self.put(venue_order(order_id, **given))

    def replace(self, order_id: str = "o1", request: str = "r1", **fields: Any) -> "World":
        """Ask to replace; `fields` are the new terms."""
        given = {"command": "replace", "request_id": request, "at": self.now_ns, "revision": 1}
        return self.put(venue_order(order_id, **given | fields))

    def ask(self, price: str, size: str = "100") -> "World":
        """Quote an offer."""
        return self.put(asks(price, size, ts_event_ns=self.now_ns))

    def bid(self, price: str, size: str = "100") -> "World":
        """Quote a bid."""
        return self.put(bids(price, size, ts_event_ns=self.now_ns))

    def print(self, price: str, size: str = "100") -> "World":
        """Print a trade."""
        return self.put(prints(price, size, ts_event_ns=self.now_ns))

    def put(self, given: VenueOrder | Quote | Trade) -> "World":
        """Give the engine one input, and keep what comes of it."""
        feed(self.engine, given, self.now_ns)
        self.collect()
        self.now_ns += SECOND // 1000
        return self

    def clock(self, ts_ns: int) -> "World":
        """Let our time reach `ts_ns`."""
        self.now_ns = self.engine.now_ns = ts_ns
        self.engine.on_clock()
        return self.collect()

    def collect(self) -> "World":
        """Keep the events and records of the engine."""
        self.events += self.engine.take_events()
        self.records.update(self.engine.take_orders())
        market = self.engine.take_market()
        if market is not None:
            self.records[market.symbol] = market
        return self

    def restart(self) -> "World":
        """Go on with an engine that is built from the records alone, as JSON kept them."""
        kept = [
            type(each).model_validate_json(each.model_dump_json()) for each in self.records.values()
        ]
        self.engine = Engine("AIG", self.config, EveryDay(), kept)
        return self

    def story(self) -> list[str]:
        """Return what happened, a line each: `o1 fill 10 @ 50.00`; of one order, without its id."""
        several = len({event.order_id for event in self.events}) > 1
        return [
            f"{event.order_id} {_line(event)}" if several else _line(event) for event in self.events
        ]


def feed(engine: Engine, given: VenueOrder | Quote | Trade, now_ns: int) -> None:
    """Give an engine one input."""
    engine.now_ns = now_ns
    if isinstance(given, Trade):
        engine.on_trade(given)
    elif isinstance(given, Quote):
        engine.on_quote(given)
    elif given.command == "submit":
        engine.submit(given)
    elif engine.find(given.client_order_id) is not None:
        engine.change(given)
    else:
        engine.refuse(given, "TOO_LATE")


def _line(event: OrderEvent) -> str:
    parts = [event.event.value]
    if event.fill is not None:
        parts.append(f"{event.fill.last_qty} @ {event.fill.last_px}")
    elif event.refusal is not None:
        parts.append(event.refusal.code)
    elif event.event == "replaced" and event.terms is not None:
        parts.append(f"to {event.terms.qty}")
    return " ".join(parts)
