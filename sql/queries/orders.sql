-- name: orders_by_status
-- How many orders stand in each status, most first.
-- params: account= symbol=
select
    status,
    count() as orders,
    uniqExact(account) as accounts,
    sum(leaves_qty) as leaves_qty,
    min(ts_updated) as oldest,
    max(ts_updated) as newest
from orders_now
where ({account:String} = '' or account = {account:String})
    and ({symbol:String} = '' or symbol = {symbol:String})
group by status
order by
    orders desc,
    status;

-- name: orders
-- Orders as they stand, newest change first.
-- params: account= symbol= status= order_id=
select
    account,
    order_id,
    symbol,
    side,
    type,
    qty,
    limit_price,
    stop_price,
    status,
    cum_qty,
    leaves_qty,
    avg_px,
    commission,
    broker,
    strategy,
    refusal_code,
    version,
    ts_requested,
    ts_updated
from orders_now
where ({account:String} = '' or account = {account:String})
    and ({symbol:String} = '' or symbol = {symbol:String})
    and ({status:String} = '' or status = {status:String})
    and ({order_id:String} = '' or order_id = {order_id:String})
order by
    ts_updated desc,
    account,
    order_id;

-- name: fills
-- Executions that stand, newest first; busts and corrections are applied.
-- params: account= symbol= order_id= since=1970-01-01 until=2200-01-01
select
    ts_event,
    account,
    order_id,
    symbol,
    side,
    qty,
    px,
    value,
    commission,
    broker,
    strategy,
    exec_id
from fills
where ({account:String} = '' or account = {account:String})
    and ({symbol:String} = '' or symbol = {symbol:String})
    and ({order_id:String} = '' or order_id = {order_id:String})
    and ts_event >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
    and ts_event < parseDateTime64BestEffort({until:String}, 9, 'UTC')
order by
    ts_event desc,
    account,
    exec_id;

-- name: rejects_by_code
-- What was refused and why, most frequent first; `example` is the newest refusal's text.
-- params: account= since=1970-01-01 until=2200-01-01
select
    refusal_code as code,
    event,
    count() as refusals,
    uniqExact(account, order_id) as orders,
    uniqExact(account) as accounts,
    max(ts_init) as newest,
    argMax(refusal_text, (ts_init, order_id)) as example
from order_events
where event in ('rejected', 'cancel_rejected', 'replace_rejected')
    and ({account:String} = '' or account = {account:String})
    and ts_init >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
    and ts_init < parseDateTime64BestEffort({until:String}, 9, 'UTC')
group by
    code,
    event
order by
    refusals desc,
    code,
    event;
