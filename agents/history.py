"""History: every record of every topic into ClickHouse.

In:    all topics of the registry.
Out:   dead-letters, for a record whose values ClickHouse refuses (`HISTORY_REFUSED`).
State: none of its own; ClickHouse's rows say which offsets are there.
Twice: an offset at or below the newest one held is skipped. What slips through (an insert still
       under way when its worker was replaced) is a repeated row that the views fold.
Bad:   a null value is skipped and counted: no topic of ours means anything by one.

ClickHouse likes few large inserts, Kafka brings many small batches. So `handle` hands its records
to the topic's gatherer and waits; rows of several partitions go in one insert:

    partition 0   handle ───────────────────────╮ return
    partition 1          handle ────────────────┤ return
    insert               linger ≤ 0.25 s ├──────┤
                         or 2,000 rows
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol

import structlog

from streams import defences
from streams.clock import monotonic
from streams.defences import Defence
from streams.errors import InfrastructureError
from streams.ports import AsyncAgent, Record, Unit
from streams.topics import DEAD_LETTERS

log = structlog.get_logger(__name__)

LINGER_S = 0.25
MAX_ROWS = 20_000
MAX_BYTES = 32_000_000

#: So many rows are worth an insert of their own: while it is under way, the other partitions'
#: records are decoded and gather for the next one.
WORTH_ROWS = 2_000

REFUSED = "HISTORY_REFUSED"

Refusals = list[tuple[Record, str]]


class HistoryStore(Protocol):
    """Where history goes. Every method waits while the store is away."""

    @property
    def waits_for(self) -> str:
        """Return what it waits for at the moment, empty for nothing."""

    async def newest(self, topic: str) -> dict[int, int]:
        """Return the highest offset held of each partition of a topic."""

    async def timestamp_at(self, topic: str, partition: int, offset: int) -> int | None:
        """Return the Kafka timestamp (ms) of the record held at an offset, or None."""

    async def insert(self, topic: str, records: Sequence[Record]) -> Refusals:
        """Store records, each partition's in offset order; give back what cannot be stored."""


class History(AsyncAgent[Any]):
    """The agent of the `history` role. Public counters: `rows`, `repeated`, `tombstones`."""

    def __init__(self, store: HistoryStore) -> None:
        self._store = store
        self._gatherers: dict[str, _Gatherer] = {}
        self.rows = 0
        self.repeated = 0
        self.tombstones = 0

    @property
    def waits_for(self) -> str:
        """Return the store that is away, or has yet to answer."""
        return self._store.waits_for

    async def on_partitions(self, partitions: set[tuple[str, int]]) -> None:
        """Forget what is known of these: their first batch asks the store."""
        for topic, partition in partitions:
            self._gatherer(topic).forget(partition)

    async def handle(self, unit: Unit[Any], records: Sequence[Record]) -> None:
        """Store the records of one partition; returns when they are durable."""
        for topic, of_topic in groupby(records, key=lambda record: record.topic):
            await self._store_run(unit, topic, list(of_topic))

    async def _store_run(self, unit: Unit[Any], topic: str, records: list[Record]) -> None:
        gatherer = self._gatherer(topic)
        partition = records[0].partition
        held = await gatherer.held(records[0])
        held = held if defences.on(Defence.SEEN_OFFSETS) else -1
        fresh = [record for record in records if record.offset > held]
        rows = [record for record in fresh if record.value is not None or _is_raw(topic)]
        self.repeated += len(records) - len(fresh)
        self.tombstones += len(fresh) - len(rows)
        for record, reason in await gatherer.add(rows):
            _give_up(unit, record, reason)
        if fresh:
            gatherer.advance(partition, fresh[-1].offset)
        self.rows += len(rows)

    def _gatherer(self, topic: str) -> "_Gatherer":
        if topic not in self._gatherers:
            self._gatherers[topic] = _Gatherer(topic, self._store)
        return self._gatherers[topic]


def _is_raw(topic: str) -> bool:
    return topic == DEAD_LETTERS.name


def _give_up(unit: Unit[Any], record: Record, reason: str) -> None:
    """Send a record that cannot be stored to the dead letters, unless it is one already.

    A dead letter of a dead letter would come back here for ever; it stays on Kafka.
    """
    if _is_raw(record.topic):
        log.error("dead_letter_not_in_history", offset=record.offset, reason=reason)
        return
    unit.dead_letter(record, REFUSED, reason)


@dataclass(slots=True)
class _Chunk:
    """Records of one partition that wait for their insert, and who waits for them."""

    records: Sequence[Record]
    size: int
    stored: asyncio.Future[Refusals] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class _Gatherer:
    """Puts the records of several `handle` calls on one topic into common inserts.

    Bounded: a partition's next batch comes only after its last one was stored, so at most one
    batch per partition waits here. One insert of a topic is under way at a time.
    """

    def __init__(self, topic: str, store: HistoryStore) -> None:
        self._topic = topic
        self._store = store
        self._newest: dict[int, int] = {}
        self._unknown: set[int] = set()
        self._asking = asyncio.Lock()
        self._waiting: deque[_Chunk] = deque()
        self._block: list[_Chunk] = []
        self._arrived = asyncio.Event()
        self._flusher: asyncio.Task[None] | None = None

    def forget(self, partition: int) -> None:
        """Ask the store about a partition before its next insert."""
        self._newest.pop(partition, None)
        self._unknown.add(partition)

    async def held(self, first: Record) -> int:
        """Return the newest offset held of a partition, -1 if none; `first` is its next record."""
        async with self._asking:
            if first.partition not in self._newest:
                asked = self._unknown | {first.partition}
                newest = await self._store.newest(self._topic)
                await self._check_same(first, newest.get(first.partition, -1))
                self._newest |= {number: newest.get(number, -1) for number in asked}
                self._unknown -= asked
        return self._newest[first.partition]

    async def _check_same(self, record: Record, newest: int) -> None:
        """Raise InfrastructureError if the store holds another record at this offset.

        A topic that was deleted and made anew counts from 0 again; its records would all be
        skipped as held already.
        """
        if record.offset > newest:
            return
        partition, offset = record.partition, record.offset
        stamp = await self._store.timestamp_at(self._topic, partition, offset)
        if stamp is not None and stamp != record.timestamp_ms:
            raise InfrastructureError(
                f"{self._topic} partition {partition} offset {offset}: the history holds a record"
                f" of {stamp} ms, Kafka one of {record.timestamp_ms} ms; the topic was made anew:"
                " set another clickhouse_database or namespace, or drop the old database"
            )

    def advance(self, partition: int, offset: int) -> None:
        """Note that a partition is held up to an offset, included."""
        self._newest[partition] = offset

    async def add(self, records: Sequence[Record]) -> Refusals:
        """Return what the store refused of the records, when the others are stored."""
        chunks = list(_chunks(records))
        if not chunks:
            return []
        self._waiting.extend(chunks)
        self._arrived.set()
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush_all())
            self._flusher.add_done_callback(self._ended)
        outcomes = await asyncio.gather(*(chunk.stored for chunk in chunks))
        return [refusal for outcome in outcomes for refusal in outcome]

    async def _flush_all(self) -> None:
        """Insert until nothing waits."""
        while self._waiting:
            await self._linger()
            self._block = self._take()
            rows = [record for chunk in self._block for record in chunk.records]
            if rows:
                _settle(self._block, await self._store.insert(self._topic, rows))

    def _ended(self, flusher: "asyncio.Task[None]") -> None:
        """Raise in all who wait what stopped the inserts, if anything did."""
        error = None if flusher.cancelled() else flusher.exception()
        if error is None:
            return
        for chunk in (*self._block, *self._waiting):
            if not chunk.stored.done():
                chunk.stored.set_exception(error)
        self._waiting.clear()

    async def _linger(self) -> None:
        """Wait for more rows, until there are enough."""
        until = monotonic() + LINGER_S
        while not self._is_enough() and (left := until - monotonic()) > 0:
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return

    def _is_enough(self) -> bool:
        rows = sum(len(chunk.records) for chunk in self._waiting)
        return rows >= WORTH_ROWS or sum(chunk.size for chunk in self._waiting) >= MAX_BYTES

    def _take(self) -> list[_Chunk]:
        """Take the chunks of the next insert, oldest first; those that nobody awaits are left out.

        A batch is given up when its partition goes to another worker, who will insert it.
        """
        block: list[_Chunk] = []
        rows = size = 0
        while self._waiting:
            chunk = self._waiting[0]
            rows += len(chunk.records)
            size += chunk.size
            if block and (rows > MAX_ROWS or size > MAX_BYTES):
                break
            self._waiting.popleft()
            if chunk.stored.done():
                rows, size = rows - len(chunk.records), size - chunk.size
            else:
                block.append(chunk)
        return block


def _chunks(records: Sequence[Record]) -> list[_Chunk]:
    """Cut records so that each chunk fits one insert."""
    chunks: list[_Chunk] = []
    start = size = 0
    for number, record in enumerate(records):
        length = len(record.raw or b"")
        if number > start and (number - start >= MAX_ROWS or size + length > MAX_BYTES):
            chunks.append(_Chunk(records[start:number], size))
            start, size = number, 0
        size += length
    if records:
        chunks.append(_Chunk(records[start:], size))
    return chunks


def _settle(block: Sequence[_Chunk], refused: Refusals) -> None:
    """Give each waiter the refusals of its own records."""
    reasons = {(record.partition, record.offset): reason for record, reason in refused}
    for chunk in block:
        own = [
            (record, reasons[record.partition, record.offset])
            for record in (chunk.records if reasons else ())
            if (record.partition, record.offset) in reasons
        ]
        if not chunk.stored.done():
            chunk.stored.set_result(own)
