-- name: dead_letters_by_code
-- Records that could not be used: how many of each code, from which topic and agent; how many of
-- them were neither sent again nor discarded.
-- params: since=1970-01-01 until=2200-01-01
select
    code,
    agent,
    source_topic,
    count() as records,
    countIf(state in ('open', 'gave up')) as unhandled,
    max(_timestamp) as newest,
    argMax(error, _timestamp) as example
from dead_letters
where _timestamp >= parseDateTime64BestEffort({since:String}, 3, 'UTC')
    and _timestamp < parseDateTime64BestEffort({until:String}, 3, 'UTC')
group by
    code,
    agent,
    source_topic
order by
    records desc,
    code,
    agent,
    source_topic;

-- name: reconciliations_newest
-- What the newest comparison of each broker with us found, by partition: a summary, then what
-- differed. What is mended was published as events.
-- params: broker=
select
    broker,
    partition,
    finding,
    account,
    symbol,
    client_order_id,
    ours,
    theirs,
    mended,
    orders,
    positions,
    differences,
    unmended,
    ts_event
from reconciliations
where ({broker:String} = '' or broker = {broker:String})
    and (broker, partition, run_id) in
    (
        select
            broker,
            partition,
            max(run_id)
        from reconciliations
        where finding = 'summary'
        group by
            broker,
            partition
    )
order by
    broker,
    partition,
    finding = 'summary' desc,
    account,
    symbol,
    client_order_id;
