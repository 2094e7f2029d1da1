-- Positions and accounts, version by version. sql/README.md has what holds for all tables.

-- One row per version of a position; a version may come more than once.
-- ORDER BY account, symbol, version: the newest version is the last of its run.
create table if not exists positions_log
(
    account LowCardinality(String),
    symbol LowCardinality(String),
    version UInt64,
    qty Decimal(38, 12),
    avg_entry_px Decimal(38, 12),
    realized_pl Decimal(38, 12),
    unrealized_pl Nullable(Decimal(38, 12)),
    mark_px Nullable(Decimal(38, 12)),
    ts_mark Nullable(DateTime64(9, 'UTC')),
    commission Decimal(38, 12),
    buy_qty Decimal(38, 12),
    sell_qty Decimal(38, 12),
    fills UInt32,
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
order by (account, symbol, version, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per version of an account's money; a version may come more than once.
-- ORDER BY account, version: the newest version is the last of its run.
create table if not exists accounts_log
(
    account LowCardinality(String),
    version UInt64,
    cash Decimal(38, 12),
    realized_pl Decimal(38, 12),
    commission Decimal(38, 12),
    fills UInt32,
    day LowCardinality(String),
    realized_pl_day Decimal(38, 12),
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
order by (account, version, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;
