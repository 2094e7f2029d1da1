"""Migrations: the numbered files of `sql/migrations/`, applied once each, in order.

Promises: what is applied is in the ledger `schema_migrations` with the file's checksum; a file
that changed after it was applied is refused before anything runs. ClickHouse has no transaction
over statements, so each statement must be one that may run twice (`if not exists`, `or replace`):
a crash half-way, or two processes at once, then end in the same schema. `check_repeatable` holds
the files to that.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clickhouse_connect.driver.asyncclient import AsyncClient

from connectors.clickhouse.client import connect, history_database
from connectors.clickhouse.queries import SQL, load, run
from streams.errors import UsageError
from streams.settings import Settings

_FILE = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
_REPEATABLE = re.compile(
    r"^(create (table|database) if not exists|create or replace view|drop (table|view) if exists"
    r"|alter table \w+ (add (column|index)|drop (column|index)) if (not )?exists"
    r"|alter table \w+ modify (column|setting))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `sql/migrations/`."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the file's text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """Return the statements; each ends with a `;` at the end of a line."""
        code = "\n".join(line for line in self.text.splitlines() if not line.startswith("--"))
        return [part.strip() for part in re.split(r";[ \t]*(?:\n|$)", code) if part.strip()]


def migrations(folder: Path = SQL / "migrations") -> list[Migration]:
    """Return the migrations in order; raises ValueError unless they are numbered 1, 2, 3."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.match(path.name)
        if match is None:
            raise ValueError(f"{path.name}: name a migration 0001_what_it_does.sql")
        found.append(Migration(int(match[1]), match[2], path.read_text(encoding="utf-8")))
    numbers = [migration.version for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations are numbered {numbers}; number them 1, 2, 3, … without gaps")
    return found


def check_repeatable(migration: Migration) -> None:
    """Raise ValueError for a statement that may not run twice."""
    for statement in migration.statements:
        if not _REPEATABLE.match(" ".join(statement.split())):
            raise ValueError(
                f"{migration.version:04}_{migration.name}: {statement.splitlines()[0]!r} is"
                " not safe to run twice; write `if not exists`, `if exists` or `or replace`"
            )


def pending(files: Sequence[Migration], applied: Mapping[int, str]) -> list[Migration]:
    """Return what is still to apply, given the checksums of the applied versions.

    Raises UsageError if an applied file has changed, or is not there any more.
    """
    known = {migration.version: migration for migration in files}
    for version, checksum in sorted(applied.items()):
        if version not in known:
            raise UsageError(
                f"migration {version:04} is applied but not in sql/migrations; this database"
                " belongs to a newer Orderflow: update this one"
            )
        if known[version].checksum != checksum:
            raise UsageError(
                f"migration {version:04}_{known[version].name} was changed after it was applied"
                f" ({checksum[:8]} then, {known[version].checksum[:8]} now); restore the file and"
                " put the change into a new migration"
            )
    return [migration for migration in files if migration.version not in applied]


async def migrate(settings: Settings, *, dry_run: bool = False) -> list[Migration]:
    """Bring the history's database up to date; return what was applied.

    With `dry_run` nothing is changed, and what would be applied is returned.
    """
    files = migrations()
    admin = await connect(settings, database="default")
    try:
        database = history_database(settings)
        if dry_run and not await _exists(admin, database):
            return files
        if not dry_run:
            await _command(admin, "create_database", {"database": database})
    finally:
        await admin.close()
    client = await connect(settings)
    try:
        return await _apply(client, files, dry_run=dry_run)
    finally:
        await client.close()


async def _apply(
    client: AsyncClient, files: Sequence[Migration], *, dry_run: bool
) -> list[Migration]:
    ledger = load("internal")
    if not dry_run:
        await _command(client, "create_ledger", {})
    rows = (await run(client, ledger["applied"])).result_rows
    todo = pending(files, {int(version): str(checksum) for version, _, checksum in rows})
    if dry_run:
        return todo
    for migration in todo:
        for statement in migration.statements:
            await client.command(statement)
        await _command(
            client,
            "record",
            {
                "version": str(migration.version),
                "name": migration.name,
                "checksum": migration.checksum,
            },
        )
    return todo


async def _exists(client: AsyncClient, database: str) -> bool:
    found = await run(client, load("internal")["database_exists"], {"database": database})
    return bool(found.result_rows)


async def _command(client: AsyncClient, name: str, params: Mapping[str, str]) -> None:
    query = load("internal")[name]
    await client.command(query.sql, parameters=query.bind(params))
