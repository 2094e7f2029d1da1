"""`test`: the checks and the tests, as continuous integration runs them."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from streams.cli.output import emit

_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = ("streams", "agents", "tables", "connectors", "tests", "benchmarks")
_COVERED = ("streams", "agents", "tables", "connectors")


class Step(NamedTuple):
    """One check: its name and its command, a program of this environment with arguments."""

    name: str
    arguments: tuple[str, ...]


def steps(*, fast: bool, extra: Sequence[str]) -> list[Step]:
    """Return the checks in order, the quick ones first; `extra` goes to every pytest."""
    sources = [name for name in _SOURCES if (_ROOT / name).is_dir()]
    coverage = [f"--cov={name}" for name in _COVERED]
    quick = [
        Step("format", ("ruff", "format", "--check", *sources)),
        Step("lint", ("ruff", "check", *sources)),
        Step("types", ("mypy",)),
        Step("imports", ("lint-imports",)),
        Step("tests", ("pytest", "-m", "not stack", *coverage, "--cov-report=", *extra)),
    ]
    on_stack = ("pytest", "-m", "stack", *coverage, "--cov-append", "--cov-report=term", *extra)
    return quick if fast else [*quick, Step("tests on the stack", on_stack)]


def fault_command(minutes: float, seed: int | None) -> list[str]:
    """Return the command that runs the long form of the fault suite."""
    command = [sys.executable, "-m", "tests.faults.run", "--minutes", str(minutes)]
    return command if seed is None else [*command, "--seed", str(seed)]


def test(
    context: typer.Context,
    fast: Annotated[bool, typer.Option("--fast", help="Only what needs no service: seconds.")] = (
        False  # noqa: PT028 - a command, no test
    ),
    faults: Annotated[
        bool, typer.Option("--faults", help="Only faults under load: kills, restarts, full disks.")
    ] = False,  # noqa: PT028
    minutes: Annotated[
        float, typer.Option(min=0.3, help="With --faults: for about so long.")
    ] = 10.0,  # noqa: PT028
    seed: Annotated[
        int | None, typer.Option(min=0, help="With --faults: the same faults again.")
    ] = None,  # noqa: PT028
    as_json: Annotated[
        bool, typer.Option("--json", help="With --faults: the result as one line of JSON.")
    ] = False,  # noqa: PT028
) -> None:
    """Run formatting, lint, types, import rules and tests; stop at the first that fails.

    Further arguments go to pytest, such as `-k matching`. With `--faults` the pipeline is broken
    under load in every way there is, and every order is accounted for; exit code 6 if one is not.
    """
    if faults:
        raise typer.Exit(_run_faults(minutes, seed, as_json=as_json))
    for step in steps(fast=fast, extra=context.args):
        typer.echo(f"== {step.name}", err=True)
        program = Path(sys.executable).with_name(step.arguments[0])
        command = [str(program), *step.arguments[1:]]
        code = subprocess.run(command, cwd=_ROOT, check=False).returncode
        if code != 0:
            typer.echo(f"failed: {step.name} ({' '.join(step.arguments[:2])})", err=True)
            raise typer.Exit(code)


def _run_faults(minutes: float, seed: int | None, *, as_json: bool) -> int:
    """Run the faults; their progress goes to standard error as it comes. Return the exit code."""
    done = subprocess.run(
        fault_command(minutes, seed), cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    lines = done.stdout.splitlines()
    if lines:
        emit(json.loads(lines[-1]), as_json)
    return done.returncode


test.context_settings = {  # type: ignore[attr-defined]
    "allow_extra_args": True,
    "ignore_unknown_options": True,
}
