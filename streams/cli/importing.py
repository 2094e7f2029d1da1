"""`import`: market data from files in many layouts, or made up, checked on the way.

A row that is no tick, and one that a check refuses, is named on standard error as FILE:LINE with
the reason, and the rest goes on. Exit codes: 0 everything was produced and acknowledged by Kafka,
6 some rows were left out, 5 Kafka is not reachable, 3 a file is missing, 2 wrong options.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from streams.cli.inputs import BadRow, Item
    from streams.cli.producing import Run
    from streams.cli.tick_source import TickSource
    from streams.domain.sessions import Session
    from streams.domain.tick_layouts import Reading
    from streams.domain.ticks import Tick


class FilesByDefault(TyperGroup):
    """Reads `import FILE...` as `import files FILE...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front of what is no command."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["files", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=FilesByDefault,
    no_args_is_help=True,
    help="Import market data. `import FILE...` is short for `import files FILE...`.",
)

SpeedOpt = Annotated[str, typer.Option(help="max, or a multiple of event time: 1x, 10x, 0.5x.")]
ShiftOpt = Annotated[
    str,
    typer.Option(
        help="Move the times: none, now (first tick), or 90s, -5m, 3d; "
        "publishes a session-shift control."
    ),
]
LimitOpt = Annotated[int | None, typer.Option(min=1, help="Take only the first N rows.")]
PreviewOpt = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Show N ticks of each file as read; write nothing."),
]
DryRunOpt = Annotated[bool, typer.Option("--dry-run", help="Check every row, write nothing.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


@app.command()
def files(  # noqa: PLR0913, PLR0917 - a command takes its options so
    file: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files, .gz and .zst too; - for stdin.")
    ],
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="FIELD=COLUMN", help="Where a field stands. Repeatable."),
    ] = None,
    symbol: Annotated[
        str | None, typer.Option(help="The symbol of rows that name none themselves.")
    ] = None,
    time: Annotated[
        Literal["auto", "ns", "us", "ms", "s", "iso"],
        typer.Option(help="How times are written; auto tells numbers by their size."),
    ] = "auto",
    zone: Annotated[
        str | None, typer.Option(help="Zone of ISO times that name none: America/New_York.")
    ] = None,
    decimals: Annotated[
        int | None,
        typer.Option(min=0, max=9, help="Take floats of Parquet, rounded to so many places."),
    ] = None,
    format_: Annotated[
        Literal["jsonl", "csv", "parquet"] | None,
        typer.Option("--format", help="By default from the suffix; standard input: jsonl."),
    ] = None,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Leave out only what is no tick at all.")
    ] = False,
    from_line: Annotated[
        int, typer.Option(min=1, help="Begin at this line of the first file, to go on.")
    ] = 1,
    shift: ShiftOpt = "none",
    speed: SpeedOpt = "max",
    limit: LimitOpt = None,
    preview: PreviewOpt = None,
    dry_run: DryRunOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Import files of trades and quotes: CSV, JSON lines, Parquet.

    The layout of each file is told by its columns (docs/market.md has the known ones); --map says
    what differs. A tick's `seq` is its own, or else its line, so a file that is imported twice
    is the same ticks again. Exit code 6: some rows were left out.
    """
    from itertools import islice

    from streams.cli.producing import run_items
    from streams.cli.tick_source import TickSource

    source = TickSource(
        file,
        source=format_,
        reading=_reading(map_ or [], symbol, time, zone, decimals),
        checked=not unchecked,
        first_line=from_line,
    )
    if preview is not None:
        _show((islice(items, preview) for items in source.by_file()), as_json)
        return
    run_items(
        islice(source.items(), limit),
        shift=shift,
        speed=speed,
        moved_by="import",
        dry_run=dry_run,
        as_json=as_json,
        done=lambda _: source.done(),
        more=lambda run: _more(run, source),
    )


@app.command()
def synthetic(  # noqa: PLR0913, PLR0917 - likewise
    symbols: Annotated[str, typer.Option(help="Symbols, separated by commas.")] = "AIG,BAC,IBM",
    seconds: Annotated[int, typer.Option(min=1, help="Seconds of regular hours.")] = 60,
    rate: Annotated[int, typer.Option(min=1, help="Ticks a second, all symbols together.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same ticks.")] = 7,
    start: Annotated[
        str, typer.Option(metavar="TIME", help="ISO time; the next regular hours count.")
    ] = "2026-01-05T09:30:00-05:00",
    shift: ShiftOpt = "now",
    speed: SpeedOpt = "max",
    preview: PreviewOpt = None,
    dry_run: DryRunOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Import made-up trades and quotes: a random walk within the exchange's sessions.

    Same options, same ticks; --shift none keeps their times too, so that a second import is a
    repetition.
    """
    from itertools import islice

    from streams.cli.inputs import item_of
    from streams.cli.producing import run_items

    ticks = _synthetic(symbols, seconds, rate, seed, start)
    items = (item_of(tick, number) for number, tick in enumerate(ticks, start=1))
    if preview is not None:
        _show([islice(items, preview)], as_json)
        return
    run_items(
        items,
        shift=shift,
        speed=speed,
        moved_by="import",
        dry_run=dry_run,
        as_json=as_json,
        done=lambda run: sum(run.produced.values()) / (seconds * rate),
        more=lambda _: {"seed": seed},
    )


def _synthetic(symbols: str, seconds: int, rate: int, seed: int, start: str) -> "Iterator[Tick]":
    from connectors.calendar import ExchangeCalendar
    from connectors.kafka.controls import SAMPLE_PRICES
    from streams.domain.synthetic import spans_of, synthetic_ticks
    from streams.domain.tick_times import time_ns
    from streams.errors import UsageError

    names = [symbol.strip() for symbol in symbols.split(",") if symbol.strip()]
    try:
        start_ns = time_ns(start, "iso")
    except ValueError as error:
        raise UsageError(f"--start: {error}") from error
    sessions = _sessions(ExchangeCalendar(), start_ns)
    spans = spans_of(sessions, start_ns, seconds)
    return synthetic_ticks(seed, _checked_symbols(names), rate, spans, SAMPLE_PRICES)


def _sessions(calendar: Any, start_ns: int) -> "Iterator[Session]":
    from streams.errors import UsageError

    at = start_ns
    while True:
        try:
            session = calendar.session_at(at)
        except ValueError as error:
            raise UsageError(f"--start and --seconds: {error}") from error
        yield session
        at = session.post_ns


def _checked_symbols(names: list[str]) -> list[str]:
    from pydantic import TypeAdapter, ValidationError

    from streams.errors import UsageError
    from streams.models.base import Symbol

    if not names:
        raise UsageError("--symbols: name one symbol or more, as in AIG,BAC")
    try:
        return [TypeAdapter(Symbol).validate_python(name) for name in dict.fromkeys(names)]
    except ValidationError as error:
        raise UsageError(f"--symbols {','.join(names)}: one of them is no symbol") from error


def _reading(
    pairs: list[str],
    symbol: str | None,
    time: Literal["auto", "ns", "us", "ms", "s", "iso"],
    zone: str | None,
    decimals: int | None,
) -> "Reading":
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from streams.domain.tick_layouts import FIELDS, Reading
    from streams.errors import UsageError

    columns = {}
    for pair in pairs:
        field, equals, column = pair.partition("=")
        if not equals or not column or field not in FIELDS:
            known = ", ".join(FIELDS[1:])
            raise UsageError(f"--map {pair!r}: write FIELD=COLUMN, FIELD one of {known}")
        columns[field] = column
    try:
        found = ZoneInfo(zone) if zone is not None else None
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UsageError(f"--zone {zone!r} is no zone; write it as America/New_York") from error
    return Reading(columns, symbol, time, found, decimals)


def _more(run: "Run", source: "TickSource") -> dict[str, object]:
    """Return what the summary of an import has besides."""
    last = {"file": run.last[0], "line": run.last[1]} if run.last else None
    return {
        "layouts": source.layouts,
        "refused": dict(run.left_out),
        "noted": dict(run.noted),
        "last": last,
    }


def _show(files: "Iterable[Iterable[Item | BadRow]]", as_json: bool) -> None:
    """Print rows as they are read, and what would be refused."""
    from streams.cli.inputs import BadRow
    from streams.cli.output import emit

    rows: list[dict[str, object]] = []
    for items in files:
        for item in items:
            place: dict[str, object] = {"file": item.file, "line": item.number}
            if isinstance(item, BadRow):
                rows.append(place | {"verdict": item.reason})
            else:
                rows.append(place | _shown(item))
    if rows and not as_json:  # what is wrong stands last, also where the first row is wrong
        rows = [row | {"verdict": row.pop("verdict")} for row in rows]
    emit(rows, as_json)


def _shown(item: "Item") -> dict[str, object]:
    from datetime import UTC, datetime

    message: Any = item.message
    fields = message.model_dump(exclude_none=True, exclude={"schema_version", "ts_event_ns"})
    seconds, nanos = divmod(message.ts_event_ns, 10**9)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    kind = "trade" if hasattr(message, "price") else "quote"
    return {
        "kind": kind,
        "time": f"{whole}.{nanos:09d}Z",
        **fields,
        "verdict": f"noted: {item.note}" if item.note else "ok",
    }
