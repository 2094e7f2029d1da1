"""Run one benchmark on an embedded stack of its own: `python -m benchmarks NAME`.

Standard output carries the result: a table for people, or with `--json` one JSON object as the
last line. Progress goes to standard error. The exit code is 0 also where a goal is missed, since
that is a finding; it is 6 where records are unaccounted for, and no figure is given then.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.harness import GOAL, OURS, Plan, record
from streams.cli.output import print_error
from streams.dev.stack import Progress, State
from streams.dev.testing import embedded_stack
from streams.errors import OrderflowError, UsageError

#: Name and what it measures; the module of the same name has `run(plan) -> dict`.
BENCHMARKS: Mapping[str, str] = {
    "hop": "one hop with state: consume, decode, check, count, produce",
    "latency": "one and three hops at a given rate, from the intended time of sending",
    "path": "orders through the whole pipeline",
    "restore": "tables from their changelogs",
    "sink": "records into ClickHouse",
    "memory": "the memory of a worker",
    "ticks": "trades to bars of one minute",
    "kills": "what kill -9 makes of state and output",
}
#: Rounds of a run; the quick form has one.
REPEATS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark that is named and return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        found = measure(arguments.name, quick=arguments.quick)
    except OrderflowError as error:
        print_error(error)
        return error.exit_code
    if arguments.json:
        print(json.dumps(found))
    else:
        show(found)
    return 0


def measure(name: str, *, quick: bool) -> dict[str, Any]:
    """Run a benchmark on a stack of its own; record what a full run found."""
    if name not in BENCHMARKS:
        raise UsageError(f"unknown benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    module = import_module(f"benchmarks.{name}")
    with (
        tempfile.TemporaryDirectory(prefix="orderflow-bench-") as folder,
        embedded_stack(Path(folder), on_progress=_on_progress) as settings,
    ):
        found: dict[str, Any] = module.run(Plan(settings, quick, 1 if quick else REPEATS, say))
    found["command"] = f"./orderflow bench {name}{' --quick' if quick else ''}"
    found["quick"] = quick
    if not quick:
        record(found)
    return found


def say(line: str) -> None:
    """Tell how far it is."""
    print(line, file=sys.stderr, flush=True)


def show(found: Mapping[str, Any]) -> None:
    """Print each contender with its figures, the ratio of ours to it, and whether that is met."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = f"{found['benchmark']}: {found['unit']}, {found['better']} is better"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in ("contender", "median", "low", "high", "ours is better by", "wanted", ""):
        table.add_column(column, justify="left" if column == "contender" else "right")
    for row in rows(found):
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table)
    if found["quick"]:
        console.print("A quick run: it shows that it works, its figures mean nothing.")


def rows(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the table, ours first."""
    lines = []
    for name in dict.fromkeys((OURS, *found["rivals"], *found["ratios"])):
        spread = found["spread"].get(name)
        figures = (
            [spread["median"], spread["low"], spread["high"]] if spread else [found["goals"][name]]
        )
        cells = [f"{value:,.4g}" if value < 1_000 else f"{value:,.0f}" for value in figures]
        wanted = 1.0 if name == GOAL else found["goals"].get(name)
        lines.append(
            (
                name,
                *[*cells, "", ""][:3],
                f"{found['ratios'][name]:.2f} x" if name in found["ratios"] else "",
                "" if wanted is None or name == OURS else f"{wanted:g} x",
                {True: "met", False: "missed"}.get(found["met"].get(name), ""),
            )
        )
    return lines


def _on_progress(step: Progress) -> None:
    if step.state is State.READY or step.detail.startswith("downloading"):
        say(f"{step.seconds:5.1f} s  {step.name} {step.state} {step.detail}")


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<8} {what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="orderflow bench",
        description=f"Measure Orderflow beside its rivals on this machine.\n\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="seconds; shows that it works")
    return parser


if __name__ == "__main__":
    sys.exit(main())
