"""The batched transport: how Faust agents get whole batches, and lose nothing.

- `driver`    Faust's plug-in point; `options`: what the root tells it
- `consumer`  one event per partition and delivery, commits; `threads`: where its client runs
- `backlog`   what was fetched and not yet delivered
- `ledger`    which offsets may be committed, and where there is room for more
- `sender`    record batches to Kafka, in order, with bounded memory
- `unit`      the unit of work of a batch
- `publisher` publishes units in order, pipelined
- `store`     the local state of a table, in RocksDB
- `table`     the Faust table in front of it, and its recovery
- `runner`    ties our agents to Faust's
- `watchdog`  ends a worker that stands still; `judge`: when; `ends`: what is kept of its reason

`docs/transport.md` says what it guarantees and how it differs from stock Faust.
"""
