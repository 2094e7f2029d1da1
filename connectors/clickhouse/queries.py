"""Named queries: the blocks of `sql/**/*.sql`, loaded by name and run with parameters.

A block starts with `-- name: x`. Comment lines below it are its documentation; the line
`-- params: a b=1 c=` names its parameters, with defaults where there is a `=`. The statement
takes them as ClickHouse does, `{a:String}`, so a value is never part of the SQL text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.query import QueryResult

from streams.errors import NotFoundError, UsageError

SQL = Path(__file__).resolve().parents[2] / "sql"

#: Folders of the queries that users run by name.
USER_FOLDERS = ("queries", "checks")


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """One block. `params` maps each parameter to its default; None: it must be given."""

    name: str
    doc: str
    params: Mapping[str, str | None]
    sql: str

    def bind(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the value of every parameter; raises UsageError for unknown or absent ones."""
        unknown = sorted(set(given) - set(self.params))
        if unknown:
            takes = ", ".join(self.params) or "none"
            raise UsageError(f"query {self.name}: no parameter {unknown[0]!r}; it takes {takes}")
        values = {**self.params, **given}
        for name, value in values.items():
            if value is None:
                raise UsageError(f"query {self.name}: give {name} with --param {name}=…")
        return {name: value for name, value in values.items() if value is not None}


def parse(text: str) -> list[NamedQuery]:
    """Return the blocks of a file, in order; what stands before the first is a file comment."""
    found = []
    for block in ("\n" + text).split("\n-- name:")[1:]:
        name, *lines = block.splitlines()
        doc: list[str] = []
        params: dict[str, str | None] = {}
        while lines and lines[0].startswith("--"):
            line = lines.pop(0).removeprefix("--").strip()
            if line.startswith("params:"):
                for word in line.removeprefix("params:").split():
                    key, given, default = word.partition("=")
                    params[key] = default if given else None
            else:
                doc.append(line)
        sql = "\n".join(lines).strip().removesuffix(";")
        found.append(NamedQuery(name.strip(), " ".join(doc), params, sql))
    return found


@cache
def load(*folders: str) -> Mapping[str, NamedQuery]:
    """Return the named queries of folders of `sql/`, by name; a name stands for one query."""
    queries: dict[str, NamedQuery] = {}
    for path in sorted(path for folder in folders for path in (SQL / folder).glob("*.sql")):
        for query in parse(path.read_text(encoding="utf-8")):
            if query.name in queries:
                raise ValueError(f"{path}: the query name {query.name} is taken; choose another")
            queries[query.name] = query
    return queries


def user_query(name: str) -> NamedQuery:
    """Return the query that users know by this name; raises NotFoundError."""
    queries = load(*USER_FOLDERS)
    if name not in queries:
        raise NotFoundError(f"no query {name!r}; there are {', '.join(sorted(queries))}")
    return queries[name]


async def run(
    client: AsyncClient,
    query: NamedQuery,
    params: Mapping[str, str] | None = None,
    *,
    limit: int | None = None,
) -> QueryResult:
    """Run a query with its parameters as text; `limit` bounds the rows it gives back."""
    settings = {} if limit is None else {"limit": limit}
    return await client.query(query.sql, parameters=query.bind(params or {}), settings=settings)


async def fetch(
    client: AsyncClient,
    sql: str,
    params: Mapping[str, str],
    *,
    format_: str,
    limit: int,
) -> bytes:
    """Run a statement that only reads; return its rows as ClickHouse writes them in a format.

    Nothing is rounded on the way: decimals come as text in JSON, times with all their places.
    """
    settings = {
        "readonly": 2,  # 1 would refuse the settings below
        "limit": limit,
        "output_format_json_quote_decimals": 1,
        "output_format_json_quote_64bit_integers": 0,
    }
    return await client.raw_query(
        sql.strip().removesuffix(";"), parameters=dict(params), settings=settings, fmt=format_
    )
