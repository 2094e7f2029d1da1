"""How fast records get from Kafka into ClickHouse through the history path: rows per second.

In each round the topic gets new records while the history worker, assigned and idle, is held with
SIGSTOP. Measured for `ours` is the time from its SIGCONT until ClickHouse counts every row: fetch,
decoding, validation, Arrow, insert. The rivals insert the very same rows into copies of the table,
from memory, in blocks of as many rows as an insert of ours may have at most:

- `arrow_insert`  clickhouse-connect's `insert_arrow` of ready pyarrow tables
- `row_insert`    clickhouse-connect's `insert` of ready tuples

They decode nothing, so what ours takes beyond `arrow_insert` is what the way through Kafka and
the messages costs. In the end the three tables must hold the same, by count and a hash over all
columns. The figures are for `market.trades`, the topic with the most records; `orders_events` has
those for `orders.events`, whose rows are wider and keep their JSON. `our_rows_an_insert` is how
many rows an insert of ours had on average.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.client import Client

from agents.history import MAX_ROWS
from benchmarks.changelog import Row, fill
from benchmarks.harness import Plan, Sample, interleaved, outcome
from benchmarks.processes import Measured, processes
from benchmarks.sink_rows import order_event, trade
from connectors.clickhouse.client import history_database
from connectors.clickhouse.migrate import migrate
from connectors.clickhouse.rows import TABLES, arrow_table
from connectors.kafka.admin import apply_topics
from connectors.kafka.controls import seed_controls
from connectors.kafka.reader import AtOffsets, Stored, read_topic
from streams.errors import IncompleteError
from streams.ports import Record
from streams.settings import Settings
from streams.topics import MARKET_TRADES, ORDERS_EVENTS, TopicSpec, topic_name
from streams.transport.codec import decode
from tables.registry import TABLES as STATE

ROWS, QUICK_ROWS = 200_000, 4_000
EVENT_ROWS, QUICK_EVENT_ROWS = 60_000, 2_000
EVENT_ROUNDS = 3
BOUND_S = 120.0
#: The held worker must still be a member of its group afterwards.
SESSION_TIMEOUT_S = 120.0
COUNT = "select count() from {table:Identifier}"
CONTENT = "select count(), sum(cityHash64(* except (_inserted))) from {table:Identifier}"
INSERTS = "select uniqExact(_inserted) from {table:Identifier}"
RIVALS = ("arrow_insert", "row_insert")


def run(plan: Plan) -> dict[str, Any]:
    """Measure both topics; one worker lives through all rounds."""
    settings = plan.settings.model_copy(
        update={
            "data_dir": plan.settings.data_dir / "sink",
            "session_timeout_s": SESSION_TIMEOUT_S,
        }
    )
    many, some = (QUICK_ROWS, QUICK_EVENT_ROWS) if plan.quick else (ROWS, EVENT_ROWS)
    asyncio.run(_set_up(settings))
    with processes() as started, _client(settings) as client:
        worker = started.worker(settings, "history")
        worker.ready()
        trades, events = (
            Sink(settings, client, worker, topic, make, rows)
            for topic, make, rows in (
                (MARKET_TRADES, trade, many),
                (ORDERS_EVENTS, order_event, some),
            )
        )
        plan.say(f"{many:,} trades a round")
        samples = interleaved(trades.contenders(), plan.repeats, plan.say)
        plan.say(f"{some:,} order events a round")
        rounds = min(plan.repeats, EVENT_ROUNDS)
        beside = outcome(
            "sink", "rows/s", interleaved(events.contenders(), rounds, plan.say), goals={}
        )
        extra = {
            "rows": many,
            "our_rows_an_insert": trades.check(),
            "orders_events": {
                "rows": some,
                "our_rows_an_insert": events.check(),
                **{name: beside[name] for name in ("ours", "rivals", "ratios", "spread")},
            },
        }
        worker.stop()
    return outcome("sink", "rows/s", samples, goals={"arrow_insert": 0.5}, extra=extra)


async def _set_up(settings: Settings) -> None:
    await apply_topics(settings, STATE)
    await seed_controls(settings)
    await migrate(settings)


def _client(settings: Settings) -> Client:
    return clickhouse_connect.get_client(
        host=settings.clickhouse_host,
        port=settings.clickhouse_port,
        username=settings.clickhouse_user,
        password=settings.clickhouse_password.get_secret_value(),
        database=history_database(settings),
        autogenerate_session_id=False,
    )


@dataclass
class Sink:
    """One topic, its table, and the three ways into it.

    Whoever comes first in a round makes its records; the worker is held until it is its turn.
    """

    settings: Settings
    client: Client
    worker: Measured
    topic: TopicSpec
    make: Callable[[int], Row]
    rows: int
    sent: int = 0
    blocks: list[pa.Table] = field(default_factory=list)
    ends: dict[int, int] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)

    def contenders(self) -> dict[str, Callable[[], Sample]]:
        """Create the rivals' empty copies of the table, and return the contenders."""
        for rival in RIVALS:
            # The table after `as` cannot be a parameter.
            self.client.command(f"create table {self._table(rival)} as {self._table('ours')}")
        ways = {"ours": self._ours, "arrow_insert": self._arrow, "row_insert": self._rows}
        return {name: partial(self._measure, name, way) for name, way in ways.items()}

    def check(self) -> int:
        """Raise unless all tables hold the same rows; return how many an insert of ours had."""
        held = {name: self._ask(CONTENT, name) for name in ("ours", *RIVALS)}
        if len(set(held.values())) != 1 or held["ours"][0] != self.sent:
            raise IncompleteError(
                f"{self.sent} records of {self.topic.name} were sent, held: {held}"
            )
        return round(self.sent / self._ask(INSERTS, "ours")[0])

    def _measure(self, name: str, way: Callable[[], float]) -> Sample:
        if self.done[name] * self.rows == self.sent:
            self._prepare()
        seconds = way()
        self.done[name] += 1
        return {"figure": self.rows / seconds, "seconds": seconds}

    def _prepare(self) -> None:
        """Hold the worker, put a round's records on the topic, make the rivals' blocks of them."""
        self.worker.child.process.send_signal(signal.SIGSTOP)
        name = topic_name(self.topic, self.settings.namespace)
        numbers = range(self.sent, self.sent + self.rows)
        asyncio.run(fill(self.settings, name, (self.make(number) for number in numbers)))
        self.sent += self.rows
        stored = asyncio.run(self._read(name))
        self.ends = {record.partition: record.offset + 1 for record in stored}
        records = [self._record(one) for one in stored]
        starts = range(0, len(records), MAX_ROWS)
        self.blocks = [arrow_table(self.topic.name, records[at : at + MAX_ROWS]) for at in starts]

    async def _read(self, name: str) -> list[Stored]:
        start = AtOffsets(
            {number: self.ends.get(number, 0) for number in range(self.settings.partitions)}
        )
        return [one async for one in read_topic(self.settings, name, start=start)]

    def _record(self, one: Stored) -> Record:
        value = decode(self.topic.adapter, one.value or b"")
        place = (self.topic.name, one.partition, one.offset, one.key)
        return Record(*place, value, one.value, one.timestamp_ms, one.headers)

    def _ours(self) -> float:
        began = time.monotonic()
        self.worker.child.process.send_signal(signal.SIGCONT)
        self.worker.wait(
            "last row", lambda: self._ask(COUNT, "ours")[0] >= self.sent or None, BOUND_S
        )
        return time.monotonic() - began

    def _arrow(self) -> float:
        began = time.monotonic()
        for block in self.blocks:
            self.client.insert_arrow(self._table("arrow_insert"), block)
        return time.monotonic() - began

    def _rows(self) -> float:
        blocks = [_tuples(block) for block in self.blocks]
        names = self.blocks[0].column_names
        began = time.monotonic()
        for block in blocks:
            self.client.insert(self._table("row_insert"), block, column_names=names)
        return time.monotonic() - began

    def _table(self, name: str) -> str:
        table = TABLES[self.topic.name].name
        return table if name == "ours" else f"{table}_{name}"

    def _ask(self, sql: str, name: str) -> tuple[int, ...]:
        found = self.client.query(sql, parameters={"table": self._table(name)})
        return tuple(found.result_rows[0])


def _tuples(block: pa.Table) -> list[tuple[Any, ...]]:
    """Return rows of Python values; times as the integers that ClickHouse keeps."""
    columns = [
        column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        for column in block.columns
    ]
    return list(zip(*(column.to_pylist() for column in columns), strict=True))
