"""The strategy that trades on the demo's ticks, beside its load of orders.

It crosses averages of bars of a second, so that a run of some seconds sees it trade, for an
account of its own that the accounting of the load leaves out.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from streams.models.controls import StrategyControl
from streams.models.orders import EventType, OrderEvent
from streams.models.positions import Position
from streams.models.signals import Signal

NAME = "demo-cross"
FRAME = "1s"
PARAMS = {"frame": FRAME, "fast": "3", "slow": "8", "short": "true"}
QTY = Decimal(20)


def account_of(run: str) -> str:
    """Return the account that trades for the strategy in a run."""
    return f"strategy-{run}"


def control_of(run: str, *, enabled: bool) -> StrategyControl:
    """Return the control that starts the strategy for a run, or ends it."""
    return StrategyControl(
        scope=NAME,
        enabled=enabled,
        implementation="ma_cross",
        account=account_of(run),
        params=PARAMS,
        qty=QTY,
        by="demo",
    )


@dataclass(slots=True)
class Traded:
    """What the strategy did in a run, each thing once however often it is told."""

    account: str
    _signals: set[str] = field(default_factory=set)
    _orders: set[str] = field(default_factory=set)
    _fills: set[str] = field(default_factory=set)
    _refused: dict[str, str] = field(default_factory=dict)
    _positions: dict[str, Position] = field(default_factory=dict)

    def saw_signal(self, signal: Signal) -> None:
        """Take a signal of any strategy."""
        if signal.strategy == NAME:
            self._signals.add(signal.signal_id)

    def saw_event(self, event: OrderEvent) -> None:
        """Take an event of the strategy's account."""
        self._orders.add(event.order_id)
        if event.event is EventType.FILL and event.fill is not None:
            self._fills.add(event.fill.exec_id)
        if event.refusal is not None:
            self._refused[event.order_id] = event.refusal.code

    def saw_position(self, position: Position) -> None:
        """Take a position of the strategy's account."""
        known = self._positions.get(position.symbol)
        if known is None or known.version <= position.version:
            self._positions[position.symbol] = position

    def profit(self) -> Decimal:
        """Return what it has made, open positions at their marks."""
        held = self._positions.values()
        return sum((one.realized_pl + (one.unrealized_pl or 0) for one in held), Decimal(0))

    def as_json(self) -> dict[str, Any]:
        """Return the counts, what was refused by code, and the profit."""
        codes = list(self._refused.values())
        return {
            "name": NAME,
            "account": self.account,
            "signals": len(self._signals),
            "orders": len(self._orders),
            "fills": len(self._fills),
            "refused": {code: codes.count(code) for code in sorted(set(codes))},
            "profit": f"{self.profit():.2f}",
        }

    def line(self) -> str:
        """Return the same as a line for people."""
        return (
            f"strategy {NAME}: {len(self._signals)} signals, {len(self._orders)} orders, "
            f"{len(self._fills)} fills, profit {self.profit():,.2f}"
        )
