-- What a replay asks ClickHouse; not for users.

-- name: replay_hours
-- The hours that hold ticks, in seconds since 1970; symbols are separated by commas, empty: all.
-- params: from to symbols
select distinct toUnixTimestamp(toStartOfHour(ts_event)) as hour
from
(
    select symbol, ts_event from trades_log
    union all
    select symbol, ts_event from quotes_log
)
where ts_event >= fromUnixTimestamp64Nano({from:Int64})
    and ts_event < fromUnixTimestamp64Nano({to:Int64})
    and ({symbols:String} = '' or has(splitByChar(',', {symbols:String}), symbol))
order by hour;

-- name: replay_ticks
-- The ticks of a span in the order of the market, each once; bid and ask are null in trades.
-- params: from to symbols
select
    symbol,
    toUnixTimestamp64Nano(ts_event) as ts_event_ns,
    seq,
    exchange,
    conditions,
    toNullable(price) as price,
    toNullable(size) as size,
    suspicious,
    correction_of,
    canceled,
    cast(null, 'Nullable(Decimal(38, 9))') as bid,
    cast(null, 'Nullable(Decimal(38, 9))') as bid_size,
    cast(null, 'Nullable(Decimal(38, 9))') as ask,
    cast(null, 'Nullable(Decimal(38, 9))') as ask_size
from trades_log
where ts_event >= fromUnixTimestamp64Nano({from:Int64})
    and ts_event < fromUnixTimestamp64Nano({to:Int64})
    and ({symbols:String} = '' or has(splitByChar(',', {symbols:String}), symbol))
order by _partition, _offset
limit 1 by symbol, ts_event, exchange, seq, if(seq = 0, _partition, 0), if(seq = 0, _offset, 0)
union all
select
    symbol,
    toUnixTimestamp64Nano(ts_event) as ts_event_ns,
    seq,
    exchange,
    conditions,
    cast(null, 'Nullable(Decimal(38, 9))') as price,
    cast(null, 'Nullable(Decimal(38, 9))') as size,
    false as suspicious,
    0 as correction_of,
    false as canceled,
    bid,
    bid_size,
    ask,
    ask_size
from quotes_log
where ts_event >= fromUnixTimestamp64Nano({from:Int64})
    and ts_event < fromUnixTimestamp64Nano({to:Int64})
    and ({symbols:String} = '' or has(splitByChar(',', {symbols:String}), symbol))
order by _partition, _offset
limit 1 by symbol, ts_event, exchange, seq, if(seq = 0, _partition, 0), if(seq = 0, _offset, 0);
