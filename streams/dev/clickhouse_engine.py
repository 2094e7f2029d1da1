"""Run statements on chDB, ClickHouse's engine in this process, several at a time.

A connection of chDB has its own settings and current database and does one thing at a time, so
there is a pool of them on one data folder. Whoever borrows one gets it with the defaults.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar

from streams.dev.clickhouse_sql import (
    ClickHouseError,
    InsertData,
    changes_session,
    engine_error,
    quote,
    quote_name,
)

T = TypeVar("T")

_CONNECTIONS = 8

# In these formats the blocks of a result stand behind each other with nothing around the whole,
# so that it can be sent block by block. chDB repeats heads and tails for each block.
STREAMED_FORMATS = frozenset(
    {"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow", "JSONCompactEachRow"}
)


class Connection:
    """One borrowed connection; methods run in a thread and raise `ClickHouseError`."""

    def __init__(self, raw: Any, run: Callable[..., Any]) -> None:
        self._raw = raw
        self._run = run
        self._changed: list[str] = []
        self.dirty = False

    async def configure(self, database: str, settings: Mapping[str, str]) -> None:
        """Set the current database and the settings until the connection is given back."""
        if database:
            self._changed.append("USE default")
            await self._run(self._raw.query, f"USE {quote_name(database)}")
        if settings:
            self._changed.append("SET " + ", ".join(f"{name} = DEFAULT" for name in settings))
            pairs = ", ".join(f"{name} = {quote(value)}" for name, value in settings.items())
            await self._run(self._raw.query, f"SET {pairs}")

    async def query(self, sql: bytes, format_: str, params: Mapping[str, str]) -> Any:
        """Run a statement and return chDB's result, whole."""
        self.dirty |= changes_session(sql)
        return await self._run(self._raw.query, sql, format_, params=dict(params))

    async def stream(
        self, sql: bytes, format_: str, params: Mapping[str, str]
    ) -> AsyncGenerator[Any, None]:
        """Run a query and yield its result block by block."""
        result = await self._run(self._raw.send_query, sql, format_, params=dict(params))
        try:
            while (block := await self._run(result.fetch)) is not None:
                yield block
        finally:
            await self._run(result.cancel)

    async def insert(self, insert: InsertData) -> Any:
        """Insert data that came with its statement, and return what was written."""
        return await self._run(self._insert, insert)

    def is_read_only(self, sql: bytes) -> bool:
        """Tell whether the engine takes the statement for one that only reads."""
        found = self._raw._conn.classify_query(sql)  # noqa: SLF001 - has no public way yet
        return str(found["query_class"].name) == "READ_ONLY"

    async def restore(self) -> None:
        """Undo `configure`, last change first."""
        while self._changed:
            await self._run(self._raw.query, self._changed.pop())

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()

    def _insert(self, insert: InsertData) -> Any:
        # chDB's own `send_insert` needs no file, but swallows what goes wrong while writing: a
        # violated constraint answers "2 rows written" and stores none (chDB 4.4).
        with NamedTemporaryFile(prefix="orderflow-insert-") as file:
            file.write(insert.data)
            file.flush()
            source = f" FROM INFILE {quote(file.name)} COMPRESSION 'none' FORMAT {insert.format}"
            return self._raw.query(insert.statement.rstrip() + source.encode(), "Null")


class Engine:
    """chDB on one data folder; `close` leaves the data complete on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(_CONNECTIONS)
        self._threads = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="chdb")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection that nobody else uses; waits while all are lent."""
        async with self._slots:
            lent = self._idle.pop() if self._idle else await self._run(self._open)
            try:
                yield lent
            finally:
                await asyncio.shield(self._take_back(lent))

    async def close(self) -> None:
        """Wait for what runs, then close every connection."""
        for _ in range(_CONNECTIONS):
            await self._slots.acquire()
        while self._idle:
            self._idle.pop().close()
        self._threads.shutdown()

    async def _take_back(self, connection: Connection) -> None:
        if not connection.dirty:
            try:
                await connection.restore()
            except ClickHouseError:
                connection.dirty = True  # whatever it was left with ends with it
        if connection.dirty:
            connection.close()
        else:
            self._idle.append(connection)

    def _open(self) -> Connection:
        import chdb

        return Connection(chdb.connect(str(self._folder)), self._run)

    async def _run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, lambda: function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - chDB has no class of its own for all
            raise engine_error(error) from None
