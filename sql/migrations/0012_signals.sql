-- Indicators, signals and strategies; targets of positions; orders sent in slices.
-- sql/README.md has what holds for all tables.

-- One row per value of an indicator and revision.
-- ORDER BY symbol, name, frame, ts_start: a chart reads one indicator of one symbol over a span of time.
create table if not exists indicators_log
(
    symbol LowCardinality(String),
    frame LowCardinality(String),
    name LowCardinality(String),
    ts_start DateTime64(9, 'UTC'),
    ts_end DateTime64(9, 'UTC'),
    ts_init DateTime64(9, 'UTC'),
    rev UInt32,
    values Map(LowCardinality(String), Float64),
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
order by (symbol, name, frame, ts_start, rev, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per value: that of the newest revision.
create or replace view indicators as
select *
from indicators_log
order by
    symbol desc,
    name desc,
    frame desc,
    ts_start desc,
    rev desc
limit 1 by symbol, name, frame, ts_start;

-- One row per decision of a strategy.
-- ORDER BY strategy, symbol, ts_event: what one strategy decided, in market time.
create table if not exists signals_log
(
    signal_id String,
    strategy LowCardinality(String),
    symbol LowCardinality(String),
    reason String,
    cause_topic LowCardinality(String),
    strength Nullable(Decimal(38, 9)),
    price Nullable(Decimal(38, 9)),
    cause_partition UInt32,
    cause_offset UInt64,
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
order by (strategy, symbol, ts_event, signal_id, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per decision, with where the record stands that caused it.
create or replace view signals as
select *
from signals_log
limit 1 by strategy, symbol, signal_id;

-- One row per version of a strategy's state on a symbol.
-- ORDER BY strategy, symbol, version: the newest version is the last of its run.
create table if not exists strategies_log
(
    strategy LowCardinality(String),
    symbol LowCardinality(String),
    implementation LowCardinality(String),
    status LowCardinality(String),
    text String,
    version UInt64,
    controls_version UInt64,
    signals UInt64,
    errors UInt64,
    strength Nullable(Decimal(38, 9)),
    ts_signal Nullable(DateTime64(9, 'UTC')),
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
order by (strategy, symbol, version, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per strategy and symbol: how it stands.
create or replace view strategies_now as
select *
from strategies_log
order by
    strategy desc,
    symbol desc,
    version desc
limit 1 by strategy, symbol;

-- One row per fill of an order that carries a strategy.
-- ORDER BY strategy, symbol, ts_event: what one strategy traded, in market time.
create table if not exists strategy_fills_log
(
    strategy LowCardinality(String),
    symbol LowCardinality(String),
    side LowCardinality(String),
    account LowCardinality(String),
    order_id String,
    event LowCardinality(String),
    event_id String,
    exec_id String,
    ref_exec_id String,
    last_qty Nullable(Decimal(38, 9)),
    last_px Nullable(Decimal(38, 9)),
    commission Nullable(Decimal(38, 9)),
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
order by (strategy, symbol, ts_event, event_id, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per fill, each once.
create or replace view strategy_fills as
select *
from strategy_fills_log
limit 1 by strategy, symbol, event_id;

-- One row per request; its targets are in `raw`.
-- ORDER BY account, allocation_id: as it is asked for.
create table if not exists allocation_requests_log
(
    command LowCardinality(String),
    allocation_id String,
    account LowCardinality(String),
    strategy LowCardinality(String),
    type LowCardinality(String),
    time_in_force LowCardinality(String),
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
order by (account, allocation_id, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per request.
create or replace view allocation_requests as
select *
from allocation_requests_log
limit 1 by account, allocation_id, command, ts_event;

-- One row per version of an allocation; progress per symbol is in `raw`.
-- ORDER BY account, allocation_id, version: the newest version is the last of its run.
create table if not exists allocations_log
(
    allocation_id String,
    account LowCardinality(String),
    strategy LowCardinality(String),
    parent_id String,
    status LowCardinality(String),
    version UInt64,
    ts_requested DateTime64(9, 'UTC'),
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
order by (account, allocation_id, version, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per allocation and account: how it stands.
create or replace view allocations_now as
select *
from allocations_log
order by
    account desc,
    allocation_id desc,
    version desc
limit 1 by account, allocation_id;

-- One row per request.
-- ORDER BY account, parent_id: as it is asked for.
create table if not exists slice_requests_log
(
    command LowCardinality(String),
    parent_id String,
    account LowCardinality(String),
    strategy LowCardinality(String),
    symbol LowCardinality(String),
    side LowCardinality(String),
    qty Nullable(Decimal(38, 9)),
    limit_price Nullable(Decimal(38, 9)),
    participation Nullable(Decimal(38, 9)),
    min_slice_qty Nullable(Decimal(38, 9)),
    interval_s Nullable(Decimal(38, 9)),
    ts_start Nullable(DateTime64(9, 'UTC')),
    ts_end Nullable(DateTime64(9, 'UTC')),
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
order by (account, parent_id, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per request.
create or replace view slice_requests as
select *
from slice_requests_log
limit 1 by account, parent_id, command, ts_event;

-- One row per version of a sliced order.
-- ORDER BY account, parent_id, version: the newest version is the last of its run.
create table if not exists slices_log
(
    parent_id String,
    account LowCardinality(String),
    symbol LowCardinality(String),
    side LowCardinality(String),
    kind LowCardinality(String),
    status LowCardinality(String),
    text String,
    version UInt64,
    children UInt32,
    qty Nullable(Decimal(38, 9)),
    sent_qty Nullable(Decimal(38, 12)),
    cum_qty Nullable(Decimal(38, 12)),
    avg_px Nullable(Decimal(38, 12)),
    leaves_qty Nullable(Decimal(38, 12)),
    market_volume Nullable(Decimal(38, 12)),
    ts_start DateTime64(9, 'UTC'),
    ts_end DateTime64(9, 'UTC'),
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
order by (account, parent_id, version, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per sliced order: how it stands.
create or replace view slices_now as
select *
from slices_log
order by
    account desc,
    parent_id desc,
    version desc
limit 1 by account, parent_id;
