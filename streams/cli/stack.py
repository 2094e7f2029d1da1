"""`up`, `down`, `status` and `doctor`: the pipeline on this machine."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streams.cli.output import emit

if TYPE_CHECKING:
    from streams.dev.stack import Progress
    from streams.dev.state import ProcessState, StackState

JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def up(
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay until Ctrl-C, which ends everything.")
    ] = False,
    role: Annotated[
        list[str] | None, typer.Option(help="Start only this role; repeatable. Default: all.")
    ] = None,
    no_roles: Annotated[
        bool, typer.Option("--no-roles", help="Start the services and create the topics only.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:
    """Start Kafka, ClickHouse, Valkey and a worker for each role; return once they are ready.

    With ORDERFLOW_STACK=external only the workers are started. Does nothing when it runs already.
    """
    from streams.dev import control
    from streams.dev.supervisor import ROLES, Supervisor
    from streams.settings import Settings

    roles = () if no_roles else tuple(role or ROLES)
    if foreground:
        supervisor = Supervisor(Settings(), roles=roles, on_progress=_show)
        supervisor.handle_signals()
        supervisor.run()
        return
    outcome = control.up(Settings(), roles=roles, on_change=_show_process)
    if not outcome.changed:
        typer.echo("it runs already", err=True)
    emit([_row(one) for one in outcome.processes if one.kind != "hook"], as_json)


def down(as_json: JsonOpt = False) -> None:
    """Stop the workers, then the services; the data stays. Does nothing when nothing runs."""
    from streams.dev import control
    from streams.settings import Settings

    outcome = control.down(Settings())
    if as_json:
        emit({"stopped": [one.name for one in outcome.processes]}, as_json)
    else:
        typer.echo("stopped" if outcome.changed else "nothing was running", err=True)


def status(as_json: JsonOpt = False) -> None:
    """Show each process with its state, port and restarts. Exit code 5: nothing runs."""
    from streams.dev import control
    from streams.errors import ServiceUnavailableError
    from streams.settings import Settings

    state = control.running_state(Settings())
    rows = [_row(one) for one in state.processes.values() if one.kind != "hook"] if state else []
    if as_json:
        emit(_summary(state, rows), as_json)
    elif state:
        typer.echo(f"{state.phase}, supervisor {state.pid}, up {_uptime(state)}", err=True)
        emit(rows, as_json)
    if not state:
        raise ServiceUnavailableError("the pipeline is not running")


def doctor(as_json: JsonOpt = False) -> None:
    """Check Python, disk, memory, ports, Java, jars and the services; say what to do.

    Exit code 4: a check failed.
    """
    from streams.dev.doctor import check_all
    from streams.errors import StackError
    from streams.settings import Settings

    rows = check_all(Settings())
    emit([row._asdict() for row in rows], as_json)
    if not all(row.ok for row in rows):
        raise typer.Exit(StackError.exit_code)


def _summary(state: "StackState | None", rows: list[dict[str, Any]]) -> dict[str, Any]:
    if not state:
        return {"phase": "down", "processes": []}
    return {"phase": state.phase, "supervisor": state.pid, "processes": rows}


def _row(one: "ProcessState") -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "state": one.state,
        "pid": one.pid or None,
        "port": one.port or None,
        "restarts": one.restarts,
        "detail": one.detail,
        "log": one.log,
    }


def _uptime(state: "StackState") -> str:
    from streams.clock import now_ns

    seconds = (now_ns() - state.since_ns) // 1_000_000_000
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _show(step: "Progress") -> None:
    print(f"{step.seconds:6.1f} s  {step.name:<12} {step.state:<10} {step.detail}", file=sys.stderr)


def _show_process(one: "ProcessState") -> None:
    print(f"{one.name:<14} {one.state:<10} {one.detail}", file=sys.stderr)
