"""Controls: the rules, limits and switches that operators set while the pipeline runs.

Every control is a record on the compacted topic `controls`, keyed `kind:scope`. `version` grows
by one over all controls, so "the rules as of version 42" is one number, and each refusal names
the version of the record it came from.
"""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from streams.models.base import Dec, Message, Nanos, Part, Symbol

Scope = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:*/-]{1,80}$")]
BrokerName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]


class Control(Message):
    """What every control carries. `scope` is the account, symbol, broker … it is for."""

    scope: Scope = "default"
    version: int = Field(0, ge=0)
    ts_event_ns: Nanos = 0
    by: str = Field("", max_length=64, description="Who set it.")
    reason: str = Field("", max_length=256)


class Limits(Control):
    """Pre-trade limits of an account; scope `default` holds for accounts without their own.

    Bounds are inclusive: a value equal to its limit passes. Money is in the account's currency.
    """

    kind: Literal["limits"] = "limits"
    max_order_qty: Dec = Decimal(1000)
    max_order_value: Dec = Decimal(100_000)
    max_position_qty: Dec = Field(
        Decimal(10_000), description="Per symbol, long or short, with open orders filled."
    )
    max_gross_exposure: Dec = Field(
        Decimal(1_000_000), description="Sum over symbols of |position| x price, worst case."
    )
    starting_cash: Dec = Field(Decimal(1_000_000), description="Cash of an account's first day.")
    buying_power_factor: Dec = Field(Decimal(1), gt=0, description="1: cash account; 2: Reg T.")
    collar_percent: Dec = Field(
        Decimal(10), gt=0, description="Most that a limit or stop price is worse than the last."
    )
    max_price_age_s: Dec = Field(
        Decimal(900),
        gt=0,
        description="An older print or quote is stale: for orders without a limit it is none.",
    )
    max_orders_per_s: Dec = Field(Decimal(1000), gt=0, description="Commands per account.")
    rate_burst: Dec = Field(Decimal(2000), gt=0, description="Commands at once before the rate.")
    max_same_content: int = Field(
        10, ge=1, description="Equal orders (symbol, side, type, qty, prices) within the window."
    )
    same_content_window_s: Dec = Field(Decimal(1), gt=0)
    max_daily_loss: Dec = Field(Decimal(10_000), description="Realised loss of the day.")
    max_open_orders: int = Field(10_000, ge=1)
    allow_short: bool = True


class Instrument(Control):
    """What can be traded and in which steps; scope is the symbol."""

    kind: Literal["instrument"] = "instrument"
    symbol: Symbol
    asset_class: Literal["us_equity", "crypto"] = "us_equity"
    tradable: bool = True
    shortable: bool = True
    fractionable: bool = False
    tick_size: Dec = Field(Decimal("0.01"), gt=0, description="At and above 1.00.")
    tick_size_below_1: Dec = Field(Decimal("0.0001"), gt=0)
    lot_size: Dec = Field(Decimal(1), gt=0)
    min_qty: Dec = Field(Decimal(1), gt=0)
    reference_price: Dec | None = Field(
        None, description="Stands in for the last price until one is known (previous close)."
    )


class Route(Part):
    """One routing rule: an empty field matches everything, bounds are inclusive."""

    name: str = Field(min_length=1, max_length=64)
    broker: BrokerName
    symbols: tuple[str, ...] = ()
    asset_classes: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    sessions: tuple[Literal["pre", "regular", "post", "closed"], ...] = ()
    min_qty: Dec | None = None
    max_qty: Dec | None = None
    min_value: Dec | None = None
    max_value: Dec | None = None


class Routing(Control):
    """The routing rules, first match wins; `default_broker` takes the rest ("" refuses them)."""

    kind: Literal["routing"] = "routing"
    routes: tuple[Route, ...] = ()
    default_broker: Annotated[str, Field(pattern=r"^[a-z0-9-]{0,32}$")] = "virtual"


class TradingState(Control):
    """Whether an account (scope) or everything (scope `default`) may trade.

    `reducing` lets through only what makes a position smaller without flipping it; cancels
    always pass.
    """

    kind: Literal["trading-state"] = "trading-state"
    state: Literal["active", "reducing", "halted"] = "active"


class KillSwitch(Control):
    """Stops new orders at once; cancels pass.

    Scopes: `default`, `account:A1`, `symbol:AIG`, `strategy:x`, `broker:virtual`. What is open is
    canceled for all but a broker's, positions are closed for the first three alone: a position
    belongs to no strategy.
    """

    kind: Literal["kill-switch"] = "kill-switch"
    engaged: bool = False
    cancel_open: bool = Field(default=False, description="Cancel the open orders it covers.")
    flatten: bool = Field(
        default=False,
        description="Cancel likewise, then close the positions; `reduce_only` orders pass.",
    )


class Restricted(Control):
    """Symbols that an account (scope) or everyone (scope `default`) must not trade."""

    kind: Literal["restricted"] = "restricted"
    symbols: tuple[Symbol, ...] = ()


class SessionShift(Control):
    """How far market time is shifted against the calendar: session time = event time - shift.

    0 in live use. Replaying the ticks of an older day as if it were now needs their shift, so
    that sessions, day orders and price ages are those of that day.
    """

    kind: Literal["session-shift"] = "session-shift"
    shift_ns: int = 0


class StrategyControl(Control):
    """How a strategy (scope: its name) is to run, over what the setting `strategies` says of it.

    What is empty here is as in the settings; parameters replace single ones. Other parameters,
    another implementation, and any record for one that failed or was stopped, start it anew.
    """

    kind: Literal["strategy"] = "strategy"
    enabled: bool = True
    implementation: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.-]{0,64}$",
        description="Empty: another program decides; its signals are sized here.",
    )
    symbols: tuple[Symbol, ...] = Field((), description="None: all that there are.")
    account: str = Field("", pattern=r"^[A-Za-z0-9._:-]{0,64}$", description="That trades for it.")
    params: dict[str, str] = Field(default_factory=dict)
    qty: Dec | None = Field(None, gt=0, description="Shares to hold at strength 1.")
    notional: Dec | None = Field(None, gt=0, description="Or their value at the signal's price.")


AnyControl = Annotated[
    Limits
    | Instrument
    | Routing
    | TradingState
    | KillSwitch
    | Restricted
    | SessionShift
    | StrategyControl,
    Field(discriminator="kind"),
]


def control_key(control: Control) -> str:
    """Return the record key of a control, `kind:scope`."""
    return f"{control.kind}:{control.scope}"  # type: ignore[attr-defined]
