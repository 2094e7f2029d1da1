"""What each broker can do, as data: the router refuses here what would be refused there."""

from dataclasses import dataclass

from streams.models.orders import OrderClass, OrderType, TimeInForce


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one broker takes. `splits_flips`: an order across zero must be a close and an open."""

    broker: str
    types: frozenset[OrderType]
    times_in_force: frozenset[TimeInForce]
    classes: frozenset[OrderClass]
    key: str = "account"
    fractional: bool = False
    notional: bool = False
    extended_hours: bool = False
    replace_keeps_id: bool = True
    has_exec_id: bool = True
    splits_flips: bool = False
    max_client_order_id: int = 128


VIRTUAL = Capabilities(
    broker="virtual",
    types=frozenset(OrderType),
    times_in_force=frozenset(TimeInForce),
    classes=frozenset(OrderClass),
    key="symbol",
    fractional=True,
    notional=True,
    extended_hours=True,
)

REST = Capabilities(
    broker="rest",
    types=frozenset(OrderType),
    times_in_force=frozenset(TimeInForce),
    classes=frozenset({OrderClass.SIMPLE}),
    fractional=True,
    extended_hours=True,
)

BROKERS: dict[str, Capabilities] = {VIRTUAL.broker: VIRTUAL, REST.broker: REST}
