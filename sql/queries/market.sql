-- name: ohlcv
-- Bars of a symbol's trades: right-open, stamped by their start; suspicious prints are out, corrections in.
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
from trades_standing
where symbol = {symbol:String}
    and ts_event >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
    and ts_event < parseDateTime64BestEffort({until:String}, 9, 'UTC')
    and not suspicious
    and size > 0
group by start
order by start;

-- name: bars
-- Bars as they stand now, gaps filled: a bar without trades has the close before it and no volume.
-- Gaps are filled within a trading day, for frames of up to 30 minutes; seconds is the frame's length.
-- params: symbol frame=1m seconds=60 since=1970-01-01 until=2200-01-01
select
    session,
    start,
    if(trades = 0, last, open) as open,
    if(trades = 0, last, high) as high,
    if(trades = 0, last, low) as low,
    last as close,
    volume,
    vwap,
    trades,
    rev
from (
    select
        session,
        ts_start as start,
        bars.open as open,
        bars.high as high,
        bars.low as low,
        bars.close as last,
        assumeNotNull(bars.volume) as volume,
        bars.vwap as vwap,
        bars.trades as trades,
        bars.rev as rev
    from bars
    where symbol = {symbol:String}
        and frame = {frame:String}
        and ts_start >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
        and ts_start < parseDateTime64BestEffort({until:String}, 9, 'UTC')
        and bars.trades > 0
    order by
        session,
        start with fill step toIntervalSecond({seconds:UInt32})
        interpolate (last as last)
)
order by
    session,
    start;

-- name: bar_revisions
-- What was said of a bar, and when: every revision of the bars of a symbol and frame.
-- params: symbol frame=1m since=1970-01-01 until=2200-01-01
select
    ts_start,
    rev,
    status,
    ts_init,
    open,
    high,
    low,
    close,
    volume,
    trades
from bar_revisions
where symbol = {symbol:String}
    and frame = {frame:String}
    and ts_start >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
    and ts_start < parseDateTime64BestEffort({until:String}, 9, 'UTC')
order by
    ts_start,
    rev;

-- name: bars_as_of
-- Bars as they were known at a time, oldest first: revisions of after `as_of` are left out.
-- The default is as they are known now, corrected. `newest_rev` above `rev`: restated since. Where
-- nothing traded there is no bar. The last `newest` ones are given.
-- params: symbol frame=1m as_of=2200-01-01 since=1970-01-01 until=2200-01-01 newest=1000
select
    session,
    ts_start,
    ts_end,
    open,
    high,
    low,
    close,
    volume,
    vwap,
    trades,
    status,
    rev,
    newest_rev,
    ts_init
from (
    select *
    from (
        select
            *,
            max(rev) over (partition by ts_start) as newest_rev
        from bars_log
        where symbol = {symbol:String}
            and frame = {frame:String}
            and ts_start >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
            and ts_start < parseDateTime64BestEffort({until:String}, 9, 'UTC')
    )
    where ts_init <= parseDateTime64BestEffort({as_of:String}, 9, 'UTC')
    order by
        ts_start desc,
        rev desc
    limit 1 by ts_start
    limit {newest:UInt32}
)
order by ts_start;

-- name: bar_spans
-- Of which symbols and frames there are bars, how many, from when until when.
-- params: symbol=
select
    symbol,
    frame,
    uniqExact(ts_start) as bars,
    min(ts_start) as oldest_start,
    max(ts_end) as newest_end
from bars_log
where {symbol:String} = '' or symbol = {symbol:String}
group by
    symbol,
    frame
order by
    symbol,
    newest_end - oldest_start desc,
    bars;

-- name: indicators
-- Indicators after each bar as they stand now: of the newest revision, without those withdrawn.
-- Several outputs of one indicator are one row each; ts_end is when a value could be known.
-- params: symbol name= frame=1m since=1970-01-01 until=2200-01-01
select
    name,
    ts_start,
    ts_end,
    output,
    value,
    rev
from indicators
array join
    mapKeys(values) as output,
    mapValues(values) as value
where symbol = {symbol:String}
    and frame = {frame:String}
    and ({name:String} = '' or name = {name:String})
    and ts_start >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
    and ts_start < parseDateTime64BestEffort({until:String}, 9, 'UTC')
order by
    name,
    ts_start,
    output;

-- name: last_prices
-- The newest prices of each symbol, and when the print and the newest quote were made.
-- params: symbol=
select
    symbol,
    last,
    toDecimal128((bid + ask) / 2, 9) as mid,
    bid,
    ask,
    ts_last,
    ts_quote,
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
