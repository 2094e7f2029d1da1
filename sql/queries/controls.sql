-- name: sent_after_kill_switch
-- Orders that a broker took although it was sent them under a kill switch that covers them.
-- Empty, or the switch did not hold; what only closes a position may pass one that flattens.
-- params: account= since=1970-01-01 until=2200-01-01
with
    records as
    (
        select
            scope,
            version,
            JSONExtractBool(raw, 'engaged') as engaged,
            JSONExtractBool(raw, 'flatten') as flattens,
            reason,
            leadInFrame(version, 1, toUInt64(-1)) over
            (
                partition by scope
                order by version
                rows between unbounded preceding and unbounded following
            ) as next_version
        from control_updates
        where kind = 'kill-switch'
    ),
    switches as
    (
        select *
        from records
        where engaged
    ),
    sent as
    (
        select
            account,
            order_id,
            client_order_id,
            parent_order_id,
            symbol,
            strategy,
            broker,
            controls_version,
            ts_init
        from order_events
        where event = 'accepted'
            and controls_version >= (select min(version) from switches)
            and ({account:String} = '' or account = {account:String})
            and ts_init >= parseDateTime64BestEffort({since:String}, 9, 'UTC')
            and ts_init < parseDateTime64BestEffort({until:String}, 9, 'UTC')
    )
select
    sent.account as account,
    sent.order_id as order_id,
    sent.client_order_id as client_order_id,
    sent.symbol as symbol,
    sent.broker as broker,
    sent.controls_version as controls_version,
    switches.scope as scope,
    switches.version as switch_version,
    switches.reason as reason,
    sent.ts_init as ts_init
from sent
cross join switches
where sent.controls_version >= switches.version
    and sent.controls_version < switches.next_version
    and
    (
        switches.scope in
        (
            'default',
            concat('account:', sent.account),
            concat('symbol:', sent.symbol),
            concat('broker:', sent.broker)
        )
        or (sent.strategy != '' and switches.scope = concat('strategy:', sent.strategy))
    )
    and not
    (
        switches.flattens
        and (sent.account, sent.order_id) in
        (
            select
                account,
                order_id
            from order_events
            where event = 'approved' and reduce_only
        )
    )
order by
    ts_init,
    account,
    order_id;
