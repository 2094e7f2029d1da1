-- What the history sink asks ClickHouse; not for users.

-- name: newest_offsets
-- The highest offset held of each partition of a topic.
-- params: table topic
select
    _partition,
    max(_offset)
from {table:Identifier}
where _topic = {topic:String}
group by _partition;

-- name: held_offsets
-- Which offsets of a partition are held from first to last, both included.
-- params: table topic partition first last
select distinct _offset
from {table:Identifier}
where _topic = {topic:String}
    and _partition = {partition:UInt16}
    and _offset between {first:UInt64} and {last:UInt64};

-- name: timestamp_at
-- When the record at an offset was written to Kafka, in milliseconds; no row if it is not held.
-- params: table topic partition offset
select toUnixTimestamp64Milli(_timestamp)
from {table:Identifier}
where _topic = {topic:String}
    and _partition = {partition:UInt16}
    and _offset = {offset:UInt64}
limit 1;
