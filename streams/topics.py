"""The registry of topics: name, key, value, retention and the one who writes it, a row each.

Topics are created from these rows before a worker starts (`./orderflow topics apply`). All
topics keyed by account have the same number of partitions, so has everything keyed by symbol:
the partition of an account is the same number everywhere, and so is the worker that owns it.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from streams.models.allocations import Allocation, AllocationCommand
from streams.models.controls import AnyControl
from streams.models.dead_letters import HandledLetter
from streams.models.market import Bar, LastPrice, Quote, RefusedTicks, Trade
from streams.models.orders import ApprovedOrder, Command, Order, OrderEvent, VenueOrder
from streams.models.positions import Account, Position
from streams.models.reconciliation import Reconciliation
from streams.models.signals import Indicator, Signal, StrategyState
from streams.models.slices import SliceCommand, SlicedOrder
from streams.models.statements import Statement

DAY_MS = 86_400_000
MAX_RECORD_BYTES = 1_000_000
#: What a changelog takes at once: the changes of a unit of work are one record batch.
MAX_CHANGES_BYTES = 8 * 1024 * 1024

Cleanup = Literal["delete", "compact"]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic. `value` is what pydantic validates its records with; None: raw bytes."""

    name: str
    key: str
    value: Any
    written_by: str
    doc: str
    cleanup: Cleanup = "delete"
    retention_days: int = 30
    single_partition: bool = False
    config: dict[str, str] = field(default_factory=dict)

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """Return the validator of this topic's values."""
        return _adapter(self.name, self.value)

    def kafka_config(self) -> dict[str, str]:
        """Return the topic's configuration as Kafka names it."""
        config = {
            "cleanup.policy": self.cleanup,
            "max.message.bytes": str(MAX_RECORD_BYTES),
            **self.config,
        }
        if self.cleanup == "delete":
            config["retention.ms"] = str(self.retention_days * DAY_MS)
        else:
            config |= {
                "segment.ms": str(DAY_MS),
                "max.compaction.lag.ms": str(DAY_MS),
                "min.cleanable.dirty.ratio": "0.2",
            }
        return config


_ADAPTERS: dict[str, TypeAdapter[Any]] = {}


def _adapter(name: str, value: Any) -> TypeAdapter[Any]:
    if name not in _ADAPTERS:
        _ADAPTERS[name] = TypeAdapter(value)
    return _ADAPTERS[name]


ORDERS_REQUESTED = TopicSpec(
    "orders.requested.v1",
    "account",
    Command,
    "users, validator, allocator, slicer",
    "Commands: submit, cancel, replace. The way in, for any producer in any language.",
)
ORDERS_APPROVED = TopicSpec(
    "orders.approved.v1",
    "account",
    ApprovedOrder,
    "validator",
    "Commands that passed every check.",
)
VENUE_VIRTUAL_ORDERS = TopicSpec(
    "venue.virtual.orders.v1",
    "symbol",
    VenueOrder,
    "router",
    "Orders for the virtual venue, on the partition of their symbol's ticks.",
)
VENUE_REST_ORDERS = TopicSpec(
    "venue.rest.orders.v1",
    "account",
    VenueOrder,
    "router",
    "Orders for the broker behind HTTP: the intent that is durable before any call.",
)
ORDERS_EVENTS = TopicSpec(
    "orders.events.v1",
    "account",
    OrderEvent,
    "validator, router, gateway, sender",
    "Everything that happened to orders, fills included: the history of record.",
    retention_days=90,
)
RECONCILIATIONS = TopicSpec(
    "reconciliations.v1",
    "account; of a summary broker:partition",
    Reconciliation,
    "tracker, sender",
    "What comparisons of brokers with us found: each difference, and a summary.",
)
STATEMENTS = TopicSpec(
    "statements.v1",
    "account",
    Statement,
    "gateway",
    "What the virtual venue has of an account's orders, again and again, to compare it.",
    retention_days=1,
)
ORDERS_UPDATES = TopicSpec(
    "orders.updates.v1",
    "account|order_id",
    Order,
    "tracker",
    "Each order as it stands, on its account's partition.",
    cleanup="compact",
)
POSITIONS_UPDATES = TopicSpec(
    "positions.updates.v1",
    "account|symbol",
    Position,
    "positions",
    "Each position as it stands, on its account's partition.",
    cleanup="compact",
)
ACCOUNTS_UPDATES = TopicSpec(
    "accounts.updates.v1",
    "account",
    Account,
    "positions",
    "Each account's money as it stands.",
    cleanup="compact",
)
MARKET_TRADES = TopicSpec(
    "market.trades.v1", "symbol", Trade, "market data", "Prints.", retention_days=7
)
MARKET_QUOTES = TopicSpec(
    "market.quotes.v1", "symbol", Quote, "market data", "Tops of book.", retention_days=7
)
MARKET_LAST = TopicSpec(
    "market.last.v1",
    "symbol",
    LastPrice,
    "prices",
    "Newest price of each symbol, conflated.",
    cleanup="compact",
)
MARKET_REFUSED = TopicSpec(
    "market.refused.v1",
    "symbol",
    RefusedTicks,
    "prices",
    "How many ticks the checks refused or noted, by symbol, reason and minute.",
)
MARKET_BARS = TopicSpec(
    "market.bars.v1",
    "symbol",
    Bar,
    "bars",
    "Bars: each when it is final, and again with a higher `rev` whenever it is restated.",
    retention_days=30,
)
INDICATORS = TopicSpec(
    "indicators.v1",
    "symbol",
    Indicator,
    "indicators",
    "Values of indicators after each bar, and again with a higher `rev` when a bar is restated.",
)
SIGNALS = TopicSpec(
    "signals.v1",
    "symbol",
    Signal,
    "users, strategies",
    "What strategies want to hold, with the record that they decided on.",
    retention_days=90,
)
STRATEGIES_UPDATES = TopicSpec(
    "strategies.updates.v1",
    "strategy|symbol",
    StrategyState,
    "strategies",
    "Each strategy as it stands on each symbol, on the symbol's partition.",
    cleanup="compact",
)
STRATEGIES_FILLS = TopicSpec(
    "strategies.fills.v1",
    "symbol",
    OrderEvent,
    "allocator",
    "Fills of orders that carry a strategy, on the partition of their symbol.",
)
ALLOCATIONS_REQUESTED = TopicSpec(
    "allocations.requested.v1",
    "account",
    AllocationCommand,
    "users, allocator, sizer",
    "Targets of positions, and their cancels.",
)
ALLOCATIONS_UPDATES = TopicSpec(
    "allocations.updates.v1",
    "account|allocation_id",
    Allocation,
    "allocator",
    "Each allocation as it stands, on its account's partition.",
    cleanup="compact",
)
SLICES_REQUESTED = TopicSpec(
    "slices.requested.v1",
    "account",
    SliceCommand,
    "users",
    "Orders to be sent in slices (TWAP, POV), and their cancels.",
)
SLICES_UPDATES = TopicSpec(
    "slices.updates.v1",
    "account|parent_id",
    SlicedOrder,
    "slicer",
    "Each sliced order as it stands, on its account's partition.",
    cleanup="compact",
)
CONTROLS = TopicSpec(
    "controls.v1",
    "kind:scope",
    AnyControl,
    "operators",
    "Rules, limits and switches, versioned.",
    cleanup="compact",
    single_partition=True,
)
DEAD_LETTERS = TopicSpec(
    "dead-letters.v1",
    "the source record's key",
    None,
    "every agent",
    "Records that could not be used: their bytes as they came, the reason in the headers.",
    retention_days=90,
)
DEAD_LETTERS_HANDLED = TopicSpec(
    "dead-letters.handled.v1",
    "partition:offset of the letter",
    HandledLetter,
    "operators",
    "What was done with dead letters: sent again, or given up.",
    cleanup="compact",
    single_partition=True,
)

TOPICS: tuple[TopicSpec, ...] = (
    ORDERS_REQUESTED,
    ORDERS_APPROVED,
    VENUE_VIRTUAL_ORDERS,
    VENUE_REST_ORDERS,
    ORDERS_EVENTS,
    RECONCILIATIONS,
    STATEMENTS,
    ORDERS_UPDATES,
    POSITIONS_UPDATES,
    ACCOUNTS_UPDATES,
    MARKET_TRADES,
    MARKET_QUOTES,
    MARKET_LAST,
    MARKET_REFUSED,
    MARKET_BARS,
    INDICATORS,
    SIGNALS,
    STRATEGIES_UPDATES,
    STRATEGIES_FILLS,
    ALLOCATIONS_REQUESTED,
    ALLOCATIONS_UPDATES,
    SLICES_REQUESTED,
    SLICES_UPDATES,
    CONTROLS,
    DEAD_LETTERS,
    DEAD_LETTERS_HANDLED,
)

BY_NAME: dict[str, TopicSpec] = {topic.name: topic for topic in TOPICS}


def topic_name(spec: TopicSpec, namespace: str) -> str:
    """Return the topic's name in a namespace: `replay-1.orders.events.v1`, or the bare name."""
    return f"{namespace}.{spec.name}" if namespace else spec.name


def partitions_of(spec: TopicSpec, partitions: int) -> int:
    """Return how many partitions the topic gets where account topics get `partitions`."""
    return 1 if spec.single_partition else partitions
