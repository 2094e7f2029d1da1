-- Ticks and last prices. No `raw` column: every field of a tick has a column of its own.
-- sql/README.md has what holds for all tables.

-- One row per print that was on Kafka, repetitions by the source included.
-- ORDER BY symbol, ts_event: bars read one symbol's span of time; exchange and seq lay a
-- repetition beside its original. Window 10,000: ticks come in many blocks.
create table if not exists trades_log
(
    symbol LowCardinality(String),
    ts_event DateTime64(9, 'UTC') codec(Delta, ZSTD(1)),
    exchange LowCardinality(String),
    seq UInt64,
    price Decimal(38, 9) codec(ZSTD(1)),
    size Decimal(38, 9) codec(ZSTD(1)),
    conditions LowCardinality(String),
    suspicious Bool,
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
order by (symbol, ts_event, exchange, seq, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 10000;

-- One row per top of book of an exchange that was on Kafka; null: that side did not change.
-- ORDER BY as trades_log.
create table if not exists quotes_log
(
    symbol LowCardinality(String),
    ts_event DateTime64(9, 'UTC') codec(Delta, ZSTD(1)),
    exchange LowCardinality(String),
    seq UInt64,
    bid Nullable(Decimal(38, 9)) codec(ZSTD(1)),
    bid_size Nullable(Decimal(38, 9)) codec(ZSTD(1)),
    ask Nullable(Decimal(38, 9)) codec(ZSTD(1)),
    ask_size Nullable(Decimal(38, 9)) codec(ZSTD(1)),
    conditions LowCardinality(String),
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
order by (symbol, ts_event, exchange, seq, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 10000;

-- One row per change of a symbol's newest prices, conflated.
-- ORDER BY symbol, ts_event: the newest is the last of its run.
create table if not exists last_prices_log
(
    symbol LowCardinality(String),
    last Nullable(Decimal(38, 9)),
    bid Nullable(Decimal(38, 9)),
    ask Nullable(Decimal(38, 9)),
    ts_event DateTime64(9, 'UTC') codec(Delta, ZSTD(1)),
    ts_init DateTime64(9, 'UTC') codec(Delta, ZSTD(1)),
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
order by (symbol, ts_event, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;
