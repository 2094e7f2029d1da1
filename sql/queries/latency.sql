-- name: order_timeline
-- Everything that happened to an order, with the milliseconds since the step before and the first.
-- params: order_id account=
with steps as
(
    select
        coalesce(ts_event, toDateTime64(_timestamp, 9, 'UTC')) as ts,
        0 as place,
        account,
        concat('requested ', command) as step,
        '' as broker,
        '' as leg,
        qty,
        limit_price as px,
        '' as text
    from order_requests
    where order_id = {order_id:String}
        and ({account:String} = '' or account = {account:String})
    union all
    select
        ts_init as ts,
        1 + _offset as place,
        account,
        event as step,
        broker,
        leg,
        coalesce(last_qty, qty) as qty,
        coalesce(last_px, limit_price) as px,
        if(refusal_code = '', text, concat(refusal_code, ': ', refusal_text)) as text
    from order_events
    where order_id = {order_id:String}
        and ({account:String} = '' or account = {account:String})
)
select
    ts,
    account,
    step,
    broker,
    leg,
    qty,
    px,
    text,
    (toUnixTimestamp64Nano(ts) - toUnixTimestamp64Nano(lagInFrame(ts, 1, ts) over timeline)) / 1e6
        as since_previous_ms,
    (toUnixTimestamp64Nano(ts) - toUnixTimestamp64Nano(first_value(ts) over timeline)) / 1e6
        as since_first_ms
from steps
window timeline as
(
    partition by account
    order by
        ts,
        place
    rows between unbounded preceding and current row
)
order by
    account,
    ts,
    place;

-- name: hop_latency
-- Milliseconds that orders spent in each hop, from the request to the first fill.
-- params: account= since=1970-01-01 until=2200-01-01
with orders as
(
    select
        toUnixTimestamp64Nano(minIf(ts_requested, event = 'approved')) as requested,
        toUnixTimestamp64Nano(minIf(ts_init, event = 'approved')) as approved,
        toUnixTimestamp64Nano(minIf(ts_init, event = 'routed')) as routed,
        toUnixTimestamp64Nano(minIf(ts_init, event = 'accepted')) as accepted,
        toUnixTimestamp64Nano(minIf(ts_init, event = 'fill')) as filled
    from order_events
    where ({account:String} = '' or account = {account:String})
        and ts_init >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
        and ts_init < parseDateTime64BestEffort({until:String}, 9, 'UTC')
    group by
        account,
        order_id
),
hops as
(
    select arrayJoin
    (
        [
            (1, 'requested to approved', requested, approved),
            (2, 'approved to routed', approved, routed),
            (3, 'routed to accepted', routed, accepted),
            (4, 'accepted to filled', accepted, filled),
            (5, 'requested to filled', requested, filled)
        ]
    ) as hop
    from orders
)
select
    hop.2 as name,
    count() as orders,
    quantileExact(0.5)((hop.4 - hop.3) / 1e6) as p50_ms,
    quantileExact(0.9)((hop.4 - hop.3) / 1e6) as p90_ms,
    quantileExact(0.99)((hop.4 - hop.3) / 1e6) as p99_ms,
    max((hop.4 - hop.3) / 1e6) as max_ms
from hops
where hop.3 > 0
    and hop.4 > 0
group by
    hop.1,
    hop.2
order by hop.1;
