"""`test`: the checks and the tests, as continuous integration runs them."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

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


def test(
    context: typer.Context,
    fast: Annotated[
        bool, typer.Option("--fast", help="Only what needs no service: seconds.")
    ] = False,  # noqa: PT028 - a command, no test
) -> None:
    """Run formatting, lint, types, import rules and tests; stop at the first that fails.

    Further arguments go to pytest, such as `-k matching`.
    """
    for step in steps(fast=fast, extra=context.args):
        typer.echo(f"== {step.name}", err=True)
        program = Path(sys.executable).with_name(step.arguments[0])
        command = [str(program), *step.arguments[1:]]
        code = subprocess.run(command, cwd=_ROOT, check=False).returncode
        if code != 0:
            typer.echo(f"failed: {step.name} ({' '.join(step.arguments[:2])})", err=True)
            raise typer.Exit(code)


test.context_settings = {  # type: ignore[attr-defined]
    "allow_extra_args": True,
    "ignore_unknown_options": True,
}
