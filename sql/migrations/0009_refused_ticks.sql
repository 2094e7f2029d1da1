-- Ticks that the checks refused or noted, as counts. sql/README.md has what holds for all tables.

-- One row per count that was on Kafka; a count goes out again while it grows.
-- ORDER BY symbol, ts_minute: people ask what was wrong with a symbol, and when.
create table if not exists refused_ticks_log
(
    symbol LowCardinality(String),
    reason LowCardinality(String),
    refused Bool,
    ticks UInt64,
    ts_minute DateTime64(9, 'UTC') codec(Delta, ZSTD(1)),
    source_topic LowCardinality(String),
    source_partition UInt32,
    source_offset UInt64,
    sample String codec(ZSTD(3)),
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
order by (symbol, ts_minute, reason, source_topic, source_partition, source_offset, ticks, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per symbol, reason, minute and place where its counting began: the largest count.
create or replace view refused_ticks as
select *
from refused_ticks_log
order by
    symbol desc,
    ts_minute desc,
    reason desc,
    source_topic desc,
    source_partition desc,
    source_offset desc,
    ticks desc
limit 1 by symbol, ts_minute, reason, source_topic, source_partition, source_offset;
