"""`allocate`: ask that positions become these, for one account or divided among several.

Progress is on allocations.updates, and in `./orderflow table allocator`. Exit codes: 0 Kafka has
the request, 2 wrong words or options, 5 Kafka is not reachable.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from streams.models.allocations import AllocationCommand


def allocate(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SYMBOL=QTY]...", help="To hold: AIG=100, IBM=-50 (short), C=0."),
    ] = None,
    account: Annotated[str | None, typer.Option(help="The account.")] = None,
    accounts: Annotated[
        str | None, typer.Option(help="Divide the targets among accounts by weight: A1=2,A2=1.")
    ] = None,
    strategy: Annotated[
        str, typer.Option(help="Measure by the positions that this strategy's orders made.")
    ] = "",
    id_: Annotated[
        str | None, typer.Option("--id", help="Unique in the account. Default: from the time.")
    ] = None,
    limit: Annotated[
        str | None, typer.Option(help="Limit prices, one for each symbol: AIG=49.10,IBM=182.")
    ] = None,
    time_in_force: Annotated[str, typer.Option(help="day, gtc, ioc, fok, opg, cls.")] = "day",
    cancel: Annotated[
        str | None, typer.Option(metavar="ID", help="Stop this allocation instead.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, produce nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask for positions: allocate AIG=100 IBM=-50 --account A1; --cancel ID stops one.

    With --accounts the targets are a total; the record is keyed by --account, or else the first.
    A newer request takes the place of an older one for its symbols.
    """
    from streams.cli.producing import run_requests
    from streams.clock import now_ns
    from streams.errors import UsageError
    from streams.topics import ALLOCATIONS_REQUESTED

    shares = pairs(accounts, "--accounts") if accounts else {}
    home = account or next(iter(shares), None)
    if home is None:
        raise UsageError("say whose positions: --account A1, or --accounts A1=2,A2=1")
    if cancel is not None:
        if targets or accounts:
            raise UsageError("--cancel takes an id and --account, no targets")
        request = checked({"command": "cancel", "allocation_id": cancel, "account": home})
    else:
        prices = pairs(limit, "--limit") if limit else {}
        request = checked(
            {
                "command": "target",
                "allocation_id": id_ or f"cli-{now_ns()}",
                "account": home,
                "strategy": strategy,
                "targets": pairs(",".join(targets or ()), "targets"),
                "shares": shares,
                "type": "limit" if prices else "market",
                "limit_prices": prices,
                "time_in_force": time_in_force,
            }
        )
    found = {"allocation_id": request.allocation_id, "account": home}
    run_requests(ALLOCATIONS_REQUESTED, [request], found, dry_run=dry_run, as_json=as_json)


def checked(fields: dict[str, Any]) -> "AllocationCommand":
    """Return the request that these fields make; raises UsageError with what is wrong."""
    from pydantic import ValidationError

    from streams.cli.inputs import reason_of
    from streams.errors import UsageError
    from streams.topics import ALLOCATIONS_REQUESTED

    try:
        request: AllocationCommand = ALLOCATIONS_REQUESTED.adapter.validate_python(fields)
    except ValidationError as error:
        raise UsageError(reason_of(error)) from None
    return request


def pairs(text: str, what: str) -> dict[str, str]:
    """Return `A=1,B=2` by name; raises UsageError for anything else, a name twice included."""
    from streams.errors import UsageError

    found: dict[str, str] = {}
    for word in text.split(","):
        name, equals, value = word.strip().partition("=")
        if not name or not equals or not value or name in found:
            raise UsageError(f"{what}: {word!r}; write NAME=NUMBER, each name once")
        found[name] = value
    return found
