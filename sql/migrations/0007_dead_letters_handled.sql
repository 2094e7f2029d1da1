-- What was done with dead letters, and the letters with what became of them.

-- One row per thing that was done with a dead letter, its announcements included.
-- ORDER BY letter, ts_event: the newest one of a letter is the last of its run.
create table if not exists dead_letters_handled_log
(
    letter String,
    action LowCardinality(String),
    attempt UInt32,
    by String,
    reason String,
    ts_event DateTime64(9, 'UTC'),
    raw String codec(ZSTD(3)),
    _topic LowCardinality(String),
    _partition UInt16,
    _offset UInt64 codec(Delta, ZSTD(1)),
    _key String codec(ZSTD(1)),
    _timestamp DateTime64(3, 'UTC') codec(Delta, ZSTD(1)),
    _inserted DateTime64(3, 'UTC') default now64(3, 'UTC'),
    index offsets (_partition, _offset) type minmax granularity 1
)
engine = ReplacingMergeTree
partition by toYYYYMM(_timestamp)
order by (letter, ts_event, _topic, _partition, _offset)
settings non_replicated_deduplication_window = 1000;

-- One row per thing that was done with a dead letter, by its place on Kafka.
create or replace view dead_letters_handled as
select *
from dead_letters_handled_log
limit 1 by letter, ts_event, _topic, _partition, _offset;

-- One row per record that could not be used, with the headers that tell why; `value` is its bytes.
-- `state` is what became of it: open, retried, discarded, or gave up after three attempts. What was
-- done with one letter holds for every letter of the same source record.
create or replace view dead_letters as
with handled as
(
    select
        letters.headers['__streams.errors.topic'] as of_topic,
        toUInt16OrZero(letters.headers['__streams.errors.partition']) as of_partition,
        toUInt64OrZero(letters.headers['__streams.errors.offset']) as of_offset,
        argMax(marks.action, marks._offset) as action
    from dead_letters_handled_log as marks
    inner join dead_letters_log as letters
        on marks.letter = concat(toString(letters._partition), ':', toString(letters._offset))
    group by
        of_topic,
        of_partition,
        of_offset
)
select
    headers['orderflow.code'] as code,
    headers['__streams.errors.message'] as error,
    headers['orderflow.agent'] as agent,
    headers['__streams.errors.topic'] as source_topic,
    toUInt16OrZero(headers['__streams.errors.partition']) as source_partition,
    toUInt64OrZero(headers['__streams.errors.offset']) as source_offset,
    toUInt32OrZero(headers['orderflow.attempt']) as attempt,
    multiIf(
        handled.action in ('retried', 'discarded'), handled.action,
        attempt >= 3, 'gave up',
        'open'
    ) as state,
    value,
    headers,
    _key,
    _timestamp,
    _topic,
    _partition,
    _offset,
    _inserted
from dead_letters_log
left join handled
    on handled.of_topic = headers['__streams.errors.topic']
    and handled.of_partition = toUInt16OrZero(headers['__streams.errors.partition'])
    and handled.of_offset = toUInt64OrZero(headers['__streams.errors.offset'])
limit 1 by
    source_topic,
    source_partition,
    source_offset,
    agent,
    attempt,
    if(source_topic = '', _partition, 0),
    if(source_topic = '', _offset, 0);
