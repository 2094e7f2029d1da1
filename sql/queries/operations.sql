-- name: dead_letters_by_code
-- Records that could not be used: how many of each code, from which topic and agent.
-- params: since=1970-01-01 until=2200-01-01
select
    code,
    agent,
    source_topic,
    count() as records,
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
