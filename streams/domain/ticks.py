"""Rows of tick files as `Trade` and `Quote`, exact to the last digit, and moved in time.

Two layouts are told apart by their columns: that of `streams/data/ticks_sample.parquet` (prices
as integers of 1/10,000, a `kind` column) and the fields of the models themselves. A file may mix
them. Empty text and null stand for "absent" in both.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import TypeAdapter

from streams.models.base import Message
from streams.models.market import Quote, Trade

Tick = Trade | Quote
M = TypeVar("M", bound=Message)

_TRADE: TypeAdapter[Trade] = TypeAdapter(Trade)
_QUOTE: TypeAdapter[Quote] = TypeAdapter(Quote)
_INTEGERS = ("ts_event_ns", "seq", "correction_of")


def price_of_e4(price_e4: int) -> Decimal:
    """Return an integer price in 1/10,000 as a price with two places, four where it needs them.

    >>> price_of_e4(139100), price_of_e4(139150)
    (Decimal('13.91'), Decimal('13.9150'))
    """
    if price_e4 % 100 == 0:
        return Decimal(price_e4 // 100).scaleb(-2)
    return Decimal(price_e4).scaleb(-4)


def tick_of_row(row: Mapping[str, Any], seq: int) -> Tick:
    """Return the tick of one row; values may be text, as a CSV file has them.

    `seq` is the row's number in its file; a `seq` of the row itself goes before it. Raises
    ValueError (pydantic's ValidationError included) for a row that is no tick.
    """
    fields = {name: value for name, value in row.items() if value is not None and value != ""}
    if "kind" in fields or "price_e4" in fields:
        fields = _from_sample_layout(fields)
    fields.setdefault("seq", seq)
    for name in _INTEGERS:
        if isinstance(fields.get(name), str):
            fields[name] = int(fields[name])
    if "price" in fields:
        return _TRADE.validate_python(fields)
    if "bid" in fields or "ask" in fields:
        return _QUOTE.validate_python(fields)
    raise ValueError("neither price nor bid nor ask: a trade has `price`, a quote `bid` or `ask`")


def shifted(message: M, shift_ns: int) -> M:
    """Return a tick, or an order that has a time, moved; positive is towards the future.

    Raises ValueError where the moved time is before 1970 or after 2262.
    """
    ts = getattr(message, "ts_event_ns", None)
    if shift_ns == 0 or ts is None:
        return message
    moved = ts + shift_ns
    if not 0 <= moved < 2**63:
        raise ValueError(f"ts_event_ns {ts} moved by {shift_ns} ns is out of range")
    return message.model_copy(update={"ts_event_ns": moved})


def _from_sample_layout(row: dict[str, Any]) -> dict[str, Any]:
    """Return the models' fields of a row of the sample's layout."""
    kind = row.get("kind")
    if kind not in ("trade", "quote"):
        raise ValueError(f"kind is {kind!r}; it must be trade or quote")
    sides = ("price",) if kind == "trade" else ("bid", "ask")
    fields: dict[str, Any] = {
        name: row[name]
        for name in ("ts_event_ns", "symbol", "exchange", "conditions", "seq")
        if name in row
    }
    fields |= {side: price_of_e4(int(row[f"{side}_e4"])) for side in sides if f"{side}_e4" in row}
    sizes = ("size",) if kind == "trade" else ("bid_size", "ask_size")
    fields |= {name: row[name] for name in sizes if name in row}
    if kind == "trade":
        fields["suspicious"] = row.get("suspicious", False)
    return fields
