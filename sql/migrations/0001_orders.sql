-- The order path: what was asked for, approved, sent, what happened, how things stand.
--
-- Every table here has one row per Kafka record. What holds for all of them (engine, ORDER BY,
-- the `_` columns, number and time types) is in sql/README.md.

-- One row per command: submit, cancel or replace.
-- ORDER BY account, order_id: a query asks for one order or one account.
create table if not exists order_requests_log
(
    command LowCardinality(String),
    account LowCardinality(String),
    order_id String,
    request_id String,
    symbol LowCardinality(String),
    side LowCardinality(String),
    type LowCardinality(String),
    qty Nullable(Decimal(38, 9)),
    notional Nullable(Decimal(38, 9)),
    time_in_force LowCardinality(String),
    limit_price Nullable(Decimal(38, 9)),
    stop_price Nullable(Decimal(38, 9)),
    trail_price Nullable(Decimal(38, 9)),
    trail_percent Nullable(Decimal(38, 9)),
    extended_hours Bool,
    order_class LowCardinality(String),
    take_profit_limit_price Nullable(Decimal(38, 9)),
    stop_loss_stop_price Nullable(Decimal(38, 9)),
    stop_loss_limit_price Nullable(Decimal(38, 9)),
    position_intent LowCardinality(String),
    reduce_only Bool,
    client_order_id String,
    strategy LowCardinality(String),
    ts_event Nullable(DateTime64(9, 'UTC')),
    raw String codec(ZSTD(3)),
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64 codec(Delta, ZSTD(1)),
    _key String codec(ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') codec(Delta, ZSTD(1)),
    _inserted DateTime64(3, 'UTC') default now64(3, 'UTC'),
    index offsets (_partition, _offset) type minmax granularity 1
)
engine = ReplacingMergeTree
partition by toYYYYMM(_timestamp)
order by (account, order_id, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per command that passed every check.
-- ORDER BY account, order_id: as its requests.
create table if not exists approved_orders_log
(
    command LowCardinality(String),
    account LowCardinality(String),
    order_id String,
    request_id String,
    client_order_id String,
    strategy LowCardinality(String),
    revision UInt32,
    position_qty Decimal(38, 12),
    rules_version UInt64,
    symbol LowCardinality(String),
    side LowCardinality(String),
    type LowCardinality(String),
    qty Nullable(Decimal(38, 9)),
    notional Nullable(Decimal(38, 9)),
    time_in_force LowCardinality(String),
    limit_price Nullable(Decimal(38, 9)),
    stop_price Nullable(Decimal(38, 9)),
    trail_price Nullable(Decimal(38, 9)),
    trail_percent Nullable(Decimal(38, 9)),
    extended_hours Bool,
    order_class LowCardinality(String),
    take_profit_limit_price Nullable(Decimal(38, 9)),
    stop_loss_stop_price Nullable(Decimal(38, 9)),
    stop_loss_limit_price Nullable(Decimal(38, 9)),
    position_intent LowCardinality(String),
    reduce_only Bool,
    ts_requested DateTime64(9, 'UTC'),
    ts_event DateTime64(9, 'UTC'),
    raw String codec(ZSTD(3)),
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64 codec(Delta, ZSTD(1)),
    _key String codec(ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') codec(Delta, ZSTD(1)),
    _inserted DateTime64(3, 'UTC') default now64(3, 'UTC'),
    index offsets (_partition, _offset) type minmax granularity 1
)
engine = ReplacingMergeTree
partition by toYYYYMM(_timestamp)
order by (account, order_id, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per command sent to a broker; `_topic` tells which.
-- ORDER BY account, order_id: as its requests; the legs of an order lie together.
create table if not exists venue_orders_log
(
    command LowCardinality(String),
    broker LowCardinality(String),
    account LowCardinality(String),
    order_id String,
    request_id String,
    client_order_id String,
    leg LowCardinality(String),
    parent_qty Nullable(Decimal(38, 9)),
    strategy LowCardinality(String),
    revision UInt32,
    symbol LowCardinality(String),
    side LowCardinality(String),
    type LowCardinality(String),
    qty Nullable(Decimal(38, 9)),
    notional Nullable(Decimal(38, 9)),
    time_in_force LowCardinality(String),
    limit_price Nullable(Decimal(38, 9)),
    stop_price Nullable(Decimal(38, 9)),
    trail_price Nullable(Decimal(38, 9)),
    trail_percent Nullable(Decimal(38, 9)),
    extended_hours Bool,
    order_class LowCardinality(String),
    take_profit_limit_price Nullable(Decimal(38, 9)),
    stop_loss_stop_price Nullable(Decimal(38, 9)),
    stop_loss_limit_price Nullable(Decimal(38, 9)),
    position_intent LowCardinality(String),
    reduce_only Bool,
    ts_requested DateTime64(9, 'UTC'),
    ts_approved DateTime64(9, 'UTC'),
    ts_event DateTime64(9, 'UTC'),
    raw String codec(ZSTD(3)),
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64 codec(Delta, ZSTD(1)),
    _key String codec(ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') codec(Delta, ZSTD(1)),
    _inserted DateTime64(3, 'UTC') default now64(3, 'UTC'),
    index offsets (_partition, _offset) type minmax granularity 1
)
engine = ReplacingMergeTree
partition by toYYYYMM(_timestamp)
order by (account, order_id, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per thing that happened to an order; fills, refusals and terms are flattened.
-- ORDER BY account, order_id, ts_init: the timeline of an order is one short read.
create table if not exists order_events_log
(
    event LowCardinality(String),
    account LowCardinality(String),
    order_id String,
    event_id String,
    request_id String,
    client_order_id String,
    parent_order_id String,
    broker LowCardinality(String),
    leg LowCardinality(String),
    strategy LowCardinality(String),
    revision UInt32,
    symbol LowCardinality(String),
    side LowCardinality(String),
    type LowCardinality(String),
    qty Nullable(Decimal(38, 9)),
    notional Nullable(Decimal(38, 9)),
    time_in_force LowCardinality(String),
    limit_price Nullable(Decimal(38, 9)),
    stop_price Nullable(Decimal(38, 9)),
    trail_price Nullable(Decimal(38, 9)),
    trail_percent Nullable(Decimal(38, 9)),
    extended_hours Bool,
    order_class LowCardinality(String),
    take_profit_limit_price Nullable(Decimal(38, 9)),
    stop_loss_stop_price Nullable(Decimal(38, 9)),
    stop_loss_limit_price Nullable(Decimal(38, 9)),
    position_intent LowCardinality(String),
    reduce_only Bool,
    exec_id String,
    ref_exec_id String,
    last_qty Nullable(Decimal(38, 9)),
    last_px Nullable(Decimal(38, 9)),
    cum_qty Nullable(Decimal(38, 9)),
    commission Nullable(Decimal(38, 9)),
    refusal_code LowCardinality(String),
    refusal_text String,
    refusal_limit String,
    refusal_actual String,
    rules_version UInt64,
    text String,
    ts_requested Nullable(DateTime64(9, 'UTC')),
    ts_event DateTime64(9, 'UTC'),
    ts_init DateTime64(9, 'UTC'),
    raw String codec(ZSTD(3)),
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64 codec(Delta, ZSTD(1)),
    _key String codec(ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') codec(Delta, ZSTD(1)),
    _inserted DateTime64(3, 'UTC') default now64(3, 'UTC'),
    index offsets (_partition, _offset) type minmax granularity 1
)
engine = ReplacingMergeTree
partition by toYYYYMM(_timestamp)
order by (account, order_id, ts_init, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per version of an order; a version may come more than once.
-- ORDER BY account, order_id, version: the newest version of an order is the last of its run.
create table if not exists orders_log
(
    account LowCardinality(String),
    order_id String,
    version UInt64,
    status LowCardinality(String),
    client_order_id String,
    parent_order_id String,
    broker LowCardinality(String),
    strategy LowCardinality(String),
    revision UInt32,
    symbol LowCardinality(String),
    side LowCardinality(String),
    type LowCardinality(String),
    qty Nullable(Decimal(38, 9)),
    notional Nullable(Decimal(38, 9)),
    time_in_force LowCardinality(String),
    limit_price Nullable(Decimal(38, 9)),
    stop_price Nullable(Decimal(38, 9)),
    trail_price Nullable(Decimal(38, 9)),
    trail_percent Nullable(Decimal(38, 9)),
    extended_hours Bool,
    order_class LowCardinality(String),
    take_profit_limit_price Nullable(Decimal(38, 9)),
    stop_loss_stop_price Nullable(Decimal(38, 9)),
    stop_loss_limit_price Nullable(Decimal(38, 9)),
    position_intent LowCardinality(String),
    reduce_only Bool,
    cum_qty Decimal(38, 12),
    leaves_qty Decimal(38, 12),
    avg_px Nullable(Decimal(38, 12)),
    commission Decimal(38, 12),
    overfill_qty Decimal(38, 12),
    fills UInt32,
    refusal_code LowCardinality(String),
    refusal_text String,
    refusal_limit String,
    refusal_actual String,
    rules_version UInt64,
    ts_requested Nullable(DateTime64(9, 'UTC')),
    ts_updated DateTime64(9, 'UTC'),
    raw String codec(ZSTD(3)),
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64 codec(Delta, ZSTD(1)),
    _key String codec(ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') codec(Delta, ZSTD(1)),
    _inserted DateTime64(3, 'UTC') default now64(3, 'UTC'),
    index offsets (_partition, _offset) type minmax granularity 1
)
engine = ReplacingMergeTree
partition by toYYYYMM(_timestamp)
order by (account, order_id, version, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;
