"""`rules`, `limits`, `kill-switch`, `trading-state`: read and set the controls.

Every change is one record on `controls.v1` with the next version; it is in force when a worker
has read it, usually within a second. Limits and rules of orders already working do not change.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from streams.models.controls import AnyControl

app = typer.Typer(no_args_is_help=True, help="The controls of every kind: list, set.")
limits_app = typer.Typer(no_args_is_help=True, help="Pre-trade limits of accounts: list, set.")

ReasonOpt = Annotated[str, typer.Option(help="Why; kept with the record.")]
ByOpt = Annotated[str | None, typer.Option(help="Who sets it. Default: the user's name.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FieldsArg = Annotated[
    list[str],
    typer.Argument(metavar="FIELD=VALUE…", help="Or one JSON object. Others keep their value."),
]
HEAD = ("kind", "scope", "version", "by", "reason", "ts_event_ns")


@app.command("list")
def list_rules(
    kind: Annotated[str | None, typer.Argument(help="One kind only, like limits.")] = None,
    as_json: JsonOpt = False,
) -> None:
    """List the controls as they are on the topic, oldest version first.

    Shown are the fields that differ from the kind's built-in values; --json has all of them.
    """
    _list(kind, as_json)


@app.command("set")
def set_rule(
    kind: Annotated[
        str,
        typer.Argument(
            help="limits, instrument, routing, trading-state, kill-switch, restricted, "
            "session-shift, strategy."
        ),
    ],
    scope: Annotated[str, typer.Argument(help="Account, symbol, account:A1 …, or default.")],
    fields: FieldsArg,
    reason: ReasonOpt = "",
    by: ByOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Set a control: rules set restricted default symbols=GME,AMC --reason "halted"."""
    _set(kind, scope, fields, reason, by, as_json)


@limits_app.command("list")
def list_limits(as_json: JsonOpt = False) -> None:
    """List the limits; scope default holds for accounts without their own."""
    _list("limits", as_json)


@limits_app.command("set")
def set_limits(
    account: Annotated[str, typer.Argument(help="The account, or default for all others.")],
    fields: FieldsArg,
    reason: ReasonOpt = "",
    by: ByOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Set limits: limits set A1 max_order_qty=500. Others keep the value in force."""
    _set("limits", account, fields, reason, by, as_json)


def kill_switch(
    switch: Annotated[Literal["on", "off"], typer.Argument()],
    scope: Annotated[
        str,
        typer.Argument(help="default (everything), account:A1, symbol:AIG, strategy:x, broker:b."),
    ] = "default",
    scope_option: Annotated[
        str | None, typer.Option("--scope", help="The scope, said as an option.")
    ] = None,
    cancel_open: Annotated[bool, typer.Option(help="Cancel the open orders it covers.")] = False,
    flatten: Annotated[
        bool, typer.Option(help="Cancel likewise, then close the positions at the market.")
    ] = False,
    reason: ReasonOpt = "",
    by: ByOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Stop new orders at once, or let them pass again; cancels always pass."""
    if switch == "off" and (cancel_open or flatten):
        raise typer.BadParameter("--cancel-open and --flatten belong to `on`")
    fields = {"engaged": switch == "on", "cancel_open": cancel_open or flatten, "flatten": flatten}
    words = [f"{name}={str(value).lower()}" for name, value in fields.items()]
    _set("kill-switch", scope_option or scope, words, reason, by, as_json)


def trading_state(
    scope: Annotated[str, typer.Argument(help="The account, or default for all.")],
    state: Annotated[Literal["active", "reducing", "halted"], typer.Argument()],
    reason: ReasonOpt = "",
    by: ByOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Say whether an account may trade, only reduce its positions, or not trade."""
    _set("trading-state", scope, [f"state={state}"], reason, by, as_json)


def _list(kind: str | None, as_json: bool) -> None:
    import asyncio

    from connectors.kafka.controls import read_controls
    from streams.cli.output import emit
    from streams.domain.control_edit import KINDS
    from streams.errors import UsageError
    from streams.settings import Settings

    if kind is not None and kind not in KINDS:
        raise UsageError(f"there is no kind {kind}; the kinds are {', '.join(KINDS)}")
    controls = asyncio.run(read_controls(Settings()))
    found = [record for record in controls.records.values() if kind in (None, record.kind)]
    found.sort(key=lambda record: record.version)
    row = _full_row if as_json else _short_row
    emit([row(record) for record in found], as_json)


def _set(
    kind: str, scope: str, fields: list[str], reason: str, by: str | None, as_json: bool
) -> None:
    import asyncio

    from streams.cli.inputs import reason_of
    from streams.cli.output import emit
    from streams.errors import UsageError

    try:
        control, locked = asyncio.run(_edit(kind, scope, fields, reason, by or user()))
    except ValueError as error:
        raise UsageError(f"{kind} of {scope} was not set: {reason_of(error)}") from error
    emit(_full_row(control), as_json)
    if not locked:
        typer.echo(
            "Redis is away, so there was no lock: if another control was set in this very "
            "moment, both may have the same version; `./orderflow rules list` shows it",
            err=True,
        )


async def _edit(
    kind: str, scope: str, fields: list[str], reason: str, by: str
) -> "tuple[AnyControl, bool]":
    """Write the changed control; return it as written, and whether a lock was held."""
    from connectors.kafka.controls import publish_controls, read_controls
    from streams.domain.control_edit import edited, parse_assignments
    from streams.settings import Settings

    settings = Settings()
    changes = parse_assignments(kind, fields)
    current = await read_controls(settings)
    control = edited(current, kind, scope, changes, by=by, reason=reason)
    written = await publish_controls(settings, [control])
    return written.controls[0], written.locked


def user() -> str:
    """Return the name of whoever runs the command."""
    import getpass

    try:
        return getpass.getuser()[:64]
    except (OSError, KeyError):  # no such user on a container's machine
        return "unknown"


def _full_row(control: "AnyControl") -> Mapping[str, Any]:
    return control.model_dump(mode="json")


def _short_row(control: "AnyControl") -> Mapping[str, Any]:
    """Return the head of a control, and in one cell what differs from the kind's own values."""
    from streams.cli.tail import time_text

    full = control.model_dump(mode="json", exclude_defaults=True)
    fields = {name: full[name] for name in full if name not in (*HEAD, "schema_version")}
    return {
        "kind": control.kind,
        "scope": control.scope,
        "version": control.version,
        "fields": " ".join(f"{name}={_cell(value)}" for name, value in fields.items()),
        "by": control.by,
        "reason": control.reason,
        "time": time_text(control.ts_event_ns // 1_000_000),
    }


def _cell(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
