"""`slice`: send an order in slices over time; by equal parts, or by a share of the volume.

Progress is on slices.updates, and in `./orderflow table slices`. Exit codes: 0 Kafka has the
request, 2 wrong words or options, 5 Kafka is not reachable.
"""

from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True, help="Send an order in slices over time: twap, pov, cancel."
)

SymbolArg = Annotated[str, typer.Argument(help="What to trade.")]
SideArg = Annotated[str, typer.Argument(help="buy or sell.")]
QtyArg = Annotated[str, typer.Argument(help="Shares in all.")]
AccountOpt = Annotated[str, typer.Option(help="The account.")]
LastsOpt = Annotated[str, typer.Option("--for", help="How long, from the start: 30m, 2h.")]
StartOpt = Annotated[str, typer.Option("--in", help="Begin after this time: 10m.")]
LimitOpt = Annotated[str | None, typer.Option(help="Limit price of each child; else market.")]
StrategyOpt = Annotated[str, typer.Option(help="The strategy that the children carry.")]
IdOpt = Annotated[
    str | None, typer.Option("--id", help="Unique in the account. Default: from the time.")
]
DryRunOpt = Annotated[bool, typer.Option("--dry-run", help="Check, produce nothing.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def twap(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    symbol: SymbolArg,
    side: SideArg,
    qty: QtyArg,
    account: AccountOpt,
    lasts: LastsOpt = "30m",
    interval: Annotated[str, typer.Option(help="Between two slices: 60s, at least 1s.")] = "60s",
    start: StartOpt = "0s",
    limit: LimitOpt = None,
    strategy: StrategyOpt = "",
    id_: IdOpt = None,
    dry_run: DryRunOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Send equal slices: slice twap AIG buy 1000 --account A1 --for 30m --interval 60s."""
    fields = {"command": "twap", "interval_s": seconds_of(interval)}
    order = (symbol, side, qty, account, limit, strategy)
    _send(fields | timed(lasts, start, id_) | common(*order), dry_run=dry_run, as_json=as_json)


@app.command()
def pov(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    symbol: SymbolArg,
    side: SideArg,
    qty: QtyArg,
    account: AccountOpt,
    participation: Annotated[str, typer.Option(help="0.1: a tenth of what trades.")] = "0.1",
    lasts: LastsOpt = "30m",
    interval: Annotated[str, typer.Option(help="Between two slices at least.")] = "5s",
    min_slice: Annotated[str, typer.Option(help="Less is saved for the next slice.")] = "1",
    start: StartOpt = "0s",
    limit: LimitOpt = None,
    strategy: StrategyOpt = "",
    id_: IdOpt = None,
    dry_run: DryRunOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Send a share of what trades: slice pov AIG sell 1000 --account A1 --participation 0.1."""
    fields = {
        "command": "pov",
        "participation": participation,
        "interval_s": seconds_of(interval),
        "min_slice_qty": min_slice,
    }
    order = (symbol, side, qty, account, limit, strategy)
    _send(fields | timed(lasts, start, id_) | common(*order), dry_run=dry_run, as_json=as_json)


@app.command()
def cancel(
    parent_id: Annotated[str, typer.Argument(help="The sliced order.")],
    account: AccountOpt,
    dry_run: DryRunOpt = False,
    as_json: JsonOpt = False,
) -> None:
    """Send no more slices; the open one is canceled."""
    fields = {"command": "cancel", "parent_id": parent_id, "account": account}
    _send(fields, dry_run=dry_run, as_json=as_json)


def common(
    symbol: str, side: str, qty: str, account: str, limit: str | None, strategy: str
) -> dict[str, Any]:
    """Return the fields that say what is traded."""
    return {
        "symbol": symbol,
        "side": side,
        "qty": qty,
        "account": account,
        "limit_price": limit,
        "strategy": strategy,
    }


def timed(lasts: str, start: str, id_: str | None) -> dict[str, Any]:
    """Return the fields that say when, and the id; raises UsageError for no duration."""
    from streams.cli.pace import parse_duration_ns
    from streams.clock import now_ns

    now = now_ns()
    begins = now + parse_duration_ns(start)
    ends = begins + parse_duration_ns(lasts)
    return {"parent_id": id_ or f"cli-{now}", "start_ns": begins, "end_ns": ends}


def seconds_of(duration: str) -> str:
    """Return a duration as seconds."""
    from decimal import Decimal

    from streams.cli.pace import parse_duration_ns

    return f"{Decimal(parse_duration_ns(duration)).scaleb(-9):f}"


def _send(fields: dict[str, Any], *, dry_run: bool, as_json: bool) -> None:
    from pydantic import ValidationError

    from streams.cli import producing
    from streams.cli.inputs import reason_of
    from streams.errors import UsageError
    from streams.topics import SLICES_REQUESTED

    try:
        request = SLICES_REQUESTED.adapter.validate_python(fields)
    except ValidationError as error:
        raise UsageError(reason_of(error)) from None
    found = {"parent_id": request.parent_id, "account": request.account}
    producing.run_requests(SLICES_REQUESTED, [request], found, dry_run=dry_run, as_json=as_json)
