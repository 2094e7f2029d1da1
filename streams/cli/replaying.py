"""`replay`: stored ticks through the agents and the virtual venue, in event time.

Nothing live is touched: ticks are read from files, the history or the live topics without a
consumer group, and results go to a folder. Exit codes: 0 done, 6 a check found a difference, 5 a
source is not reachable, 3 a file or run is missing, 2 wrong options.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from pathlib import Path

    from streams.settings import Settings


class RunByDefault(TyperGroup):
    """Reads `replay --from …` as `replay run --from …`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front of what is no command."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=RunByDefault,
    help="Replay stored ticks through the agents. `replay --from …` is short for `replay run …`.",
)

FileArg = Annotated[
    list[str] | None, typer.Argument(metavar="[FILE]...", help="Files of ticks, by time.")
]
SourceOpt = Annotated[
    Literal["auto", "clickhouse", "kafka"],
    typer.Option(
        "--source", help="auto: files if given, the history if there is a --from, else the sample."
    ),
]
FromOpt = Annotated[str | None, typer.Option("--from", metavar="TIME", help="First time, ISO.")]
ToOpt = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Time of the end, ISO.")]
SymbolsOpt = Annotated[str, typer.Option(help="Symbols, separated by commas; empty: all.")]
OrdersOpt = Annotated[
    str | None, typer.Option(metavar="FILE", help="Recorded orders, with `ts_event_ns`.")
]
ControlsOpt = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Controls as JSON lines, or `live`: those of the pipeline."),
]
LatencyOpt = Annotated[
    float, typer.Option("--latency-ms", help="From a decision to the venue, in milliseconds.")
]
StrategyOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--strategy", metavar="NAME", help="Of the settings, or an implementation. Repeatable."
    ),
]
ParamOpt = Annotated[
    list[str] | None, typer.Option("--param", metavar="NAME=VALUE", help="Repeatable.")
]
NameOpt = Annotated[
    str | None, typer.Option(metavar="ID", help="Name of the run; otherwise it follows from it.")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def run(  # noqa: PLR0913, PLR0917 - a command takes its options so
    file: FileArg = None,
    source: SourceOpt = "auto",
    from_: FromOpt = None,
    to: ToOpt = None,
    symbols: SymbolsOpt = "",
    speed: Annotated[
        str, typer.Option(help="max, or a multiple of event time: 1x, 10x, 0.5x.")
    ] = "max",
    orders: OrdersOpt = None,
    controls: ControlsOpt = None,
    latency_ms: LatencyOpt = 1.0,
    strategy: StrategyOpt = None,
    param: ParamOpt = None,
    name: NameOpt = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Also to Kafka and ClickHouse, namespace replay-ID.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """Replay ticks, and write records, report.json and report.html into a folder of the run.

    The same ticks and options give the same bytes in all three; run.json says when and where.
    """
    from streams.cli import replay_options as options
    from streams.cli.output import emit
    from streams.cli.replay_job import run_job
    from streams.replay.publish import namespaced
    from streams.replay.publish import publish as publish_run
    from streams.replay.run import Going
    from streams.settings import Settings

    settings = Settings()
    given = options.Options(
        *(
            file or (),
            source,
            from_,
            to,
            symbols,
            orders,
            controls,
            latency_ms,
            param or (),
            strategy or (),
        )
    )
    job = options.job_of(given, settings)
    folder = options.folder_of(settings, name or job.run_id())
    if publish:
        namespaced(settings, folder.name)  # says at once what is wrong with the name
    with options.progress() as told:
        result = run_job(job, settings, Going(pace=options.pacer_of(speed), progress=told), folder)
    options.note(folder, result, speed)
    options.warn_of(result.report)
    if publish:
        publish_run(folder, settings)
    found = options.summary(result.report) | options.speed_of(result) | {"folder": str(folder)}
    emit(found, as_json)


@app.command()
def compare(
    one: Annotated[str, typer.Argument(help="A run: its id, or its folder.")],
    other: Annotated[str, typer.Argument(help="Another run.")],
    as_json: JsonOpt = False,
) -> None:
    """Show two runs side by side, and the first record of each topic that differs."""
    from streams.cli.output import emit
    from streams.replay.compare import compare as compared
    from streams.settings import Settings

    settings = Settings()
    found = compared(_run_at(one, settings), _run_at(other, settings))
    if as_json:
        emit(found, as_json=True)
        return
    emit([{"figure": name, **row} for name, row in found["figures"].items()], as_json=False)
    parts = {"equal": found["equal"], "records equal": found["records_equal"]}
    emit(parts | found["options"] | found["first_differences"], as_json=False)


@app.command()
def check(  # noqa: PLR0913, PLR0917 - likewise
    file: FileArg = None,
    source: SourceOpt = "auto",
    from_: FromOpt = None,
    to: ToOpt = None,
    symbols: SymbolsOpt = "",
    orders: OrdersOpt = None,
    controls: ControlsOpt = None,
    latency_ms: LatencyOpt = 1.0,
    strategy: StrategyOpt = None,
    param: ParamOpt = None,
    cuts: Annotated[int, typer.Option(min=1, max=100, help="Runs that are cut.")] = 3,
    as_json: JsonOpt = False,
) -> None:
    """Look for look-ahead: runs that are cut must have written the same up to the cut.

    Exit code 6: one did not, so that something knew what was yet to come.
    """
    from dataclasses import replace

    from streams.cli import replay_options as options
    from streams.cli.output import emit
    from streams.cli.replay_source import orders_of
    from streams.errors import IncompleteError
    from streams.replay.check import look_ahead
    from streams.replay.report import iso
    from streams.settings import Settings

    settings = Settings()
    given = options.Options(
        *(
            file or (),
            source,
            from_,
            to,
            symbols,
            orders,
            controls,
            latency_ms,
            param or (),
            strategy or (),
        )
    )
    job = options.job_of(given, settings)

    def ticks(until_ns: int | None) -> Any:
        end = job.source.to_ns if until_ns is None else min(until_ns, job.source.to_ns)
        return replace(job.source, to_ns=end).ticks(settings)

    inputs = orders_of(job.orders) if job.orders else []
    shares = [number / (cuts + 1) for number in range(1, cuts + 1)]
    found = list(look_ahead(job.rules, settings, ticks, inputs, shares))
    rows = [
        {"cut": iso(one.at_ns), "equal_records": one.records, "difference": one.difference}
        for one in found
    ]
    clean = all(one.difference is None for one in found)
    emit({"look_ahead": not clean, "cuts": rows} if as_json else rows, as_json)
    if not clean:
        raise typer.Exit(IncompleteError.exit_code)


@app.command()
def sweep(  # noqa: PLR0913, PLR0917 - likewise
    file: FileArg = None,
    source: SourceOpt = "auto",
    from_: FromOpt = None,
    to: ToOpt = None,
    symbols: SymbolsOpt = "",
    orders: OrdersOpt = None,
    controls: ControlsOpt = None,
    latency_ms: LatencyOpt = 1.0,
    strategy: StrategyOpt = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE,VALUE", help="Values to try. Repeatable."),
    ] = None,
    sort: Annotated[Literal["sharpe", "sortino", "pnl"], typer.Option(help="Best first.")] = (
        "sharpe"
    ),
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; by default all cores.")] = (
        None
    ),
    as_json: JsonOpt = False,
) -> None:
    """Replay with every combination of parameters, some at a time, and show the best first."""
    from streams.cli import replay_options as options
    from streams.cli.output import emit
    from streams.cli.replay_sweep import combinations, sweep_of
    from streams.settings import Settings

    settings = Settings()
    given = options.Options(
        *(file or (), source, from_, to, symbols, orders, controls, latency_ms, (), strategy or ())
    )
    job = options.job_of(given, settings)
    rows = sweep_of(job, combinations(param or ()), settings, sort, jobs)
    emit({"runs": rows} if as_json else rows, as_json)


def _run_at(named: str, settings: "Settings") -> "Path":
    """Return the folder of a run that is named by its id or its folder."""
    from pathlib import Path

    from streams.cli.replay_options import folder_of

    path = Path(named)
    return path if path.is_dir() else folder_of(settings, path.name)
