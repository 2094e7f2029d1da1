-- What comparisons of brokers with us found.

-- One row per difference, and one per comparison (finding `summary`).
-- ORDER BY broker, run_id: what one comparison found lies together.
create table if not exists reconciliations_log
(
    finding LowCardinality(String),
    reconciliation_id String,
    run_id String,
    broker LowCardinality(String),
    partition UInt32,
    account LowCardinality(String),
    symbol LowCardinality(String),
    order_id String,
    client_order_id String,
    ours String,
    theirs String,
    mended Bool,
    orders UInt64,
    positions UInt64,
    differences UInt64,
    unmended UInt64,
    text String,
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
order by (broker, run_id, reconciliation_id, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per difference and per comparison.
create or replace view reconciliations as
select *
from reconciliations_log
limit 1 by broker, run_id, reconciliation_id;
