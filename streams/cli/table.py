"""`table`: what the workers' tables hold this moment, asked of their web views.

The history in ClickHouse (`query`) has the past; this is the present, from the worker that owns
the account.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Orders, positions, accounts, prices as they stand.")

AccountArg = Annotated[str, typer.Argument(help="The account.")]
LimitOpt = Annotated[int, typer.Option(min=1, help="Most rows to print.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: What a row of the table shows; --json and a single order or position have all fields.
ORDER_COLUMNS = (
    "order_id", "status", "terms.side", "terms.qty", "terms.symbol", "terms.type",
    "terms.limit_price", "cum_qty", "leaves_qty", "avg_px", "refusal.code", "broker", "version",
)  # fmt: skip
POSITION_COLUMNS = (
    "symbol", "qty", "avg_entry_px", "mark_px", "mark_age_s", "stale", "mid", "realized_pl",
    "unrealized_pl", "commission", "fills", "version",
)  # fmt: skip
PRICE_COLUMNS = (
    "symbol", "price", "age_s", "stale", "last", "last_age_s", "bid", "ask", "mid", "quote_age_s",
)  # fmt: skip
ALLOCATION_COLUMNS = ("allocation_id", "strategy", "status", "symbols", "parent_id", "version")

SLICES_COLUMNS = (
    "parent_id", "kind", "status", "side", "qty", "symbol", "sent_qty", "cum_qty", "leaves_qty",
    "avg_px", "children", "text", "version",
)  # fmt: skip


@app.command()
def orders(
    account: AccountArg,
    order_id: Annotated[str | None, typer.Argument(help="One order; all without it.")] = None,
    status: Annotated[
        str | None, typer.Option(help="open, or one status: filled, canceled, rejected …")
    ] = None,
    limit: LimitOpt = 100,
    as_json: JsonOpt = False,
) -> None:
    """Show an account's orders, or everything about one of them. Exit code 3: no such order."""
    from connectors.views import items, view
    from streams.cli.output import emit
    from streams.settings import Settings

    if order_id is not None:
        emit(view(Settings(), "accounts", account, "orders", order_id), as_json)
        return
    query = {"status": status} if status else {}
    found = items(Settings(), "accounts", account, "orders", limit=limit, query=query)
    emit(found if as_json else [short(order, ORDER_COLUMNS) for order in found], as_json)


@app.command()
def positions(
    account: AccountArg,
    symbol: Annotated[str | None, typer.Argument(help="One symbol; all without it.")] = None,
    limit: LimitOpt = 100,
    as_json: JsonOpt = False,
) -> None:
    """Show an account's positions at the newest prices. Exit code 3: never held."""
    from connectors.views import items, view
    from streams.cli.output import emit
    from streams.settings import Settings

    if symbol is not None:
        emit(view(Settings(), "accounts", account, "positions", symbol), as_json)
        return
    found = items(Settings(), "accounts", account, "positions", limit=limit)
    emit(found if as_json else [short(held, POSITION_COLUMNS) for held in found], as_json)


@app.command()
def allocator(
    account: AccountArg,
    allocation_id: Annotated[str | None, typer.Argument(help="One; all without it.")] = None,
    limit: LimitOpt = 100,
    as_json: JsonOpt = False,
) -> None:
    """Show an account's allocations, or how far one is by symbol. Exit code 3: no such one."""
    from connectors.views import items, view
    from streams.cli.output import emit
    from streams.settings import Settings

    if allocation_id is not None:
        found = view(Settings(), "accounts", account, "allocations", allocation_id)
        emit(found if as_json else found["order_fill"] or found, as_json)
        return
    rows = items(Settings(), "accounts", account, "allocations", limit=limit)
    emit(rows if as_json else [short(row, ALLOCATION_COLUMNS) for row in rows], as_json)


@app.command()
def slices(
    account: AccountArg,
    parent_id: Annotated[str | None, typer.Argument(help="One; all without it.")] = None,
    limit: LimitOpt = 100,
    as_json: JsonOpt = False,
) -> None:
    """Show an account's sliced orders, or everything about one. Exit code 3: no such one."""
    from connectors.views import items, view
    from streams.cli.output import emit
    from streams.settings import Settings

    if parent_id is not None:
        emit(view(Settings(), "accounts", account, "slices", parent_id), as_json)
        return
    rows = items(Settings(), "accounts", account, "slices", limit=limit)
    emit(rows if as_json else [short(row, SLICES_COLUMNS) for row in rows], as_json)


@app.command()
def accounts(account: AccountArg, as_json: JsonOpt = False) -> None:
    """Show an account's cash, equity, buying power and limits. Exit code 3: no such account."""
    from connectors.views import view
    from streams.cli.output import emit
    from streams.settings import Settings

    emit(view(Settings(), "accounts", account), as_json)


@app.command()
def prices(
    symbol: Annotated[str | None, typer.Argument(help="One symbol; all without it.")] = None,
    limit: LimitOpt = 100,
    as_json: JsonOpt = False,
) -> None:
    """Show the newest prices with their age in seconds. Exit code 3: no such price."""
    from connectors.views import items, view
    from streams.cli.output import emit
    from streams.settings import Settings

    if symbol is not None:
        emit(view(Settings(), "symbols", symbol, "last"), as_json)
        return
    found = items(Settings(), "symbols", limit=limit)
    emit(found if as_json else [short(price, PRICE_COLUMNS) for price in found], as_json)


def short(row: dict[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """Return a row of these columns, dotted paths into `row`; what it has not is None."""
    from streams.cli.summary import field_of

    return {path.rpartition(".")[2]: field_of(row, path) for path in columns}
