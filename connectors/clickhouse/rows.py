"""Records of a topic as an Arrow table: the columns of each history table, as data.

A column's value is found by its path in the message (`terms.take_profit.limit_price`); what is
absent on the way is null, in text columns the empty string. Numbers are exact: `DEC` holds every
`Dec`; `WIDE` rounds a `WideDec` half-even to 12 places (the `raw` column keeps all of them).
Arrow takes decimals from text many times faster than from Decimal objects.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from operator import itemgetter
from typing import Any

import pyarrow as pa

from streams.ports import Record
from streams.topics import (
    ACCOUNTS_UPDATES,
    CONTROLS,
    DEAD_LETTERS,
    DEAD_LETTERS_HANDLED,
    MARKET_BARS,
    MARKET_LAST,
    MARKET_QUOTES,
    MARKET_REFUSED,
    MARKET_TRADES,
    ORDERS_APPROVED,
    ORDERS_EVENTS,
    ORDERS_REQUESTED,
    ORDERS_UPDATES,
    POSITIONS_UPDATES,
    RECONCILIATIONS,
    STATEMENTS,
    VENUE_REST_ORDERS,
    VENUE_VIRTUAL_ORDERS,
)

WIDE_PLACES = 12
_DIGITS = 38
_WIDE_STEP = Decimal(1).scaleb(-WIDE_PLACES)
_WIDE_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)

Values = list[Any]
Build = Callable[[Values], pa.Array]
Row = Mapping[str, Any]
_NOTHING: Row = {}


def _text(values: Values) -> pa.Array:
    return pa.array([value or "" for value in values], pa.string())


def _dec(values: Values) -> pa.Array:
    return _decimals(values, 9)


def _wide(values: Values) -> pa.Array:
    try:
        return _decimals(values, WIDE_PLACES)
    except pa.ArrowInvalid:
        return _decimals([_rounded(value) for value in values], WIDE_PLACES)


def _decimals(values: Values, places: int) -> pa.Array:
    type_ = pa.decimal128(_DIGITS, places)
    texts = [None if value is None else str(value) for value in values]
    if any(text is not None and len(text) > _DIGITS for text in texts):
        # Arrow 26 does not check the digits of longer text: 1000…0 comes out as another number.
        return pa.array(values, type_)
    return pa.array(texts, pa.string()).cast(type_)


def _rounded(value: Decimal | None) -> Decimal | None:
    if value is None:
        return None
    return value.quantize(_WIDE_STEP, context=_WIDE_CONTEXT)


def _time(values: Values) -> pa.Array:
    return pa.array(values, pa.int64()).view(pa.timestamp("ns", "UTC"))


def _u32(values: Values) -> pa.Array:
    return pa.array(values, pa.uint32())


def _u64(values: Values) -> pa.Array:
    return pa.array([value or 0 for value in values], pa.uint64())


def _bool(values: Values) -> pa.Array:
    return pa.array([bool(value) for value in values], pa.bool_())


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, how its array is built, and where its values stand in the message.

    Of several paths the first one that is not null gives the value.
    """

    name: str
    build: Build
    paths: tuple[str, ...]


def _columns(build: Build, words: str) -> tuple[Column, ...]:
    """Return columns from words `name`, `name=path` or `name=path|path`."""
    found = []
    for word in words.split():
        name, _, paths = word.partition("=")
        found.append(Column(name, build, tuple((paths or name).split("|"))))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class HistoryTable:
    """Where the records of a topic go. `raw` keeps the JSON of the whole message."""

    name: str
    columns: tuple[Column, ...]
    raw: bool = True


def _terms(at: str) -> tuple[Column, ...]:
    """Return the columns of an order's terms; `at` is their path and a dot, or nothing."""
    return (
        _columns(_text, f"type={at}type time_in_force={at}time_in_force")
        + _columns(_text, f"order_class={at}order_class position_intent={at}position_intent")
        + _columns(_bool, f"extended_hours={at}extended_hours reduce_only={at}reduce_only")
        + _columns(_dec, f"qty={at}qty notional={at}notional limit_price={at}limit_price")
        + _columns(_dec, f"stop_price={at}stop_price trail_price={at}trail_price")
        + _columns(_dec, f"trail_percent={at}trail_percent")
        + _columns(_dec, f"take_profit_limit_price={at}take_profit.limit_price")
        + _columns(_dec, f"stop_loss_stop_price={at}stop_loss.stop_price")
        + _columns(_dec, f"stop_loss_limit_price={at}stop_loss.limit_price")
    )


_IDS = "account order_id client_order_id strategy"
_REFUSAL = _columns(
    _text,
    "refusal_code=refusal.code refusal_text=refusal.text refusal_limit=refusal.limit"
    " refusal_actual=refusal.actual",
) + _columns(_u64, "rules_version=refusal.rules_version")
_SYMBOL_SIDE = "symbol=terms.symbol side=terms.side"

_VENUE_ORDERS = HistoryTable(
    "venue_orders_log",
    _columns(_text, f"command broker {_IDS} request_id leg {_SYMBOL_SIDE}")
    + _terms("terms.")
    + _columns(_u32, "revision")
    + _columns(_dec, "parent_qty")
    + _columns(_time, "ts_requested=ts_requested_ns ts_approved=ts_approved_ns")
    + _columns(_time, "ts_event=ts_event_ns"),
)

TABLES: Mapping[str, HistoryTable] = {
    ORDERS_REQUESTED.name: HistoryTable(
        "order_requests_log",
        _columns(_text, f"command {_IDS} request_id symbol side")
        + _terms("")
        + _columns(_time, "ts_event=ts_event_ns"),
    ),
    ORDERS_APPROVED.name: HistoryTable(
        "approved_orders_log",
        _columns(_text, f"command {_IDS} request_id {_SYMBOL_SIDE}")
        + _terms("terms.")
        + _columns(_u32, "revision")
        + _columns(_wide, "position_qty")
        + _columns(_u64, "rules_version")
        + _columns(_time, "ts_requested=ts_requested_ns ts_event=ts_event_ns"),
    ),
    VENUE_VIRTUAL_ORDERS.name: _VENUE_ORDERS,
    VENUE_REST_ORDERS.name: _VENUE_ORDERS,
    ORDERS_EVENTS.name: HistoryTable(
        "order_events_log",
        _columns(_text, f"event {_IDS} event_id request_id parent_order_id broker leg text")
        + _columns(_text, "symbol=symbol|terms.symbol side=side|terms.side")
        + _terms("terms.")
        + _columns(_u32, "revision")
        + _columns(_text, "exec_id=fill.exec_id ref_exec_id=fill.ref_exec_id")
        + _columns(_dec, "last_qty=fill.last_qty last_px=fill.last_px cum_qty=fill.cum_qty")
        + _columns(_dec, "commission=fill.commission")
        + _REFUSAL
        + _columns(_u64, "controls_version")
        + _columns(_time, "ts_requested=ts_requested_ns ts_event=ts_event_ns ts_init=ts_init_ns"),
    ),
    RECONCILIATIONS.name: HistoryTable(
        "reconciliations_log",
        _columns(_text, "finding reconciliation_id run_id broker")
        + _columns(_u32, "partition")
        + _columns(_text, "account symbol order_id client_order_id ours theirs text")
        + _columns(_bool, "mended")
        + _columns(_u64, "orders positions differences unmended")
        + _columns(_time, "ts_event=ts_event_ns"),
    ),
    STATEMENTS.name: HistoryTable(
        "statements_log",
        _columns(_text, "broker account symbol") + _columns(_time, "ts_event=ts_event_ns"),
    ),
    ORDERS_UPDATES.name: HistoryTable(
        "orders_log",
        _columns(_text, f"{_IDS} status parent_order_id broker {_SYMBOL_SIDE}")
        + _terms("terms.")
        + _columns(_u32, "revision fills")
        + _columns(_u64, "version")
        + _columns(_wide, "cum_qty leaves_qty avg_px commission overfill_qty")
        + _REFUSAL
        + _columns(_time, "ts_requested=ts_requested_ns ts_updated=ts_updated_ns"),
    ),
    POSITIONS_UPDATES.name: HistoryTable(
        "positions_log",
        _columns(_text, "account symbol")
        + _columns(_u64, "version")
        + _columns(_u32, "fills")
        + _columns(_wide, "qty avg_entry_px realized_pl unrealized_pl mark_px commission")
        + _columns(_wide, "buy_qty sell_qty")
        + _columns(_time, "ts_mark=ts_mark_ns ts_updated=ts_updated_ns"),
    ),
    ACCOUNTS_UPDATES.name: HistoryTable(
        "accounts_log",
        _columns(_text, "account day")
        + _columns(_u64, "version")
        + _columns(_u32, "fills")
        + _columns(_wide, "cash realized_pl commission realized_pl_day")
        + _columns(_time, "ts_updated=ts_updated_ns"),
    ),
    MARKET_TRADES.name: HistoryTable(
        "trades_log",
        _columns(_text, "symbol exchange conditions")
        + _columns(_time, "ts_event=ts_event_ns")
        + _columns(_u64, "seq")
        + _columns(_dec, "price size")
        + _columns(_bool, "suspicious canceled")
        + _columns(_u64, "correction_of"),
        raw=False,
    ),
    MARKET_QUOTES.name: HistoryTable(
        "quotes_log",
        _columns(_text, "symbol exchange conditions")
        + _columns(_time, "ts_event=ts_event_ns")
        + _columns(_u64, "seq")
        + _columns(_dec, "bid bid_size ask ask_size"),
        raw=False,
    ),
    MARKET_LAST.name: HistoryTable(
        "last_prices_log",
        _columns(_text, "symbol")
        + _columns(_dec, "last bid ask")
        + _columns(_time, "ts_event=ts_event_ns ts_init=ts_init_ns"),
        raw=False,
    ),
    MARKET_REFUSED.name: HistoryTable(
        "refused_ticks_log",
        _columns(_text, "symbol reason source_topic sample")
        + _columns(_bool, "refused")
        + _columns(_u64, "ticks source_offset")
        + _columns(_u32, "source_partition")
        + _columns(_time, "ts_minute=ts_minute_ns ts_event=ts_event_ns ts_init=ts_init_ns"),
        raw=False,
    ),
    MARKET_BARS.name: HistoryTable(
        "bars_log",
        _columns(_text, "symbol frame session status")
        + _columns(_time, "ts_start=ts_start_ns ts_end=ts_end_ns ts_init=ts_init_ns")
        + _columns(_u32, "rev")
        + _columns(_dec, "open high low close")
        + _columns(_wide, "volume notional vwap")
        + _columns(_u64, "trades"),
    ),
    CONTROLS.name: HistoryTable(
        "controls_log",
        _columns(_text, "kind scope by reason")
        + _columns(_u64, "version")
        + _columns(_time, "ts_event=ts_event_ns"),
    ),
    DEAD_LETTERS.name: HistoryTable("dead_letters_log", (), raw=False),
    DEAD_LETTERS_HANDLED.name: HistoryTable(
        "dead_letters_handled_log",
        _columns(_text, "letter action by reason")
        + _columns(_u32, "attempt")
        + _columns(_time, "ts_event=ts_event_ns"),
    ),
}


def arrow_table(topic: str, records: Sequence[Record]) -> pa.Table:
    """Return the rows of one topic's records, in their order, in one chunk.

    Raises pyarrow.ArrowException or OverflowError where a value does not fit its column.
    """
    table = TABLES[topic]
    arrays = _message_arrays(table, records)
    if table.raw:
        arrays["raw"] = pa.array([record.raw for record in records], pa.binary())
    if topic == DEAD_LETTERS.name:
        arrays["value"] = pa.array([record.raw or b"" for record in records], pa.binary())
        arrays["headers"] = pa.array(
            [record.headers for record in records], pa.map_(pa.string(), pa.binary())
        )
    return pa.table(arrays | _source_arrays(records))


def _message_arrays(table: HistoryTable, records: Sequence[Record]) -> dict[str, pa.Array]:
    if not table.columns:
        return {}
    owners: dict[str, list[Row]] = {"": [vars(record.value) for record in records]}
    absent: Values = [None] * len(records)
    empty: dict[Build, pa.Array] = {}  # most columns of most blocks are; built once for all
    arrays = {}
    for column in table.columns:
        values = _values(owners, column.paths)
        if values != absent:
            arrays[column.name] = column.build(values)
            continue
        if column.build not in empty:
            empty[column.build] = column.build(absent)
        arrays[column.name] = empty[column.build]
    return arrays


def _values(owners: dict[str, list[Row]], paths: Sequence[str]) -> Values:
    """Return a column's values; of several paths the first one that is not null."""
    values = _at(owners, paths[0])
    for path in paths[1:]:
        values = [
            other if value is None else value
            for value, other in zip(values, _at(owners, path), strict=True)
        ]
    return values


def _at(owners: dict[str, list[Row]], path: str) -> Values:
    """Return what stands at a path in each message; `owners` keeps the parts on the way."""
    owner, _, field = path.rpartition(".")
    if owner not in owners:
        parts = _at(owners, owner)
        owners[owner] = [_NOTHING if part is None else vars(part) for part in parts]
    rows = owners[owner]
    try:
        return list(map(itemgetter(field), rows))
    except KeyError:  # some messages have no such part, or are of a kind without the field
        return [None if row is _NOTHING else row.get(field) for row in rows]


def _source_arrays(records: Sequence[Record]) -> dict[str, pa.Array]:
    """Return the columns that say where a record stood on Kafka."""
    return {
        "_topic": pa.array([record.topic for record in records], pa.string()),
        "_partition": pa.array([record.partition for record in records], pa.uint16()),
        "_offset": pa.array([record.offset for record in records], pa.uint64()),
        "_key": pa.array([record.key or b"" for record in records], pa.binary()),
        "_timestamp": pa.array(
            [record.timestamp_ms for record in records], pa.timestamp("ms", "UTC")
        ),
    }
