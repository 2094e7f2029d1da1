"""The history sink: records of a topic into ClickHouse, each offset once, none lost.

How a block of records lands, step by step:

1. Records are cut where the month of their timestamps changes, so a block is one partition of
   its table, and lands whole or not at all.
2. The block is inserted with `async_insert=0`, `wait_end_of_query=1` and a deduplication token
   made of its offset ranges: an insert that the client repeats by itself lands once.
3. When the outcome is not known (a time-out, a broken connection), ClickHouse is asked which of
   the offsets it holds, and only the missing ones are inserted. The first block of a partition
   is looked up as well: a server that was killed may know its token and not its rows.
4. While ClickHouse is away, the insert waits and tries again, with growing pauses, for ever.
5. A block that ClickHouse refuses for its data is cut in halves until the bad row is alone. That
   row is handed back with ClickHouse's reason; the others land.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import pyarrow as pa
import structlog
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import Error as ServerError

from connectors.clickhouse.client import CLICKHOUSE_ERRORS, connect, first_line
from connectors.clickhouse.queries import load, run
from connectors.clickhouse.rows import TABLES, arrow_table
from streams.clock import monotonic
from streams.errors import ServiceUnavailableError
from streams.ports import Record
from streams.settings import Settings

log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0

#: ClickHouse's codes for "these values cannot be stored"; every other failure is tried again.
DATA_CODES = frozenset(
    {
        6,  # CANNOT_PARSE_TEXT
        27,  # CANNOT_PARSE_INPUT_ASSERTION_FAILED
        41,  # CANNOT_PARSE_DATETIME
        69,  # ARGUMENT_OUT_OF_BOUND
        70,  # CANNOT_CONVERT_TYPE
        72,  # CANNOT_PARSE_NUMBER
        117,  # INCORRECT_DATA
        131,  # TOO_LARGE_STRING_SIZE
        321,  # VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
        349,  # CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        407,  # DECIMAL_OVERFLOW
        469,  # VIOLATED_CONSTRAINT
        691,  # UNKNOWN_ELEMENT_OF_ENUM
    }
)

T = TypeVar("T")
Refusals = list[tuple[Record, str]]


class _DataRefusedError(Exception):
    """Some row of `records` cannot be stored; those that came before them in the block are."""

    def __init__(self, records: Sequence[Record], reason: str) -> None:
        super().__init__(reason)
        self.records = records
        self.reason = reason


class ClickHouseHistory:
    """Implements `agents.history.HistoryStore`. Connects at first use; one per event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._looked_up: set[tuple[str, int]] = set()
        self._away_since: float | None = None
        self._asked = 0

    @property
    def waits_for(self) -> str:
        """Return `ClickHouse` while it is away or has yet to answer; each request has a time-out.

        Nothing is lost by waiting: the history goes on where ClickHouse ends.
        """
        return "ClickHouse" if self._asked or self._away_since is not None else ""

    async def newest(self, topic: str) -> dict[int, int]:
        """Return the highest offset held of each partition; waits while ClickHouse is away."""
        self._looked_up = {pair for pair in self._looked_up if pair[0] != topic}
        params = {"table": TABLES[topic].name, "topic": topic}

        async def ask(client: AsyncClient) -> dict[int, int]:
            found = await run(client, load("internal")["newest_offsets"], params)
            return {int(partition): int(offset) for partition, offset in found.result_rows}

        return await self._until_answered(ask)

    async def timestamp_at(self, topic: str, partition: int, offset: int) -> int | None:
        """Return the Kafka timestamp of the row at an offset, in ms; None if it is not held."""
        params = {
            "table": TABLES[topic].name,
            "topic": topic,
            "partition": str(partition),
            "offset": str(offset),
        }

        async def ask(client: AsyncClient) -> list[int]:
            found = await run(client, load("internal")["timestamp_at"], params)
            return [int(stamp) for (stamp,) in found.result_rows]

        stamps = await self._until_answered(ask)
        return stamps[0] if stamps else None

    async def insert(self, topic: str, records: Sequence[Record]) -> Refusals:
        """Insert records of one topic, each partition's in offset order.

        Returns when they are stored. Gives back the records that ClickHouse refuses for their
        values, with its reason; raises nothing for a ClickHouse that is away.
        """
        refused: Refusals = []
        for month in _months(records):
            refused += await self._insert_or_halve(topic, month)
        return refused

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _insert_or_halve(self, topic: str, records: Sequence[Record]) -> Refusals:
        try:
            await self._land(topic, records)
        except _DataRefusedError as refusal:
            left = refusal.records
            if len(left) == 1:
                return [(left[0], refusal.reason)]
            half = len(left) // 2
            first = await self._insert_or_halve(topic, left[:half])
            return first + await self._insert_or_halve(topic, left[half:])
        return []

    async def _land(self, topic: str, records: Sequence[Record]) -> None:
        """Insert one block and be sure of it; raises _DataRefusedError."""
        pairs = {(topic, record.partition) for record in records}
        unsure = not pairs <= self._looked_up
        missing: Sequence[Record] = records
        lost = 0  # inserts that ClickHouse acknowledged while their rows are not there
        while True:
            token = _token(records, missing, lost)
            acknowledged = await self._once(partial(self._send, topic, missing, token))
            if acknowledged and not unsure:
                return
            unsure = True
            missing = await self._until_answered(partial(self._missing, topic, missing))
            if not missing:
                break
            if acknowledged:
                lost += 1
                log.warning("history_rows_lost", topic=topic, rows=len(missing), times=lost)
                await asyncio.sleep(min(FIRST_PAUSE_S * (lost - 1), LONGEST_PAUSE_S))
        self._looked_up |= pairs

    async def _send(
        self, topic: str, records: Sequence[Record], token: str, client: AsyncClient
    ) -> bool:
        """Insert rows; True when ClickHouse acknowledged them."""
        try:
            table = await asyncio.to_thread(arrow_table, topic, records)
        except (pa.ArrowException, ValueError, OverflowError) as error:
            raise _DataRefusedError(records, first_line(error)) from error
        try:
            await client.insert_arrow(
                TABLES[topic].name, table, settings=_insert_settings(client, token)
            )
        except ServerError as error:
            if error.code in DATA_CODES:
                raise _DataRefusedError(records, first_line(error)) from error
            raise
        return True

    async def _missing(
        self, topic: str, records: Sequence[Record], client: AsyncClient
    ) -> list[Record]:
        """Return those of the records that ClickHouse does not hold."""
        held: set[tuple[int, int]] = set()
        for partition, first, last in _ranges(records):
            params = {
                "table": TABLES[topic].name,
                "topic": topic,
                "partition": str(partition),
                "first": str(first),
                "last": str(last),
            }
            found = await run(client, load("internal")["held_offsets"], params)
            held |= {(partition, int(offset)) for (offset,) in found.result_rows}
        return [record for record in records if (record.partition, record.offset) not in held]

    async def _until_answered(self, action: Callable[[AsyncClient], Awaitable[T]]) -> T:
        """Do what changes nothing until ClickHouse answers."""
        while True:
            outcome = await self._once(action)
            if outcome is not None:
                return outcome

    async def _once(self, action: Callable[[AsyncClient], Awaitable[T]]) -> T | None:
        """Do something once; if ClickHouse fails, pause and return None."""
        self._asked += 1
        try:
            outcome = await action(await self._connected())
        except (*CLICKHOUSE_ERRORS, ServiceUnavailableError) as error:
            await self._pause(error)
            return None
        finally:
            self._asked -= 1
        if self._away_since is not None:
            log.info("history_resumed", after_s=round(monotonic() - self._away_since, 1))
            self._away_since = None
        return outcome

    async def _pause(self, error: BaseException) -> None:
        """Wait longer the longer ClickHouse is away: 0.5 s at first, 10 s at most."""
        now = monotonic()
        if self._away_since is None:
            self._away_since = now
            log.warning("history_waits_for_clickhouse", error=first_line(error))
        away_s = now - self._away_since
        await asyncio.sleep(min(max(away_s, FIRST_PAUSE_S), LONGEST_PAUSE_S))

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                self._client = await connect(self._settings)
            return self._client


def _insert_settings(client: AsyncClient, token: str) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "async_insert": 0,
        "wait_end_of_query": 1,
        "insert_deduplicate": 1,
        "insert_deduplication_token": token,
    }
    if "deduplicate_insert" in client.server_settings:  # 26.2 and later: goes before the above
        settings["deduplicate_insert"] = "enable"
    return settings


def _ranges(records: Sequence[Record]) -> Iterator[tuple[int, int, int]]:
    """Yield (partition, first offset, last offset) of each partition, last included."""
    bounds: dict[int, tuple[int, int]] = {}
    for record in records:
        first, last = bounds.get(record.partition, (record.offset, record.offset))
        bounds[record.partition] = (min(first, record.offset), max(last, record.offset))
    for partition, (first, last) in sorted(bounds.items()):
        yield partition, first, last


def _token(block: Sequence[Record], left: Sequence[Record], lost: int) -> str:
    """Return the deduplication token: `topic-partition-first-last`, joined by `+`.

    What is left of a block, or sent again because it got lost, has a token of its own: under the
    block's token ClickHouse would drop it.
    """
    ranges = [f"{part}-{first}-{last}" for part, first, last in _ranges(left)]
    token = f"{left[0].topic}-" + "+".join(ranges)
    if len(left) < len(block):
        token += f"-left-{len(left)}"
    return f"{token}-again-{lost}" if lost else token


def _months(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Yield runs of records whose timestamps are in one month (UTC), in order."""
    stamps = [record.timestamp_ms for record in records]
    if not stamps or _month(min(stamps)) == _month(max(stamps)):
        if records:
            yield records
        return
    for _, run_of_month in groupby(records, key=lambda record: _month(record.timestamp_ms)):
        yield list(run_of_month)


def _month(timestamp_ms: int) -> tuple[int, int]:
    moment = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    return moment.year, moment.month
