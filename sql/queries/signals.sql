-- name: signals
-- What strategies decided, newest first, with the place of the record that each decided on.
-- params: strategy= symbol= since=1970-01-01 until=2200-01-01
select
    ts_event,
    strategy,
    symbol,
    strength,
    price,
    reason,
    cause_topic,
    cause_partition,
    cause_offset,
    signal_id,
    ts_init
from signals
where ({strategy:String} = '' or strategy = {strategy:String})
    and ({symbol:String} = '' or symbol = {symbol:String})
    and ts_event >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
    and ts_event < parseDateTime64BestEffort({until:String}, 9, 'UTC')
order by
    ts_event desc,
    strategy,
    symbol,
    signal_id;

-- name: strategies
-- How each strategy stands on each symbol.
-- params: strategy= symbol=
select
    strategy,
    symbol,
    implementation,
    status,
    text,
    signals,
    errors,
    strength,
    ts_signal,
    version,
    ts_updated
from strategies_now
where ({strategy:String} = '' or strategy = {strategy:String})
    and ({symbol:String} = '' or symbol = {symbol:String})
order by
    strategy,
    symbol;

-- name: decisions
-- What strategies decided, on what, and what came of it, newest first.
-- `cause` is the bar, indicator or print that stands where the signal says. Allocations and orders
-- carry the strategy, no signal: they count for the newest decision on their symbol before them; orders
-- of an allocation count for its decision.
-- params: strategy= symbol= since=1970-01-01 until=2200-01-01
with decided as
(
    select
        *,
        strategy as by_strategy,
        symbol as on_symbol
    from signals
    where ({strategy:String} = '' or strategy = {strategy:String})
        and ({symbol:String} = '' or symbol = {symbol:String})
),
causes as
(
    select
        'market.bars.v1' as topic,
        _partition,
        _offset,
        concat(
            'bar ', frame, ' ', toString(ts_start, 'UTC'), ' rev ', toString(rev),
            ' open ', ifNull(toString(open), '-'), ' high ', ifNull(toString(high), '-'),
            ' low ', ifNull(toString(low), '-'), ' close ', ifNull(toString(close), '-')
        ) as text
    from bars_log
    where (_partition, _offset) in (
        select cause_partition, cause_offset from decided where cause_topic = 'market.bars.v1'
    )
    union all
    select
        'indicators.v1' as topic,
        _partition,
        _offset,
        concat(
            name, ' ', frame, ' ', toString(ts_start, 'UTC'), ' rev ', toString(rev), ' ',
            toString(values)
        ) as text
    from indicators_log
    where (_partition, _offset) in (
        select cause_partition, cause_offset from decided where cause_topic = 'indicators.v1'
    )
    union all
    select
        'market.trades.v1' as topic,
        _partition,
        _offset,
        concat('print ', toString(ts_event, 'UTC'), ' ', toString(size), ' at ', toString(price)) as text
    from trades_log
    where (_partition, _offset) in (
        select cause_partition, cause_offset from decided where cause_topic = 'market.trades.v1'
    )
),
requested as
(
    select
        allocation_id,
        account,
        strategy,
        ts_requested,
        arrayJoin(JSONExtract(raw, 'order_fill', 'Array(Tuple(symbol String))')).symbol as symbol
    from allocations_now
    where strategy in (select by_strategy from decided)
),
allocated as
(
    select
        d.signal_id as signal_id,
        d.strategy as strategy,
        d.symbol as symbol,
        r.account as account,
        r.allocation_id as allocation_id
    from requested as r
    asof join decided as d
        on r.strategy = d.strategy and r.symbol = d.symbol and r.ts_requested >= d.ts_event
),
sent as
(
    select
        order_id,
        extract(order_id, '^al:(.+):[^:]+:[0-9]+$') as of_allocation,
        account,
        strategy,
        symbol,
        refusal_code,
        if(side = 'sell', -1, 1) * cum_qty as done,
        cum_qty as executed,
        cum_qty * ifNull(avg_px, 0) as paid,
        ifNull(ts_requested, ts_updated) as ts_sent
    from orders_now
    where strategy in (select by_strategy from decided)
        and symbol in (select on_symbol from decided)
),
attributed as
(
    select a.signal_id as by_signal, s.*
    from sent as s
    join allocated as a
        on s.account = a.account
        and s.of_allocation = a.allocation_id
        and s.strategy = a.strategy
        and s.symbol = a.symbol
    union all
    select d.signal_id as by_signal, s.*
    from (select * from sent where of_allocation = '') as s
    asof join decided as d
        on s.strategy = d.strategy and s.symbol = d.symbol and s.ts_sent >= d.ts_init
),
asked as
(
    select
        signal_id,
        strategy,
        symbol,
        arraySort(groupUniqArray(concat(account, '|', allocation_id))) as allocations
    from allocated
    group by
        signal_id,
        strategy,
        symbol
),
ordered as
(
    select
        by_signal,
        strategy,
        symbol,
        arraySort(groupUniqArray(concat(account, '|', order_id))) as orders,
        arraySort(groupUniqArrayIf(refusal_code, refusal_code != '')) as refusals,
        sum(done) as filled_qty,
        sum(attributed.paid) as paid,
        sum(attributed.executed) as executed
    from attributed
    group by
        by_signal,
        strategy,
        symbol
)
select
    d.ts_event as ts_event,
    d.strategy as strategy,
    d.symbol as symbol,
    d.strength as strength,
    d.price as price,
    d.reason as reason,
    c.text as cause,
    a.allocations as allocations,
    o.orders as orders,
    o.refusals as refusals,
    o.filled_qty as filled_qty,
    if(o.executed = 0, null, toDecimal128(divideDecimal(o.paid, o.executed, 9), 9)) as avg_px,
    d.cause_topic as cause_topic,
    d.cause_partition as cause_partition,
    d.cause_offset as cause_offset,
    d.signal_id as signal_id
from decided as d
left join (select * from causes limit 1 by topic, _partition, _offset) as c
    on c.topic = d.cause_topic and c._partition = d.cause_partition and c._offset = d.cause_offset
left join asked as a
    on a.signal_id = d.signal_id and a.strategy = d.strategy and a.symbol = d.symbol
left join ordered as o
    on o.by_signal = d.signal_id and o.strategy = d.strategy and o.symbol = d.symbol
where d.ts_event >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
    and d.ts_event < parseDateTime64BestEffort({until:String}, 9, 'UTC')
order by
    ts_event desc,
    strategy,
    symbol,
    signal_id;
