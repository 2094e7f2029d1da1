"""The graph as data: which agent reads and writes which topics, keeps which table, in which role.

`docs/reference/topology.md`, `/topology` and `./orderflow topics list` are made from these rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from streams.ports import Agent, AsyncAgent
from streams.topics import (
    ACCOUNTS_UPDATES,
    ALLOCATIONS_REQUESTED,
    ALLOCATIONS_UPDATES,
    CONTROLS,
    DEAD_LETTERS,
    INDICATORS,
    MARKET_BARS,
    MARKET_LAST,
    MARKET_QUOTES,
    MARKET_REFUSED,
    MARKET_TRADES,
    ORDERS_APPROVED,
    ORDERS_EVENTS,
    ORDERS_REQUESTED,
    ORDERS_UPDATES,
    POSITIONS_UPDATES,
    RECONCILIATIONS,
    SIGNALS,
    SLICES_REQUESTED,
    SLICES_UPDATES,
    STATEMENTS,
    STRATEGIES_FILLS,
    STRATEGIES_UPDATES,
    TOPICS,
    VENUE_REST_ORDERS,
    VENUE_VIRTUAL_ORDERS,
    TopicSpec,
)
from tables.allocations import ALLOCATOR
from tables.bars import BARS
from tables.base import TableSpec
from tables.indicators import INDICATORS_TABLE
from tables.orders import ORDERS
from tables.positions import POSITIONS
from tables.risk import RISK
from tables.routes import ROUTES
from tables.sends import SENDS
from tables.slices import SLICES
from tables.strategies import STRATEGIES
from tables.venue import VENUE

Role = Literal["orders", "gateway", "market", "history"]
ROLES: tuple[Role, ...] = ("orders", "gateway", "market", "history")


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """One agent. `watches` are topics it follows whole, outside its consumer group.

    `silent_on` are topics whose bad records another agent sends to the dead letters.
    `state_first`: its outputs wait until Kafka holds the state that explains them. That is for
    agents whose answer depends on more than the record: rules, prices, the time.
    """

    name: str
    role: Role
    doc: str
    reads: tuple[TopicSpec, ...]
    writes: tuple[TopicSpec, ...]
    table: TableSpec | None = None
    watches: tuple[TopicSpec, ...] = ()
    silent_on: tuple[TopicSpec, ...] = ()
    state_first: bool = False


AGENTS: tuple[AgentSpec, ...] = (
    AgentSpec(
        "validator",
        "orders",
        "Field rules, duplicates, pre-trade risk from live exposure.",
        (ORDERS_REQUESTED, ORDERS_EVENTS),
        (ORDERS_APPROVED, ORDERS_EVENTS, ORDERS_REQUESTED),
        RISK,
        (CONTROLS, MARKET_LAST),
        silent_on=(ORDERS_EVENTS,),
        state_first=True,
    ),
    AgentSpec(
        "router",
        "orders",
        "Picks each order's broker.",
        (ORDERS_APPROVED,),
        (VENUE_VIRTUAL_ORDERS, VENUE_REST_ORDERS, ORDERS_EVENTS),
        ROUTES,
        (CONTROLS, MARKET_LAST),
        state_first=True,
    ),
    AgentSpec(
        "tracker",
        "orders",
        "Keeps each order's state; compares it with what the virtual venue states.",
        (ORDERS_EVENTS, STATEMENTS),
        (ORDERS_UPDATES, RECONCILIATIONS),
        ORDERS,
    ),
    AgentSpec(
        "positions",
        "orders",
        "Keeps positions, profit and cash from fills.",
        (ORDERS_EVENTS,),
        (POSITIONS_UPDATES, ACCOUNTS_UPDATES),
        POSITIONS,
        (CONTROLS, MARKET_LAST),
        silent_on=(ORDERS_EVENTS,),
    ),
    AgentSpec(
        "allocator",
        "orders",
        "Targets of positions, for one or many accounts, by child orders.",
        (ALLOCATIONS_REQUESTED, ORDERS_EVENTS),
        (ORDERS_REQUESTED, ALLOCATIONS_UPDATES, ALLOCATIONS_REQUESTED, STRATEGIES_FILLS),
        ALLOCATOR,
        (CONTROLS,),
        silent_on=(ORDERS_EVENTS,),
        state_first=True,
    ),
    AgentSpec(
        "slicer",
        "orders",
        "Orders in slices over time: TWAP, and a share of the volume.",
        (SLICES_REQUESTED, ORDERS_EVENTS),
        (ORDERS_REQUESTED, SLICES_UPDATES),
        SLICES,
        (CONTROLS, MARKET_LAST),
        silent_on=(ORDERS_EVENTS,),
        state_first=True,
    ),
    AgentSpec(
        "gateway",
        "gateway",
        "The virtual venue behind the broker port.",
        (VENUE_VIRTUAL_ORDERS, MARKET_QUOTES, MARKET_TRADES),
        (ORDERS_EVENTS, STATEMENTS),
        VENUE,
        (CONTROLS,),
        state_first=True,
    ),
    AgentSpec(
        "sender",
        "gateway",
        "Brokers across a network: calls, what became of them, fills.",
        (VENUE_REST_ORDERS,),
        (ORDERS_EVENTS, RECONCILIATIONS),
        SENDS,
        (CONTROLS,),
        state_first=True,
    ),
    AgentSpec(
        "prices",
        "market",
        "Newest price of each symbol, conflated; counts of refused ticks.",
        (MARKET_TRADES, MARKET_QUOTES),
        (MARKET_LAST, MARKET_REFUSED),
        watches=(MARKET_LAST,),
    ),
    AgentSpec(
        "bars",
        "market",
        "Bars of each symbol's trades, final and restated.",
        (MARKET_TRADES,),
        (MARKET_BARS,),
        BARS,
        (CONTROLS,),
        state_first=True,
    ),
    AgentSpec(
        "indicators",
        "market",
        "Indicators of each symbol's bars, restated with them.",
        (MARKET_BARS,),
        (INDICATORS,),
        INDICATORS_TABLE,
    ),
    AgentSpec(
        "strategies",
        "market",
        "Runs the strategies, each apart from the others; publishes their signals.",
        (MARKET_TRADES, MARKET_QUOTES, MARKET_BARS, INDICATORS, STRATEGIES_FILLS),
        (SIGNALS, STRATEGIES_UPDATES),
        STRATEGIES,
        (CONTROLS,),
        state_first=True,
    ),
    AgentSpec(
        "sizer",
        "market",
        "Turns signals into targets of the strategies' positions.",
        (SIGNALS,),
        (ALLOCATIONS_REQUESTED,),
        watches=(CONTROLS, MARKET_LAST),
    ),
    AgentSpec(
        "history",
        "history",
        "Every topic into ClickHouse.",
        TOPICS,
        (DEAD_LETTERS,),
    ),
)

TABLES: tuple[TableSpec, ...] = tuple(spec.table for spec in AGENTS if spec.table is not None)

AnyAgent = Agent[Any] | AsyncAgent[Any]
Build = Callable[[AgentSpec], AnyAgent]


def agents_of(role: Role) -> tuple[AgentSpec, ...]:
    """Return the agents of a role."""
    return tuple(spec for spec in AGENTS if spec.role == role)


def reported_by(spec: AgentSpec) -> frozenset[str]:
    """Return the topics whose undecodable records this agent sends to the dead letters.

    The first agent in `AGENTS` does that reads a topic and is not silent on it; an undecodable
    record becomes one dead letter however many agents read its topic.
    """
    first = {
        topic.name: agent.name
        for agent in reversed(AGENTS)
        for topic in agent.reads
        if topic not in agent.silent_on
    }
    return frozenset(name for name, agent in first.items() if agent == spec.name)
