"""Records of a topic as an Arrow table: the columns of each history table, as data.

A column's value is found by its path in the message (`terms.take_profit.limit_price`); what is
absent on the way is null, in text columns the empty string.
"""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import pyarrow as pa

from connectors.clickhouse.columns import (
    Build,
    Column,
    HistoryTable,
    Values,
    boolean,
    columns,
    dec,
    floats,
    text,
    time,
    u32,
    u64,
    wide,
)
from streams.ports import Record
from streams.topics import (
    ACCOUNTS_UPDATES,
    ALLOCATIONS_REQUESTED,
    ALLOCATIONS_UPDATES,
    CONTROLS,
    DEAD_LETTERS,
    DEAD_LETTERS_HANDLED,
    INDICATORS,
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
    SIGNALS,
    SLICES_REQUESTED,
    SLICES_UPDATES,
    STATEMENTS,
    STRATEGIES_FILLS,
    STRATEGIES_UPDATES,
    VENUE_REST_ORDERS,
    VENUE_VIRTUAL_ORDERS,
)

Row = Mapping[str, Any]
_NOTHING: Row = {}


def _terms(at: str) -> tuple[Column, ...]:
    """Return the columns of an order's terms; `at` is their path and a dot, or nothing."""
    return (
        columns(text, f"type={at}type time_in_force={at}time_in_force")
        + columns(text, f"order_class={at}order_class position_intent={at}position_intent")
        + columns(boolean, f"extended_hours={at}extended_hours reduce_only={at}reduce_only")
        + columns(dec, f"qty={at}qty notional={at}notional limit_price={at}limit_price")
        + columns(dec, f"stop_price={at}stop_price trail_price={at}trail_price")
        + columns(dec, f"trail_percent={at}trail_percent")
        + columns(dec, f"take_profit_limit_price={at}take_profit.limit_price")
        + columns(dec, f"stop_loss_stop_price={at}stop_loss.stop_price")
        + columns(dec, f"stop_loss_limit_price={at}stop_loss.limit_price")
    )


_IDS = "account order_id client_order_id strategy"
_REFUSAL = columns(
    text,
    "refusal_code=refusal.code refusal_text=refusal.text refusal_limit=refusal.limit"
    " refusal_actual=refusal.actual",
) + columns(u64, "rules_version=refusal.rules_version")
_SYMBOL_SIDE = "symbol=terms.symbol side=terms.side"

_VENUE_ORDERS = HistoryTable(
    "venue_orders_log",
    columns(text, f"command broker {_IDS} request_id leg {_SYMBOL_SIDE}")
    + _terms("terms.")
    + columns(u32, "revision")
    + columns(dec, "parent_qty")
    + columns(time, "ts_requested=ts_requested_ns ts_approved=ts_approved_ns")
    + columns(time, "ts_event=ts_event_ns"),
)

TABLES: Mapping[str, HistoryTable] = {
    ORDERS_REQUESTED.name: HistoryTable(
        "order_requests_log",
        columns(text, f"command {_IDS} request_id symbol side")
        + _terms("")
        + columns(time, "ts_event=ts_event_ns"),
    ),
    ORDERS_APPROVED.name: HistoryTable(
        "approved_orders_log",
        columns(text, f"command {_IDS} request_id {_SYMBOL_SIDE}")
        + _terms("terms.")
        + columns(u32, "revision")
        + columns(wide, "position_qty")
        + columns(u64, "rules_version")
        + columns(time, "ts_requested=ts_requested_ns ts_event=ts_event_ns"),
    ),
    VENUE_VIRTUAL_ORDERS.name: _VENUE_ORDERS,
    VENUE_REST_ORDERS.name: _VENUE_ORDERS,
    ORDERS_EVENTS.name: HistoryTable(
        "order_events_log",
        columns(text, f"event {_IDS} event_id request_id parent_order_id broker leg text")
        + columns(text, "symbol=symbol|terms.symbol side=side|terms.side")
        + _terms("terms.")
        + columns(u32, "revision")
        + columns(text, "exec_id=fill.exec_id ref_exec_id=fill.ref_exec_id")
        + columns(dec, "last_qty=fill.last_qty last_px=fill.last_px cum_qty=fill.cum_qty")
        + columns(dec, "commission=fill.commission")
        + _REFUSAL
        + columns(u64, "controls_version")
        + columns(time, "ts_requested=ts_requested_ns ts_event=ts_event_ns ts_init=ts_init_ns"),
    ),
    RECONCILIATIONS.name: HistoryTable(
        "reconciliations_log",
        columns(text, "finding reconciliation_id run_id broker")
        + columns(u32, "partition")
        + columns(text, "account symbol order_id client_order_id ours theirs text")
        + columns(boolean, "mended")
        + columns(u64, "orders positions differences unmended")
        + columns(time, "ts_event=ts_event_ns"),
    ),
    STATEMENTS.name: HistoryTable(
        "statements_log",
        columns(text, "broker account symbol") + columns(time, "ts_event=ts_event_ns"),
    ),
    ORDERS_UPDATES.name: HistoryTable(
        "orders_log",
        columns(text, f"{_IDS} status parent_order_id broker {_SYMBOL_SIDE}")
        + _terms("terms.")
        + columns(u32, "revision fills")
        + columns(u64, "version")
        + columns(wide, "cum_qty leaves_qty avg_px commission overfill_qty")
        + _REFUSAL
        + columns(time, "ts_requested=ts_requested_ns ts_updated=ts_updated_ns"),
    ),
    POSITIONS_UPDATES.name: HistoryTable(
        "positions_log",
        columns(text, "account symbol")
        + columns(u64, "version")
        + columns(u32, "fills")
        + columns(wide, "qty avg_entry_px realized_pl unrealized_pl mark_px commission")
        + columns(wide, "buy_qty sell_qty")
        + columns(time, "ts_mark=ts_mark_ns ts_updated=ts_updated_ns"),
    ),
    ACCOUNTS_UPDATES.name: HistoryTable(
        "accounts_log",
        columns(text, "account day")
        + columns(u64, "version")
        + columns(u32, "fills")
        + columns(wide, "cash realized_pl commission realized_pl_day")
        + columns(time, "ts_updated=ts_updated_ns"),
    ),
    MARKET_TRADES.name: HistoryTable(
        "trades_log",
        columns(text, "symbol exchange conditions")
        + columns(time, "ts_event=ts_event_ns")
        + columns(u64, "seq")
        + columns(dec, "price size")
        + columns(boolean, "suspicious canceled")
        + columns(u64, "correction_of"),
        raw=False,
    ),
    MARKET_QUOTES.name: HistoryTable(
        "quotes_log",
        columns(text, "symbol exchange conditions")
        + columns(time, "ts_event=ts_event_ns")
        + columns(u64, "seq")
        + columns(dec, "bid bid_size ask ask_size"),
        raw=False,
    ),
    MARKET_LAST.name: HistoryTable(
        "last_prices_log",
        columns(text, "symbol")
        + columns(dec, "last bid ask")
        + columns(time, "ts_last=ts_last_ns ts_quote=ts_quote_ns")
        + columns(time, "ts_event=ts_event_ns ts_init=ts_init_ns"),
        raw=False,
    ),
    MARKET_REFUSED.name: HistoryTable(
        "refused_ticks_log",
        columns(text, "symbol reason source_topic sample")
        + columns(boolean, "refused")
        + columns(u64, "ticks source_offset")
        + columns(u32, "source_partition")
        + columns(time, "ts_minute=ts_minute_ns ts_event=ts_event_ns ts_init=ts_init_ns"),
        raw=False,
    ),
    MARKET_BARS.name: HistoryTable(
        "bars_log",
        columns(text, "symbol frame session status")
        + columns(time, "ts_start=ts_start_ns ts_end=ts_end_ns ts_init=ts_init_ns")
        + columns(u32, "rev")
        + columns(dec, "open high low close")
        + columns(wide, "volume notional vwap")
        + columns(u64, "trades"),
    ),
    INDICATORS.name: HistoryTable(
        "indicators_log",
        columns(text, "symbol frame name")
        + columns(time, "ts_start=ts_start_ns ts_end=ts_end_ns ts_init=ts_init_ns")
        + columns(u32, "rev")
        + columns(floats, "values"),
    ),
    SIGNALS.name: HistoryTable(
        "signals_log",
        columns(text, "signal_id strategy symbol reason cause_topic")
        + columns(dec, "strength price")
        + columns(u32, "cause_partition")
        + columns(u64, "cause_offset")
        + columns(time, "ts_event=ts_event_ns ts_init=ts_init_ns"),
    ),
    STRATEGIES_UPDATES.name: HistoryTable(
        "strategies_log",
        columns(text, "strategy symbol implementation status text")
        + columns(u64, "version controls_version signals errors")
        + columns(dec, "strength")
        + columns(time, "ts_signal=ts_signal_ns ts_updated=ts_updated_ns"),
    ),
    STRATEGIES_FILLS.name: HistoryTable(
        "strategy_fills_log",
        columns(text, "strategy symbol=symbol|terms.symbol side=side|terms.side account order_id")
        + columns(text, "event event_id exec_id=fill.exec_id ref_exec_id=fill.ref_exec_id")
        + columns(dec, "last_qty=fill.last_qty last_px=fill.last_px commission=fill.commission")
        + columns(time, "ts_event=ts_event_ns ts_init=ts_init_ns"),
    ),
    ALLOCATIONS_REQUESTED.name: HistoryTable(
        "allocation_requests_log",
        columns(text, "command allocation_id account strategy type time_in_force")
        + columns(time, "ts_event=ts_event_ns"),
    ),
    ALLOCATIONS_UPDATES.name: HistoryTable(
        "allocations_log",
        columns(text, "allocation_id account strategy parent_id status")
        + columns(u64, "version")
        + columns(time, "ts_requested=ts_requested_ns ts_updated=ts_updated_ns"),
    ),
    SLICES_REQUESTED.name: HistoryTable(
        "slice_requests_log",
        columns(text, "command parent_id account strategy symbol side")
        + columns(dec, "qty limit_price participation min_slice_qty interval_s")
        + columns(time, "ts_start=start_ns ts_end=end_ns ts_event=ts_event_ns"),
    ),
    SLICES_UPDATES.name: HistoryTable(
        "slices_log",
        columns(text, "parent_id account symbol side kind status text")
        + columns(u64, "version")
        + columns(u32, "children")
        + columns(dec, "qty")
        + columns(wide, "sent_qty cum_qty avg_px leaves_qty market_volume")
        + columns(time, "ts_start=start_ns ts_end=end_ns ts_updated=ts_updated_ns"),
    ),
    CONTROLS.name: HistoryTable(
        "controls_log",
        columns(text, "kind scope by reason")
        + columns(u64, "version")
        + columns(time, "ts_event=ts_event_ns"),
    ),
    DEAD_LETTERS.name: HistoryTable("dead_letters_log", (), raw=False),
    DEAD_LETTERS_HANDLED.name: HistoryTable(
        "dead_letters_handled_log",
        columns(text, "letter action by reason")
        + columns(u32, "attempt")
        + columns(time, "ts_event=ts_event_ns"),
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
