"""`demo`: the whole pipeline at work, with real ticks and orders that are all accounted for."""

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.demo.result import Options, Result
    from streams.dev.control import Outcome
    from streams.dev.state import ProcessState
    from streams.domain.ticks import Tick
    from streams.settings import Settings

INTERRUPTED = 130


def demo(
    orders: Annotated[int, typer.Option(min=1, help="New orders; changes come on top.")] = 2000,
    rate: Annotated[float, typer.Option(min=0.1, help="New orders per second.")] = 200.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same mix.")] = 7,
    accounts: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Default: one per five orders.")
    ] = None,
    shift: Annotated[
        Literal["now"],
        typer.Option(
            help="The ticks are of 2013-10-07 from 09:30 New York. `now`, the only choice, moves "
            "their times, and with them the trading sessions, so that this is the present: "
            "sessions, day orders and price ages work as live at any hour of any day."
        ),
    ] = "now",
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as one line of JSON.")
    ] = False,
) -> None:
    """Play real ticks and a mixed load of orders, valid and invalid, and account for each.

    Beside the load a strategy trades on the ticks, for an account of its own.

    Starts what does not run yet and ends it again; a pipeline that ran before stays. The summary
    comes from ClickHouse. canceled includes expired; elapsed_s is from the first order sent until
    all are accounted for, orders_per_s is over that time; latency_ms is from an order's Kafka
    timestamp to the broker's first answer. Exit code 6: something is not accounted for.
    """
    from streams.clock import monotonic
    from streams.dev import control
    from streams.dev.stack import absolute
    from streams.settings import Settings

    del shift
    began, settings, started, stays = monotonic(), absolute(with_seconds(Settings())), False, keep
    _interrupt_on_signals()
    try:
        started = _up(settings).changed
        from streams.demo.result import Options

        result = _play(settings, Options(orders, rate, seed, accounts), began)
        _print(result, settings, as_json=as_json, runs=keep or not started)
        result.check()
    except KeyboardInterrupt:
        stays = False
        print("interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if started and not stays:
            print("stopping the pipeline; its data stays", file=sys.stderr)
            control.down(settings)


def _interrupt_on_signals() -> None:
    """End on SIGTERM, and when the terminal is closed, as on Ctrl-C."""
    import signal

    # A shell starts what runs in the background with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Passed on as SIGINT, which asyncio turns into a cancellation where it runs.
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


def with_seconds(settings: "Settings") -> "Settings":
    """Return the settings with bars of a second, unless there are frames of one's own.

    A pipeline that runs already has the frames that it was started with; then the strategy of the
    demo, which looks at bars of a second, may have none to trade on.
    """
    from streams.demo.strategy import FRAME

    if settings.bars != type(settings).model_fields["bars"].default:
        return settings
    return settings.model_copy(update={"bars": f"{FRAME} {settings.bars}"})


def _up(settings: "Settings") -> "Outcome":
    """Start what does not run; the demo's own imports, a second or two, pass meanwhile."""
    from concurrent.futures import ThreadPoolExecutor
    from importlib import import_module

    from streams.dev import control

    with ThreadPoolExecutor(1) as pool:
        pool.submit(import_module, "streams.demo.run")
        return control.up(settings, on_change=_show_process)


def _play(settings: "Settings", options: "Options", began: float) -> "Result":
    import asyncio

    from streams.demo.run import play, wait_ready

    async def run() -> "Result":
        print("waiting until the workers are ready", file=sys.stderr)
        await wait_ready(settings)
        return await play(settings, options, sample_ticks(), began)

    return asyncio.run(run())


def sample_ticks() -> "Iterator[Tick]":
    """Yield the ticks that come with Orderflow, in time order, as they are."""
    from streams.cli.inputs import Row, read_rows
    from streams.cli.produce import sample_file
    from streams.domain.ticks import tick_of_row

    for row in read_rows(sample_file(), "parquet"):
        if isinstance(row, Row) and row.cells is not None:
            yield tick_of_row(row.cells, row.number)


def _show_process(one: "ProcessState") -> None:
    print(f"{one.name:<14} {one.state:<10} {one.detail}", file=sys.stderr)


def _print(result: "Result", settings: "Settings", *, as_json: bool, runs: bool) -> None:
    """Print the summary to standard output: for programs one line, for people tables."""
    from streams.cli.output import emit

    found = result.as_json()
    if as_json:
        emit(found, as_json)
        return
    rows, codes = found.pop("history_rows"), found.pop("rejected_by_code")
    traded = found.pop("strategy")
    del found["missing"]
    emit(found, as_json)
    emit({"strategy": traded.pop("name"), **traded}, as_json)
    emit([{"rejected for": code, "orders": count} for code, count in codes.items()], as_json)
    emit([{"ClickHouse table": name, "rows": count} for name, count in rows.items()], as_json)
    for line in next_steps(settings, result.accounts[0], runs=runs):
        print(line)


def next_steps(settings: "Settings", account: str, *, runs: bool) -> list[str]:
    """Return what to try next, a line each; `runs`: the pipeline is left running."""
    up = [] if runs else ["./orderflow up"]
    web = f"http://{settings.web_host}:{settings.web_port}"
    commands = (
        *up,
        f"curl {web}/accounts/{account}/positions",
        f"./orderflow table orders {account} --status open",
        f"./orderflow query orders_by_status -p account={account}",
        './orderflow query "select symbol, count(), sum(value) from fills group by symbol"',
        f"./orderflow tail orders.events --where account={account}",
        "./orderflow limits set default max_order_qty=500",
        "./orderflow demo --orders 20000 --rate 1000",
        "./orderflow down",
    )
    return [
        "Next:" if runs else "The pipeline stops now, its data stays. Next:",
        *(f"  {command}" for command in commands),
        "Market time goes on from 2013-10-07 09:30 New York. To have today's sessions again:",
        "  ./orderflow rules set session-shift default shift_ns=0",
    ]
