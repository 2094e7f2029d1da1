-- What operators set, and what could not be used. sql/README.md has what holds for all tables.

-- One row per control record; `raw` holds its kind's own fields as JSON.
-- ORDER BY kind, scope, version: the newest version is the last of its run.
create table if not exists controls_log
(
    kind LowCardinality(String),
    scope String,
    version UInt64,
    by String,
    reason String,
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
order by (kind, scope, version, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per record that could not be used: its bytes, and its headers as they came.
-- ORDER BY _timestamp: people look at the newest; nothing else is known of every record.
create table if not exists dead_letters_log
(
    value String codec(ZSTD(3)),
    headers Map(String, String),
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
order by (_timestamp, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;
