"""Builders of test data: each gives a valid value, and takes what the test is about.

Numbers may be given as text: `submit(qty="3.5")`.
"""

from typing import Any

from streams.models.market import Bar, LastPrice, Quote, RefusedTicks, Trade
from streams.models.orders import Cancel, Fill, OrderEvent, Replace, Submit
from streams.models.signals import Indicator, Signal
from streams.ports import Record
from streams.topics import ORDERS_REQUESTED, TopicSpec

SECOND = 1_000_000_000

#: Wednesday 2026-11-18, 10:30 in New York: the middle of a regular session.
NOW_NS = 1_795_015_800 * SECOND


def submit(**fields: Any) -> Submit:
    """Return a submit: by default buy 10 AIG at a limit of 50.00, day."""
    given: dict[str, Any] = {
        "command": "submit",
        "order_id": "o1",
        "account": "A1",
        "symbol": "AIG",
        "side": "buy",
        "type": "limit",
    }
    if "qty" not in fields and "notional" not in fields:
        given["qty"] = "10"
    if "limit_price" not in fields and fields.get("type", "limit") == "limit":
        given["limit_price"] = "50.00"
    return Submit.model_validate(given | fields)


def cancel(**fields: Any) -> Cancel:
    """Return a cancel of order `o1`."""
    return Cancel.model_validate({"command": "cancel", "order_id": "o1", "account": "A1"} | fields)


def replace(**fields: Any) -> Replace:
    """Return a replace of order `o1`; give what it changes."""
    given = {"command": "replace", "order_id": "o1", "account": "A1"}
    return Replace.model_validate(given | fields)


def event(kind: str, **fields: Any) -> OrderEvent:
    """Return an event of order `o1`; its id follows from what it says unless given."""
    given: dict[str, Any] = {
        "event": kind,
        "order_id": "o1",
        "account": "A1",
        "symbol": "AIG",
        "side": "buy",
        "broker": "virtual",
        "ts_event_ns": NOW_NS,
        "ts_init_ns": NOW_NS,
    }
    given |= fields
    fill_id = given["fill"].exec_id if given.get("fill") else ""
    given.setdefault("event_id", f"{given['order_id']}:{kind}:{given.get('leg', '')}:{fill_id}")
    return OrderEvent.model_validate(given)


def fill(
    exec_id: str = "e1",
    qty: str = "10",
    price: str = "50",
    *,
    cum_qty: str | None = None,
    commission: str = "0",
    ref_exec_id: str | None = None,
) -> Fill:
    """Return an execution; `cum_qty` is its quantity unless given."""
    return Fill.model_validate(
        {
            "exec_id": exec_id,
            "last_qty": qty,
            "last_px": price,
            "cum_qty": cum_qty or qty,
            "commission": commission,
            "ref_exec_id": ref_exec_id,
        }
    )


def trade(symbol: str = "AIG", price: str = "50.00", **fields: Any) -> Trade:
    """Return a print of 100 shares."""
    given = {"symbol": symbol, "price": price, "size": "100", "ts_event_ns": NOW_NS}
    return Trade.model_validate(given | fields)


def quote(symbol: str = "AIG", bid: str = "49.99", ask: str = "50.01", **fields: Any) -> Quote:
    """Return a two-sided quote of 100 shares each."""
    given = {"symbol": symbol, "bid": bid, "bid_size": "100", "ask": ask, "ask_size": "100"}
    return Quote.model_validate(given | {"ts_event_ns": NOW_NS} | fields)


def last_price(symbol: str = "AIG", last: str | None = "50.00", **fields: Any) -> LastPrice:
    """Return the newest prices of a symbol; by default a last price alone."""
    given = {"symbol": symbol, "last": last, "ts_event_ns": NOW_NS, "ts_init_ns": NOW_NS}
    return LastPrice.model_validate(given | fields)


def refused(reason: str = "far_off", ticks: int = 1, **fields: Any) -> RefusedTicks:
    """Return a count of refused ticks of AIG, whose counting began at offset 7 of the trades."""
    given = {
        "symbol": "AIG",
        "reason": reason,
        "refused": True,
        "ticks": ticks,
        "ts_minute_ns": NOW_NS,
        "source_topic": "market.trades.v1",
        "source_partition": 0,
        "source_offset": 7,
        "sample": '{"price":"60"}',
        "ts_event_ns": NOW_NS,
        "ts_init_ns": NOW_NS + SECOND,
    }
    return RefusedTicks.model_validate(given | fields)


def bar(frame: str = "1m", **fields: Any) -> Bar:
    """Return a bar of AIG that is final, of one print of 100 shares at 50.00."""
    prices = dict.fromkeys(("open", "high", "low", "close", "vwap"), "50.00")
    sums = {"volume": "100", "notional": "5000", "trades": 1}
    given = {"symbol": "AIG", "frame": frame, "session": "2026-11-18", "status": "final", "rev": 1}
    times = {"ts_start_ns": NOW_NS, "ts_end_ns": NOW_NS + 60 * SECOND, "ts_init_ns": NOW_NS}
    return Bar.model_validate({**given, **prices, **sums, **times, **fields})


def indicator(name: str = "sma(20)", value: float = 50.0, **fields: Any) -> Indicator:
    """Return an indicator of AIG after a bar of one minute."""
    given = {"symbol": "AIG", "frame": "1m", "name": name, "rev": 1, "values": {"value": value}}
    times = {"ts_start_ns": NOW_NS, "ts_end_ns": NOW_NS + 60 * SECOND, "ts_init_ns": NOW_NS}
    return Indicator.model_validate({**given, **times, **fields})


def signal(strength: str = "1", **fields: Any) -> Signal:
    """Return a signal of strategy `ma1` on AIG, without a price."""
    given = {"signal_id": "n1", "strategy": "ma1", "symbol": "AIG", "strength": strength}
    return Signal.model_validate({**given, "ts_event_ns": NOW_NS, "ts_init_ns": NOW_NS, **fields})


def record(
    value: Any,
    topic: TopicSpec = ORDERS_REQUESTED,
    offset: int = 0,
    *,
    partition: int = 0,
    key: bytes | str | None = "from value",
    redelivered: bool = False,
    timestamp_ms: int = NOW_NS // 1_000_000,
) -> Record:
    """Return a record; its key is the value's account, or else its symbol, unless given."""
    if isinstance(key, str):
        named = getattr(value, "account", None) or getattr(value, "symbol", None)
        key = named.encode() if named else None
    raw = value.model_dump_json(exclude_none=True).encode() if value is not None else None
    return Record(
        topic.name, partition, offset, key, value, raw, timestamp_ms, redelivered=redelivered
    )
