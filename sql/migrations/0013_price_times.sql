-- When the last print and the newest quote were made: each price has an age of its own.

alter table last_prices_log
    add column if not exists ts_last Nullable(DateTime64(9, 'UTC')) after ask,
    add column if not exists ts_quote Nullable(DateTime64(9, 'UTC')) after ts_last;

-- One row per symbol: its newest prices.
create or replace view last_prices_now as
select *
from last_prices_log
order by
    symbol desc,
    ts_event desc,
    ts_init desc
limit 1 by symbol;
