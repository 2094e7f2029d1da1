"""`produce`: publish a file of orders or ticks, or standard input.

A line that is no order or tick is named on standard error with its number and the reason, and
the lines after it go on. Exit codes: 0 everything was produced and acknowledged by Kafka, 6 some
lines were left out, 5 Kafka is not reachable, 2 wrong options.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from streams.cli.inputs import BadRow, Item, Row

app = typer.Typer(no_args_is_help=True, help="Publish a file of orders or ticks.")

SAMPLE = "ticks_sample.parquet"

FileArg = Annotated[str, typer.Argument(help="File, or - for standard input.")]
FormatOpt = Annotated[
    Literal["jsonl", "csv", "parquet"] | None,
    typer.Option("--format", help="By default from the suffix; standard input: jsonl."),
]
SpeedOpt = Annotated[str, typer.Option(help="max, or a multiple of event time: 1x, 10x, 0.5x.")]
LimitOpt = Annotated[int | None, typer.Option(min=1, help="Take only the first N rows.")]
DryRunOpt = Annotated[bool, typer.Option("--dry-run", help="Check every row, produce nothing.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


@app.command()
def orders(
    file: FileArg,
    format_: FormatOpt = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Do not check the lines; send them as they are.")
    ] = False,
    shift: Annotated[
        str, typer.Option(help="Move ts_event_ns: none, now (first order), or 90s, -5m, 3d.")
    ] = "none",
    speed: SpeedOpt = "max",
    limit: LimitOpt = None,
    dry_run: DryRunOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Publish commands (submit, cancel, replace) to orders.requested, keyed by account.

    JSON lines go out as they are; CSV and Parquet columns are the fields of a command, with
    `take_profit.limit_price` for a field of a part. Exit code 6: some lines were left out.
    """
    from streams.cli.inputs import order_item, raw_order_item
    from streams.cli.producing import run_items
    from streams.errors import UsageError

    if raw and shift != "none":
        raise UsageError("--raw sends lines unchanged; it goes with --shift none only")
    items = _items(file, format_, limit, raw_order_item if raw else order_item)
    run_items(items, shift=shift, speed=speed, dry_run=dry_run, as_json=as_json)


@app.command()
def ticks(
    file: Annotated[str | None, typer.Argument(help="File, or - for standard input.")] = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="AIG, BAC, IBM of 2013-10-07, 09:30-09:40 New York.")
    ] = False,
    format_: FormatOpt = None,
    shift: Annotated[
        str | None,
        typer.Option(
            help="Move the times: none, now (first tick), or 90s, -5m, 3d. "
            "A moved time publishes a session-shift control, so that sessions and day orders "
            "are those of the ticks' day. Default: none; with --sample now."
        ),
    ] = None,
    speed: SpeedOpt = "max",
    limit: LimitOpt = None,
    dry_run: DryRunOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Publish trades and quotes to market.trades and market.quotes, keyed by symbol.

    Rows have the fields of the topics' messages, or the columns of another layout that `import`
    knows; unlike there, no check but the messages' own leaves one out. Exit code 6: some lines
    were left out.
    """
    from itertools import islice

    from streams.cli.producing import run_items
    from streams.cli.tick_source import TickSource
    from streams.errors import UsageError

    if (file is None) == (not sample):
        raise UsageError("give a file, - for standard input, or --sample")
    source = TickSource([file or sample_file()], source=format_)
    run_items(
        islice(source.items(), limit),
        shift=shift or ("now" if sample else "none"),
        speed=speed,
        moved_by="produce",
        dry_run=dry_run,
        as_json=as_json,
        done=lambda _: source.done(),
    )


def sample_file() -> str:
    """Return the path of the ticks that come with Orderflow."""
    from pathlib import Path

    import streams

    return str(Path(streams.__file__).parent / "data" / SAMPLE)


def _items(
    file: str,
    source: Literal["jsonl", "csv", "parquet"] | None,
    limit: int | None,
    convert: "Callable[[Row], Item | BadRow]",
) -> "Iterator[Item | BadRow]":
    """Yield what the file's rows are; opens the file at the first one."""
    from itertools import islice

    from streams.cli.inputs import Row, format_of, read_rows

    for row in islice(read_rows(file, format_of(file, source)), limit):
        yield convert(row) if isinstance(row, Row) else row
