"""Small histories: a few orders of two accounts and symbols, and what makes them interesting.

A history is a list of inputs in the order in which they come: commands with repetitions and
contradictions, ticks that fill in parts, a kill switch, a record that nobody can read.
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

from streams.domain.build import evolve, make
from streams.domain.capabilities import REST, VIRTUAL
from streams.domain.controls import ControlSet
from streams.models.controls import Instrument, KillSwitch, Limits, Routing
from streams.models.market import LastPrice, Quote, Trade
from streams.models.orders import (
    Cancel,
    OrderClass,
    OrderType,
    Replace,
    Side,
    StopLoss,
    Submit,
    TakeProfit,
    TimeInForce,
)
from streams.ports import Malformed
from tests.builders import NOW_NS

#: Of both accounts one, and of the symbols one or two, are on each partition.
ACCOUNTS = ("A1", "A2")
SYMBOLS = ("AIG", "IBM")
#: A command for this order, and a tick of this number, make the agent raise.
POISON, POISON_SEQ = "poison", 1_000
#: Where prices are, in cents.
AROUND = 5_000


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that comes from outside: a value for a topic, or a control."""

    kind: str
    value: Any
    account: str = ""

    def __str__(self) -> str:
        value = self.value
        if isinstance(value, Submit):
            how = f"{value.type} {value.time_in_force} {value.limit_price or ''}".strip()
            if value.take_profit and value.stop_loss:
                how += f", exits {value.take_profit.limit_price}, {value.stop_loss.stop_price}"
            text = f"{value.side} {value.qty} {value.symbol} {how}"
            return f"{value.account} submit {value.order_id}: {text}"
        if isinstance(value, Cancel):
            return f"{value.account} cancel {value.order_id} {value.request_id or ''}".strip()
        if isinstance(value, Replace):
            what = f"qty {value.qty}" if value.qty else f"limit {value.limit_price}"
            return f"{value.account} replace {value.order_id}: {what}"
        if isinstance(value, Quote):
            sides = f"{value.bid_size} @ {value.bid} / {value.ask_size} @ {value.ask}"
            return f"quote {value.symbol} {sides}"
        if isinstance(value, Trade):
            return f"trade {value.symbol} {value.size} @ {value.price}"
        if isinstance(value, KillSwitch):
            return f"kill switch {'on' if value.engaged else 'off'}"
        return f"{self.account} {self.kind} record"


@cache
def first_controls(*, routed: bool = False) -> ControlSet:
    """Return the rules that hold at the start: both symbols, and a small rate of orders.

    `routed`: all orders go to the broker across a network.
    """
    instruments = [make(Instrument, scope=name, symbol=name, version=1) for name in SYMBOLS]
    limits = make(Limits, version=2, max_orders_per_s=Decimal(20), rate_burst=Decimal(6))
    routing = make(Routing, version=3, default_broker=(REST if routed else VIRTUAL).broker)
    return ControlSet().with_records([*instruments, limits, routing])


@cache
def price(cents: int) -> Decimal:
    """Return a price."""
    return Decimal(cents) / 100


@cache
def last_price(symbol: str, cents: int) -> LastPrice:
    """Return the newest price of a symbol."""
    value = price(cents)
    return make(LastPrice, symbol=symbol, last=value, ts_event_ns=NOW_NS, ts_init_ns=NOW_NS)


def history(rng: Random, *, network: bool = False) -> list[Input]:
    """Return a history; without ticks for a broker across a `network`, where they fill nothing."""
    lines = [_story(rng, number) for number in range(rng.randint(2, 4 + network))]
    if not network:
        lines.append(_ticks(rng, rng.randint(3, 7)))
    if rng.random() < 0.25:
        lines.append([Input("control", make(KillSwitch, engaged=True, version=10))])
        if rng.random() < 0.5:
            lines[-1].append(Input("control", make(KillSwitch, engaged=False, version=11)))
    if rng.random() < 0.15:
        lines.append([_unreadable(rng)])
    if rng.random() < 0.1:
        lines.append([_poison(rng, network=network)])
    inputs = []
    while lines:
        line = lines[int(rng.random() * len(lines))]
        inputs.append(line.pop(0))
        if not line:
            lines.remove(line)
    return inputs


def _story(rng: Random, number: int) -> list[Input]:
    """Return what one user does about one order."""
    account, symbol = rng.choice(ACCOUNTS), rng.choice(SYMBOLS)
    name = f"o{number}"
    order = _order(rng, account, name, symbol)
    story = [Input("command", order)]
    while rng.random() < 0.45:
        story.append(Input("command", _more(rng, order)))
    return story


def _order(rng: Random, account: str, name: str, symbol: str) -> Submit:
    terms: dict[str, Any] = {"type": OrderType.LIMIT, "time_in_force": TimeInForce.DAY}
    terms["limit_price"] = price(AROUND + rng.randint(-6, 6))
    if (chance := rng.random()) < 0.15:
        terms = {"type": OrderType.MARKET}
    elif chance < 0.25:
        terms["time_in_force"] = TimeInForce.IOC
    elif chance < 0.3:
        terms = {"type": OrderType.STOP, "stop_price": price(AROUND + rng.randint(-6, 6))}
    qty = Decimal(rng.choice((1, 5, 10, 20, 2000)))
    side = rng.choice((Side.BUY, Side.SELL))
    own = {"order_id": name, "account": account, "symbol": symbol, "side": side, "qty": qty}
    return make(Submit, command="submit", **own | terms)


def _more(rng: Random, order: Submit) -> Submit | Cancel | Replace:
    own = {"order_id": order.order_id, "account": order.account}
    chance = rng.random()
    if chance < 0.25:
        return order
    if chance < 0.35:
        return evolve(order, qty=(order.qty or Decimal(0)) + 1)
    if chance < 0.7:
        request = rng.choice((None, None, "c1"))
        return make(Cancel, command="cancel", request_id=request, **own)
    changes: dict[str, Any] = {"qty": Decimal(rng.choice((2, 8, 12, 30)))}
    if order.type is OrderType.LIMIT and rng.random() < 0.6:
        changes = {"limit_price": price(AROUND + rng.randint(-6, 6))}
    return make(Replace, command="replace", **own | changes)


def with_brackets(inputs: list[Input], rng: Random) -> list[Input]:
    """Return a history in which some orders have exits, and some requests are about an exit."""
    brackets: dict[str, Submit] = {}
    changed = []
    for given in inputs:
        value, name = given.value, getattr(given.value, "order_id", "")
        if isinstance(value, Submit) and value.time_in_force is TimeInForce.DAY:
            if value.limit_price is not None and name not in brackets and rng.random() < 0.4:
                brackets[name] = _bracket(value, rng)
            if name in brackets:
                value = evolve(brackets[name], qty=value.qty)
        elif isinstance(value, Cancel | Replace) and name in brackets and rng.random() < 0.5:
            value = evolve(value, order_id=f"{name}-{rng.choice(('TP', 'SL'))}")
        changed.append(Input(given.kind, value, given.account))
    return changed


def _bracket(order: Submit, rng: Random) -> Submit:
    cents = int((order.limit_price or Decimal(0)) * 100)
    away = rng.randint(1, 4) * (1 if order.side is Side.BUY else -1)
    return evolve(
        order,
        order_class=OrderClass.BRACKET,
        take_profit=TakeProfit(limit_price=price(cents + away)),
        stop_loss=StopLoss(stop_price=price(cents - away)),
    )


def _ticks(rng: Random, count: int) -> list[Input]:
    ticks: list[Input] = []
    for number in range(1, count + 1):
        symbol, cents = rng.choice(SYMBOLS), AROUND + rng.randint(-5, 5)
        size = Decimal(rng.choice((1, 4, 10, 50)))
        if rng.random() < 0.3:
            trade = make(Trade, symbol=symbol, price=price(cents), size=size, ts_event_ns=0)
            ticks.append(Input("tick", evolve(trade, seq=number)))
        else:
            sides = {"bid": price(cents - 1), "ask": price(cents + 1)}
            sides |= {"bid_size": size, "ask_size": size}
            ticks.append(Input("tick", make(Quote, symbol=symbol, seq=number, **sides)))
    return ticks


def _unreadable(rng: Random) -> Input:
    account = rng.choice(ACCOUNTS)
    if rng.random() < 0.3:
        return Input("empty", None, account)
    return Input("unreadable", Malformed("BAD_JSON", "not JSON"), account)


def is_poison(value: Any) -> bool:
    """Say whether the agent that a record is for raises when it has worked on it."""
    return getattr(value, "order_id", "") == POISON or getattr(value, "seq", 0) == POISON_SEQ


def _poison(rng: Random, *, network: bool) -> Input:
    if network or rng.random() < 0.5:
        order = _order(rng, rng.choice(ACCOUNTS), POISON, rng.choice(SYMBOLS))
        return Input("poison", order)
    (tick,) = _ticks(rng, 1)
    return Input("tick", evolve(tick.value, seq=POISON_SEQ))
