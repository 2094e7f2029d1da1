-- name: ohlcv
-- Bars of a symbol's trades: right-open, stamped by their start; the source's suspicious prints are out.
-- params: symbol seconds=60 since=1970-01-01 until=2200-01-01
select
    toStartOfInterval(ts_event, toIntervalSecond({seconds:UInt32})) as start,
    argMin(price, (ts_event, seq, _offset)) as open,
    max(price) as high,
    min(price) as low,
    argMax(price, (ts_event, seq, _offset)) as close,
    sum(size) as volume,
    count() as trades,
    toDecimal128(divideDecimal(sum(price * size), sum(size), 9), 9) as vwap
from trades
where symbol = {symbol:String}
    and ts_event >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
    and ts_event < parseDateTime64BestEffort({until:String}, 9, 'UTC')
    and not suspicious
    and size > 0
group by start
order by start;

-- name: last_prices
-- The newest prices of each symbol.
-- params: symbol=
select
    symbol,
    last,
    bid,
    ask,
    ts_event
from last_prices_now
where {symbol:String} = '' or symbol = {symbol:String}
order by symbol;

-- name: refused_ticks
-- Ticks that the checks refused (or noted and took), by symbol and reason, with one of them.
-- params: symbol= since=1970-01-01 until=2200-01-01
select
    symbol,
    reason,
    refused,
    source_topic,
    sum(ticks) as ticks,
    count(distinct ts_minute) as minutes,
    max(ts_minute) as newest_minute,
    argMax(sample, ts_minute) as sample
from refused_ticks
where ({symbol:String} = '' or symbol = {symbol:String})
    and ts_minute >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
    and ts_minute < parseDateTime64BestEffort({until:String}, 9, 'UTC')
group by
    symbol,
    reason,
    refused,
    source_topic
order by
    ticks desc,
    symbol,
    reason,
    source_topic;
