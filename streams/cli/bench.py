"""`bench`: measure Orderflow beside its rivals on this machine.

The benchmarks are programs of their own in `benchmarks/`, of which the product knows nothing.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from streams.errors import NotFoundError

_ROOT = Path(__file__).resolve().parents[2]


def bench(
    name: Annotated[
        str, typer.Argument(help="hop, latency, path, restore, sink, memory, ticks or kills.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object as the last line.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Seconds; shows that it works, measures nothing.")
    ] = False,
) -> None:
    """Run one benchmark on a stack of its own: minutes, and the rivals' packages at first."""
    if not (_ROOT / "benchmarks").is_dir():
        raise NotFoundError(f"there is no folder benchmarks in {_ROOT}")
    options = [*(["--json"] if as_json else []), *(["--quick"] if quick else [])]
    command = [sys.executable, "-m", "benchmarks", name, *options]
    raise typer.Exit(subprocess.run(command, cwd=_ROOT, check=False).returncode)
