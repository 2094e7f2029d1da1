-- Bars, and corrections of prints.
-- sql/README.md has what holds for all tables.

-- One row per revision of a bar.
-- ORDER BY symbol, frame, ts_start: a chart reads one symbol's frame over a span of time; the
-- revisions of a bar lie beside each other, the newest last.
create table if not exists bars_log
(
    symbol LowCardinality(String),
    frame LowCardinality(String),
    session LowCardinality(String),
    ts_start DateTime64(9, 'UTC') codec(Delta, ZSTD(1)),
    ts_end DateTime64(9, 'UTC') codec(Delta, ZSTD(1)),
    status LowCardinality(String),
    rev UInt32,
    open Nullable(Decimal(38, 9)) codec(ZSTD(1)),
    high Nullable(Decimal(38, 9)) codec(ZSTD(1)),
    low Nullable(Decimal(38, 9)) codec(ZSTD(1)),
    close Nullable(Decimal(38, 9)) codec(ZSTD(1)),
    volume Nullable(Decimal(38, 12)) codec(ZSTD(1)),
    notional Nullable(Decimal(38, 12)) codec(ZSTD(1)),
    vwap Nullable(Decimal(38, 12)) codec(ZSTD(1)),
    trades UInt64,
    ts_init DateTime64(9, 'UTC') codec(Delta, ZSTD(1)),
    raw String codec(ZSTD(1)),
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
order by (symbol, frame, ts_start, rev, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per revision of a bar, each once.
create or replace view bar_revisions as
select *
from bars_log
limit 1 by symbol, frame, ts_start, rev;

-- One row per bar: its newest revision.
create or replace view bars as
select *
from bars_log
order by
    symbol desc,
    frame desc,
    ts_start desc,
    rev desc
limit 1 by symbol, frame, ts_start;

alter table trades_log
    add column if not exists correction_of UInt64 default 0 after suspicious,
    add column if not exists canceled Bool default false after correction_of;

-- One row per print, corrections and cancels included, as in 0005.
create or replace view trades as
select *
from trades_log
limit 1 by symbol, ts_event, exchange, seq, if(seq = 0, _partition, 0), if(seq = 0, _offset, 0);

-- One row per print that stands: corrected ones as corrected, canceled ones not.
create or replace view trades_standing as
select *
from trades
where not canceled
    and (seq = 0 or (symbol, ts_event, exchange, seq) not in (
        select symbol, ts_event, exchange, correction_of
        from trades_log
        where correction_of > 0
    ))
    and (correction_of = 0 or (symbol, ts_event, exchange, correction_of, seq) in (
        select symbol, ts_event, exchange, correction_of, max(seq)
        from trades_log
        where correction_of > 0
        group by symbol, ts_event, exchange, correction_of
    ));
