"""What an engaged kill switch does to what is open: cancels first, then closing market orders.

The commands are a function of the switch and of what the table holds, and so are their ids:

    kill:<version>             the cancel of an order under the switch of that version
    kill:<version>:<symbol>    the order that closes a position
    …:2, …:3                   the next one, once the one before came to nothing, or to a part

The verdict on a command is in the table under its id, so a restart knows what was asked. What is
on its way there at that moment is asked again, and answered `duplicate`. A switch that is set
anew has a new version and starts over.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from itertools import chain, islice
from typing import NamedTuple

from streams.domain.build import make
from streams.domain.controls import DEFAULT, ControlSet
from streams.domain.exposure import order_key
from streams.domain.exposure_models import Holding, RiskAccount, RiskOrder, RiskRequest
from streams.domain.risk import touch
from streams.domain.validation import SECOND
from streams.models.controls import KillSwitch, Limits
from streams.models.market import LastPrice
from streams.models.orders import Cancel, OrderType, Side, Submit, TimeInForce

#: Commands that one run of the timer gives at most, and accounts that it looks at.
MAX_COMMANDS = 200
MAX_LOOKED_AT = 500
#: What was commanded is looked at again after this long: the command may have been lost.
LOOK_AGAIN_NS = 10 * SECOND
#: Cancels of one order that the broker refuses, and closing orders that do nothing, in a row.
MAX_TRIES = 3
#: After a closing order that did nothing, the next one waits this long.
TRY_AGAIN_NS = 30 * SECOND
#: Closing orders of one position: each closes what the limits of one order let pass.
MAX_CLOSING = 200
#: A closing order stays this far below the largest value, for the price may move meanwhile.
_VALUE_PART = Decimal("0.9")

#: What is known under a key of the table `risk`.
Lookup = Callable[[str], object]
Command = Cancel | Submit


class Live(NamedTuple):
    """What tells whether a switch covers an open order."""

    account: str
    symbol: str
    strategy: str


@dataclass(slots=True)
class Known:
    """One partition: its open orders, the accounts that hold something, what was looked at."""

    orders: dict[str, Live] = field(default_factory=dict)
    accounts: dict[str, None] = field(default_factory=dict)
    looked: dict[str, int] = field(default_factory=dict)

    def order(self, name: str, order: RiskOrder) -> None:
        """Take up an order, under its key, as it now is."""
        if order.live:
            self.orders[name] = Live(order.account, order.symbol, order.strategy)
        else:
            self.orders.pop(name, None)

    def account(self, account: RiskAccount) -> None:
        """Take up an account as it now is."""
        if account.live:
            self.accounts[account.account] = None
        else:
            self.accounts.pop(account.account, None)

    def due(self, name: str, now_ns: int) -> bool:
        """Say whether something was not looked at lately; it is now."""
        if self.looked.get(name, 0) > now_ns - LOOK_AGAIN_NS:
            return False
        self.looked[name] = now_ns
        return True

    def forget(self, now_ns: int) -> None:
        """Drop what was looked at long ago."""
        self.looked = {name: ts for name, ts in self.looked.items() if ts > now_ns - LOOK_AGAIN_NS}


def acting(controls: ControlSet) -> tuple[KillSwitch, ...]:
    """Return the engaged switches that cancel or flatten, the newest first."""
    found = (
        one
        for one in controls.records.values()
        if isinstance(one, KillSwitch) and one.engaged and (one.cancel_open or one.flatten)
    )
    return tuple(sorted(found, key=lambda one: -one.version))


def covers(switch: KillSwitch, live: Live) -> bool:
    """Say whether a switch covers an open order."""
    kind, _, name = switch.scope.partition(":")
    of_kind = {"account": live.account, "symbol": live.symbol, "strategy": live.strategy}
    return kind == DEFAULT or (bool(name) and of_kind.get(kind) == name)


def commands(
    switches: tuple[KillSwitch, ...],
    known: Known,
    lookup: Lookup,
    limits: Callable[[str], Limits],
    price: Callable[[str], LastPrice | None],
    now_ns: int,
) -> Iterator[Command]:
    """Yield what is to be commanded now, a bounded number at a time."""
    known.forget(now_ns)
    flattening = tuple(one for one in switches if one.flatten)
    yield from islice(
        chain(
            _cancels(switches, known, lookup, now_ns),
            _closings(flattening, known, lookup, limits, price, now_ns),
        ),
        MAX_COMMANDS,
    )


def _cancels(
    switches: tuple[KillSwitch, ...], known: Known, lookup: Lookup, now_ns: int
) -> Iterator[Cancel]:
    under: list[tuple[str, KillSwitch]] = []
    for name, live in known.orders.items():
        switch = next((one for one in switches if covers(one, live)), None)
        if switch is not None and known.due(name, now_ns):
            under.append((name, switch))
            if len(under) == MAX_COMMANDS:
                break
    for name, switch in under:
        known.orders[name] = known.orders.pop(name)  # behind the others
        order = lookup(name)
        if not isinstance(order, RiskOrder) or not order.live:
            continue
        if switch.flatten and _closes(order):
            continue
        request_id = _next_request(switch.version, order, lookup)
        if request_id is not None:
            yield make(
                Cancel,
                command="cancel",
                order_id=order.order_id,
                account=order.account,
                request_id=request_id,
            )


def _closes(order: RiskOrder) -> bool:
    """Say whether an order is a closing one of ours: canceled, it would only be given again."""
    terms = order.submitted
    return terms is not None and terms.reduce_only and order.order_id.startswith("kill:")


def _next_request(version: int, order: RiskOrder, lookup: Lookup) -> str | None:
    """Return the id of the cancel that an order needs now; None: one is under way, or enough."""
    name = order_key(order.account, order.order_id)
    for number in range(1, MAX_TRIES + 1):
        request_id = _numbered(f"kill:{version}", number)
        asked = lookup(f"{name}|{request_id}")
        if asked is None:
            return request_id
        ours = isinstance(asked, RiskRequest) and asked.command == "cancel"
        if ours and request_id not in order.answered:
            return None
    return None


def _closings(
    switches: tuple[KillSwitch, ...],
    known: Known,
    lookup: Lookup,
    limits: Callable[[str], Limits],
    price: Callable[[str], LastPrice | None],
    now_ns: int,
) -> Iterator[Submit]:
    for name in list(islice(known.accounts, MAX_LOOKED_AT if switches else 0)):
        known.accounts[name] = known.accounts.pop(name)  # behind the others
        account = lookup(name)
        if not isinstance(account, RiskAccount):
            continue
        for symbol, holding in account.holdings.items():
            live = Live(name, symbol, "")
            switch = next((one for one in switches if covers(one, live)), None)
            if switch is None or not holding.qty or holding.buy_qty or holding.sell_qty:
                continue  # what is open is canceled first
            order_id = _next_closing(switch.version, name, symbol, lookup, now_ns)
            if order_id is not None and known.due(order_key(name, order_id), now_ns):
                qty = _closing_qty(holding, limits(name), price(symbol))
                yield _closing(name, symbol, order_id, holding, qty)


def _next_closing(
    version: int, account: str, symbol: str, lookup: Lookup, now_ns: int
) -> str | None:
    """Return the id of the next order that closes a position; None: not now, or tried enough."""
    vain = 0
    for number in range(1, MAX_CLOSING + 1):
        order_id = _numbered(f"kill:{version}:{symbol.replace('/', '_')}", number)
        tried = lookup(order_key(account, order_id))
        if tried is None:
            return order_id
        if not isinstance(tried, RiskOrder) or not _closes(tried):
            continue  # somebody else's order of this id
        vain = 0 if tried.done else vain + 1
        if vain >= MAX_TRIES or (vain and tried.decided_ns > now_ns - TRY_AGAIN_NS):
            return None
    return None


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}:{number}"


def _closing_qty(holding: Holding, limits: Limits, price: LastPrice | None) -> Decimal:
    """Return how much one order may close: all of it, unless a limit of one order is lower."""
    held = abs(holding.qty)
    most = limits.max_order_qty
    px = touch(price, _exit(holding)) if price is not None else None
    if px:
        most = min(most, limits.max_order_value * _VALUE_PART / px)
    if held <= most:
        return held
    return max(most.to_integral_value(ROUND_DOWN), Decimal(1))


def _exit(holding: Holding) -> Side:
    return Side.SELL if holding.qty > 0 else Side.BUY


def _closing(account: str, symbol: str, order_id: str, holding: Holding, qty: Decimal) -> Submit:
    return make(
        Submit,
        command="submit",
        order_id=order_id,
        account=account,
        symbol=symbol,
        side=_exit(holding),
        type=OrderType.MARKET,
        qty=qty,
        time_in_force=TimeInForce.DAY,
        reduce_only=True,
    )
