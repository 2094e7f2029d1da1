-- What the virtual venue states of its orders.

-- One row per account and symbol, each time anew; the orders are in `raw`.
-- ORDER BY broker, account, ts_event: what was stated of one account at one time.
create table if not exists statements_log
(
    broker LowCardinality(String),
    account LowCardinality(String),
    symbol LowCardinality(String),
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
order by (broker, account, ts_event, symbol, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per order and statement that has it.
create or replace view stated_orders as
select
    broker,
    account,
    symbol,
    JSONExtractString(stated, 'order_id') as order_id,
    JSONExtractString(stated, 'client_order_id') as client_order_id,
    JSONExtractString(stated, 'state') as state,
    toDecimal128(JSONExtractString(stated, 'cum_qty'), 9) as cum_qty,
    ts_event
from statements_log
array join JSONExtractArrayRaw(raw, 'orders') as stated
limit 1 by broker, account, client_order_id, ts_event;
