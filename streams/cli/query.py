"""`query` and `migrate`: ask the history in ClickHouse, and bring its tables up to date."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from streams.settings import Settings

JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def query(
    what: Annotated[
        str | None, typer.Argument(help="A query's name, or a select in quotes.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="name=value; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows to print.")] = 1000,
    as_json: JsonOpt = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")] = False,
    list_names: Annotated[bool, typer.Option("--list", help="List the named queries.")] = False,
) -> None:
    """Run a named query or a select against the history in ClickHouse.

    What stands between quotes must be a statement that only reads. Without anything the named
    queries are listed.
    """
    import asyncio
    import sys

    from streams.cli.output import emit
    from streams.errors import UsageError
    from streams.settings import Settings

    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other; give one of them")
    if list_names or what is None:
        emit(_named(), as_json)
        return
    format_ = "CSVWithNames" if as_csv else "JSONEachRow"
    answer = asyncio.run(_fetch(Settings(), what, parameters(param or ()), format_, limit))
    if as_csv:
        sys.stdout.write(answer.decode())
    else:
        emit(rows_of(answer), as_json)


def migrate(
    dry_run: Annotated[bool, typer.Option(help="Only list what would be applied.")] = False,
    as_json: JsonOpt = False,
) -> None:
    """Bring the history's tables and views up to date; what is applied already is left alone."""
    import asyncio

    from connectors.clickhouse.migrate import migrate as apply
    from streams.cli.output import emit
    from streams.settings import Settings

    state = "pending" if dry_run else "applied"
    done = asyncio.run(apply(Settings(), dry_run=dry_run))
    emit([{"version": one.version, "name": one.name, "state": state} for one in done], as_json)


def parameters(words: Sequence[str]) -> dict[str, str]:
    """Return `name=value` words as a mapping; raises UsageError for a word without `=`."""
    from streams.errors import UsageError

    found = {}
    for word in words:
        name, given, value = word.partition("=")
        if not given:
            raise UsageError(f"--param {word}: write it as name=value")
        found[name] = value
    return found


def rows_of(lines: bytes) -> list[dict[str, Any]]:
    """Return ClickHouse's JSON lines as rows."""
    import orjson

    return [orjson.loads(line) for line in lines.splitlines()]


def _named() -> list[dict[str, str]]:
    """Return a row for each named query: name, parameters with defaults, documentation."""
    from connectors.clickhouse.queries import USER_FOLDERS, load

    return [
        {
            "name": each.name,
            "params": " ".join(
                name if default is None else f"{name}={default}"
                for name, default in each.params.items()
            ),
            "doc": each.doc,
        }
        for each in load(*USER_FOLDERS).values()
    ]


async def fetch_named(settings: "Settings", name: str, params: dict[str, str]) -> bytes:
    """Return ClickHouse's JSON lines for a named query."""
    return await _fetch(settings, name, params, "JSONEachRow", 10_000)


async def _fetch(
    settings: "Settings", what: str, params: dict[str, str], format_: str, limit: int
) -> bytes:
    """Run `what`, a statement if it is more than one word, and return ClickHouse's answer."""
    from connectors.clickhouse.client import CLICKHOUSE_ERRORS, connect, first_line
    from connectors.clickhouse.queries import fetch, user_query
    from streams.errors import UsageError

    sql = what
    if len(what.split()) == 1:
        named = user_query(what)
        sql, params = named.sql, named.bind(params)
    client = await connect(settings)
    try:
        return await fetch(client, sql, params, format_=format_, limit=limit)
    except CLICKHOUSE_ERRORS as error:
        raise UsageError(f"ClickHouse refused the query: {first_line(error)}") from error
    finally:
        await client.close()
