"""`reconcile`: what the newest comparison of each broker with us found."""

from typing import Annotated

import typer

JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def reconcile(
    broker: Annotated[str, typer.Option(help="Only this broker.")] = "",
    as_json: JsonOpt = False,
) -> None:
    """Show where brokers across a network and we differ, by the newest comparison of each.

    A summary for each partition, then what differed; what is mended was published as events. The
    exit code is 6 if anything differed. Comparisons are made by the gateway workers, when they
    start and every `reconcile_every_s`.
    """
    import asyncio

    from streams.cli.output import emit
    from streams.cli.query import fetch_named, rows_of
    from streams.errors import IncompleteError
    from streams.settings import Settings

    answer = asyncio.run(fetch_named(Settings(), "reconciliations_newest", {"broker": broker}))
    rows = rows_of(answer)
    emit(rows, as_json)
    if any(row["finding"] != "summary" for row in rows):
        raise typer.Exit(IncompleteError.exit_code)
