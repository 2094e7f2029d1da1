-- What the demo's summary asks, about one run; not for users.
--
-- `run` is what the run's accounts begin with. `starts` and `ends` are offsets by partition: the
-- run's records of a topic are those from start (inclusive) to end (exclusive).

-- name: demo_orders
-- How many of the run's own orders stand in each status; children of brackets are out.
-- params: run
select
    status,
    count() as orders
from orders_now
where startsWith(account, {run:String})
    and parent_order_id = ''
group by status;

-- name: demo_rejected
-- How many of the run's orders were rejected for each reason.
-- params: run
select
    refusal_code as code,
    count() as orders
from orders_now
where startsWith(account, {run:String})
    and parent_order_id = ''
    and status = 'rejected'
group by code
order by
    orders desc,
    code;

-- name: demo_fills
-- The run's distinct executions.
-- params: run
select count()
from fills
where startsWith(account, {run:String});

-- name: demo_positions
-- Each position of the run beside the sum of its distinct executions.
-- params: run
select
    account,
    symbol,
    sum(from_fills) as by_fills,
    sum(from_positions) as by_positions
from
(
    select
        account,
        symbol,
        toDecimal128(qty_signed, 12) as from_fills,
        toDecimal128(0, 12) as from_positions
    from fills
    where startsWith(account, {run:String})
    union all
    select
        account,
        symbol,
        toDecimal128(0, 12) as from_fills,
        qty as from_positions
    from positions_now
    where startsWith(account, {run:String})
)
group by
    account,
    symbol
order by
    account,
    symbol;

-- name: demo_latency
-- Milliseconds from an order's request (the Kafka timestamp of its record) until the broker's first
-- answer was written down.
-- params: run
with answers as
(
    select
        minIf(toUnixTimestamp64Nano(ts_init), broker != '' and event != 'routed') as answered,
        toUnixTimestamp64Nano(assumeNotNull(minIf(ts_requested, event = 'approved'))) as requested
    from order_events
    where startsWith(account, {run:String})
        and parent_order_id = ''
    group by
        account,
        order_id
    having countIf(event = 'approved') > 0
        and countIf(broker != '' and event != 'routed') > 0
)
select
    count() as orders,
    quantileExact(0.5)((answered - requested) / 1e6) as p50,
    quantileExact(0.99)((answered - requested) / 1e6) as p99
from answers;

-- name: demo_rows
-- The run's records of one topic that its table holds, each counted once.
-- params: table topic starts ends
select uniqExact(_partition, _offset)
from {table:Identifier}
where _topic = {topic:String}
    and _offset >= {starts:Array(UInt64)}[_partition + 1]
    and _offset < {ends:Array(UInt64)}[_partition + 1];

-- name: demo_dead_letters
-- How many of one topic's records between two offsets are dead letters, and how many of them are
-- the run's own.
-- params: run topic starts ends
select
    uniqExact(source_partition, source_offset) as records,
    uniqExactIf((source_partition, source_offset), startsWith(_key, {run:String})) as own
from dead_letters
where source_topic = {topic:String}
    and source_offset >= {starts:Array(UInt64)}[source_partition + 1]
    and source_offset < {ends:Array(UInt64)}[source_partition + 1];
