"""What the history tests share: a database of one's own, and records put through the agent."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from clickhouse_connect.driver.asyncclient import AsyncClient

from agents.history import History
from connectors.clickhouse.client import connect
from connectors.clickhouse.history import ClickHouseHistory
from connectors.clickhouse.migrate import migrate
from connectors.clickhouse.queries import run, user_query
from streams.ports import Record
from streams.settings import Settings
from streams.topics import TopicSpec
from tests.builders import record
from tests.fakes import DeadLetter, MemoryUnit

T = TypeVar("T")

#: More than any outage of these tests; a sink that waits for ever fails the test.
PATIENCE_S = 30

_NUMBERS = itertools.count(1)


async def new_database(stack: Settings) -> Settings:
    """Return settings of a database that nobody else uses, migrated."""
    name = f"history_test_{next(_NUMBERS)}"
    settings = stack.model_copy(update={"clickhouse_database": name})

    async def drop(client: AsyncClient) -> None:
        sql = "drop database if exists {name:Identifier} sync"
        await client.command(sql, parameters={"name": name})

    await with_client(settings, drop, "default")
    await migrate(settings)
    return settings


async def with_client(
    settings: Settings, use: Callable[[AsyncClient], Awaitable[T]], database: str | None = None
) -> T:
    """Return what `use` makes of a client, which is closed afterwards."""
    client = await connect(settings, database)
    try:
        return await use(client)
    finally:
        await client.close()


async def rows(settings: Settings, sql: str, **params: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement; it takes parameters as `{name:Identifier}`."""

    async def ask(client: AsyncClient) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in (await client.query(sql, parameters=params)).result_rows]

    return await with_client(settings, ask)


async def answer(settings: Settings, name: str, /, **params: str) -> list[dict[str, Any]]:
    """Return the rows of a named query as mappings."""

    async def ask(client: AsyncClient) -> list[dict[str, Any]]:
        return list((await run(client, user_query(name), params)).named_results())

    return await with_client(settings, ask)


async def store(settings: Settings, *batches: Sequence[Record]) -> list[DeadLetter]:
    """Handle batches one after the other as a worker does that just started; give dead letters."""
    sink = ClickHouseHistory(settings)
    agent = History(sink)
    unit: MemoryUnit[None] = MemoryUnit()
    try:
        for batch in batches:
            await asyncio.wait_for(agent.handle(unit, batch), PATIENCE_S)
    finally:
        await sink.close()
    return unit.dead_letters


def records(topic: TopicSpec, values: Sequence[Any], *, first: int = 0) -> list[Record]:
    """Return records of one partition with offsets from `first` on."""
    return [record(value, topic, first + number) for number, value in enumerate(values)]
