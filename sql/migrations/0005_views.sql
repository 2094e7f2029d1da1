-- What users query. Every view is right while its table holds repetitions:
--
-- - the same record inserted twice (equal topic, partition, offset), which a merge folds later;
-- - the same fact on Kafka twice (equal event id, version, execution id or tick), because what
--   is redelivered to an agent is emitted again with the same ids.
--
-- `limit 1 by` folds both in one pass. Its columns start with the table's ORDER BY, so a filter on
-- account, order, symbol or time reaches the primary key through the view. `… desc limit 1 by`
-- walks the primary key backwards: the newest version is the first of its run.

-- One row per command as it came; a command sent twice is two rows.
create or replace view order_requests as
select *
from order_requests_log
final;

-- One row per command that was approved.
create or replace view approved_orders as
select *
from approved_orders_log
limit 1 by account, order_id, command, request_id;

-- One row per command sent to a broker.
create or replace view venue_orders as
select *
from venue_orders_log
limit 1 by account, order_id, broker, client_order_id, command, request_id;

-- One row per thing that happened to an order.
create or replace view order_events as
select *
from order_events_log
limit 1 by account, order_id, event_id;

-- One row per execution that stands: busted ones are out, a correction takes the place of what it
-- corrects. Where several changes refer to one execution, the newest one holds.
create or replace view fills as
with changes as
(
    select
        account,
        broker,
        exec_id,
        ref_exec_id,
        row_number() over
        (
            partition by account, broker, ref_exec_id
            order by ts_init desc, exec_id desc
        ) as age
    from order_events
    where event in ('fill_busted', 'fill_corrected')
)
select
    account,
    order_id,
    symbol,
    side,
    assumeNotNull(last_qty) as qty,
    assumeNotNull(last_px) as px,
    if(side = 'sell', -qty, qty) as qty_signed,
    qty * px as value,
    assumeNotNull(commission) as commission,
    cum_qty,
    exec_id,
    ref_exec_id,
    broker,
    leg,
    strategy,
    client_order_id,
    parent_order_id,
    event_id,
    ts_event,
    ts_init,
    _topic,
    _partition,
    _offset
from order_events_log
where event in ('fill', 'fill_corrected')
    and (account, broker, exec_id) not in (select account, broker, ref_exec_id from changes)
    and (account, broker, exec_id) not in (select account, broker, exec_id from changes where age > 1)
limit 1 by account, broker, exec_id;

-- One row per version of an order.
create or replace view order_updates as
select *
from orders_log
limit 1 by account, order_id, version;

-- One row per order, as it stands.
create or replace view orders_now as
select *
from orders_log
order by
    account desc,
    order_id desc,
    version desc
limit 1 by account, order_id;

-- One row per version of a position.
create or replace view position_updates as
select *
from positions_log
limit 1 by account, symbol, version;

-- One row per position, as it stands; flat ones included.
create or replace view positions_now as
select *
from positions_log
order by
    account desc,
    symbol desc,
    version desc
limit 1 by account, symbol;

-- One row per version of an account's money.
create or replace view account_updates as
select *
from accounts_log
limit 1 by account, version;

-- One row per account, as it stands.
create or replace view accounts_now as
select *
from accounts_log
order by
    account desc,
    version desc
limit 1 by account;

-- One row per print. A source that repeats itself gives equal time, exchange and seq; a seq of 0
-- says that the source does not number, so nothing tells a repetition from an equal print.
create or replace view trades as
select *
from trades_log
limit 1 by symbol, ts_event, exchange, seq, if(seq = 0, _partition, 0), if(seq = 0, _offset, 0);

-- One row per top of book of an exchange; repetitions as in trades.
create or replace view quotes as
select *
from quotes_log
limit 1 by symbol, ts_event, exchange, seq, if(seq = 0, _partition, 0), if(seq = 0, _offset, 0);

-- One row per trade or quote.
create or replace view ticks as
select
    'trade' as kind,
    symbol,
    ts_event,
    exchange,
    seq,
    toNullable(price) as price,
    toNullable(size) as size,
    cast(null, 'Nullable(Decimal(38, 9))') as bid,
    cast(null, 'Nullable(Decimal(38, 9))') as bid_size,
    cast(null, 'Nullable(Decimal(38, 9))') as ask,
    cast(null, 'Nullable(Decimal(38, 9))') as ask_size,
    conditions
from trades
union all
select
    'quote' as kind,
    symbol,
    ts_event,
    exchange,
    seq,
    cast(null, 'Nullable(Decimal(38, 9))') as price,
    cast(null, 'Nullable(Decimal(38, 9))') as size,
    bid,
    bid_size,
    ask,
    ask_size,
    conditions
from quotes;

-- One row per symbol: its newest prices.
create or replace view last_prices_now as
select *
from last_prices_log
order by
    symbol desc,
    ts_event desc,
    ts_init desc
limit 1 by symbol;

-- One row per version of a control.
create or replace view control_updates as
select *
from controls_log
limit 1 by kind, scope, version;

-- One row per control, as it is in force.
create or replace view controls_now as
select *
from controls_log
order by
    kind desc,
    scope desc,
    version desc
limit 1 by kind, scope;

-- One row per record that could not be used, with the headers that tell why; `value` is its bytes.
create or replace view dead_letters as
select
    headers['orderflow.code'] as code,
    headers['__streams.errors.message'] as error,
    headers['orderflow.agent'] as agent,
    headers['__streams.errors.topic'] as source_topic,
    toUInt16OrZero(headers['__streams.errors.partition']) as source_partition,
    toUInt64OrZero(headers['__streams.errors.offset']) as source_offset,
    toUInt32OrZero(headers['orderflow.attempt']) as attempt,
    value,
    headers,
    _key,
    _timestamp,
    _topic,
    _partition,
    _offset,
    _inserted
from dead_letters_log
limit 1 by
    source_topic,
    source_partition,
    source_offset,
    agent,
    attempt,
    if(source_topic = '', _partition, 0),
    if(source_topic = '', _offset, 0);
