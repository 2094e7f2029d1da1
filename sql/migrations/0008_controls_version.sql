-- What a broker did with an order says under which controls the order was sent.

-- 0: the event is none of those, or older than this column.
alter table order_events_log
    add column if not exists controls_version UInt64 after rules_version;

-- One row per thing that happened to an order.
create or replace view order_events as
select *
from order_events_log
limit 1 by account, order_id, event_id;
