-- name: positions
-- What each account holds now, marked at the newest price; flat positions are left out.
-- `ts_mark`: when that price was made, so how old the mark is.
-- params: account= symbol=
select
    p.account as account,
    p.symbol as symbol,
    p.qty as qty,
    p.avg_entry_px as avg_entry_px,
    coalesce(toDecimal128(l.last, 12), p.mark_px) as mark_px,
    if(l.last is null, p.ts_mark, coalesce(l.ts_last, l.ts_event)) as ts_mark,
    toDecimal128(p.qty * mark_px, 9) as market_value,
    toDecimal128(p.qty * (mark_px - p.avg_entry_px), 9) as unrealized_pl,
    p.realized_pl as realized_pl,
    p.commission as commission,
    p.fills as fills,
    p.ts_updated as ts_updated
from positions_now as p
left join last_prices_now as l on l.symbol = p.symbol
where p.qty != 0
    and ({account:String} = '' or p.account = {account:String})
    and ({symbol:String} = '' or p.symbol = {symbol:String})
order by
    account,
    symbol;

-- name: pnl_by_symbol_day
-- Profit and loss of each symbol and New York day: realised (commissions off), change of unrealised.
-- params: account= symbol= since=1970-01-01 until=2149-01-01
with closes as
(
    select
        account,
        symbol,
        toDate(ts_updated, 'America/New_York') as day,
        argMax(realized_pl, version) as realized,
        argMax(coalesce(unrealized_pl, 0), version) as unrealized,
        argMax(commission, version) as paid
    from position_updates
    where ({account:String} = '' or account = {account:String})
        and ({symbol:String} = '' or symbol = {symbol:String})
    group by
        account,
        symbol,
        day
),
changes as
(
    select
        symbol,
        day,
        realized - lagInFrame(realized, 1, 0) over days as realized_pl,
        unrealized - lagInFrame(unrealized, 1, 0) over days as unrealized_change,
        paid - lagInFrame(paid, 1, 0) over days as commission
    from closes
    window days as
    (
        partition by
            account,
            symbol
        order by day
        rows between unbounded preceding and current row
    )
)
select
    day,
    symbol,
    sum(changes.realized_pl) as realized_pl,
    sum(changes.unrealized_change) as unrealized_change,
    realized_pl + unrealized_change as total_pl,
    sum(changes.commission) as commission
from changes
where day >= toDate({since:String})
    and day < toDate({until:String})
group by
    day,
    symbol
order by
    day,
    symbol;
