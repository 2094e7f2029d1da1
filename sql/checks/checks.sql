-- name: check_duplicate_events
-- No event, execution or record stands twice in what queries see.
select
    'order_events' as seen_in,
    _topic,
    _partition,
    _offset,
    count() as times
from order_events
group by
    _topic,
    _partition,
    _offset
having times > 1
union all
select
    'fills' as seen_in,
    _topic,
    _partition,
    _offset,
    count() as times
from fills
group by
    _topic,
    _partition,
    _offset
having times > 1
union all
select
    'trades' as seen_in,
    _topic,
    _partition,
    _offset,
    count() as times
from trades
group by
    _topic,
    _partition,
    _offset
having times > 1;

-- name: check_fills_without_order
-- Every execution belongs to an order; run it while nothing is on the way.
select
    account,
    order_id,
    exec_id
from fills
where (account, order_id) not in (select account, order_id from orders_now);

-- name: check_orders_missing_at_venue
-- Every order that has been open at the virtual venue for a while is in what it stated lately; run
-- it while the pipeline runs, with a `reconcile_every_s` of a minute or less.
select
    account,
    order_id,
    status,
    ts_updated
from orders_now
where broker = 'virtual'
    and status in ('accepted', 'held', 'triggered', 'partially_filled', 'suspended')
    and ts_updated < now64(9) - interval 3 minute
    and (account, order_id) not in
    (
        select
            account,
            order_id
        from stated_orders
        where state = 'open'
            and ts_event > now64(9) - interval 3 minute
    );

-- name: check_positions_match_fills
-- Every position is the sum of its executions; run it while nothing is on the way.
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
    union all
    select
        account,
        symbol,
        toDecimal128(0, 12) as from_fills,
        qty as from_positions
    from positions_now
)
group by
    account,
    symbol
having by_fills != by_positions;

-- name: check_impossible_quantities
-- No execution is without a quantity or a price, no order has less than nothing left.
select
    account,
    order_id,
    exec_id as id
from fills
where qty <= 0
    or px < 0
union all
select
    account,
    order_id,
    status as id
from orders_now
where leaves_qty < 0
    or cum_qty < 0;
