"""What a strategy is: state and an event of its symbol in, state and decisions out.

The functions are pure: they read no clock, call nobody and keep nothing but the state that they
return. "Now" is the market time of the event, in `Context`. docs/strategies.md has an example.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from pydantic import BaseModel

from streams.models.market import Bar, Quote, Trade
from streams.models.orders import OrderEvent
from streams.models.signals import Indicator

S = TypeVar("S", bound=BaseModel)
P = TypeVar("P", bound=BaseModel)

#: What a strategy can be told of; `wants` names those that it is told of.
Callback = Literal["trade", "quote", "bar", "indicator", "fill", "timer"]


class Decision(NamedTuple):
    """What to hold from now on, as a part of the most: 1 long, -1 short, 0 flat."""

    strength: Decimal
    price: Decimal | None = None
    reason: str = ""


class Context(NamedTuple, Generic[P]):
    """What a function is told beside its event. `now_ns`: the market time of the event.

    `strength`: what it decided last, also before it began anew; 0 before its first decision.
    """

    symbol: str
    params: P
    now_ns: int
    strength: Decimal = Decimal(0)


class Strategy(Protocol[S, P]):
    """One strategy. Both models are frozen; `state()` is how it begins.

    A function returns the state after the event, and its decisions in their order: usually none.
    What it raises stops it on this symbol, and nothing else.
    """

    wants: frozenset[Callback]
    state: type[S]
    params: type[P]

    def on_trade(self, state: S, trade: Trade, context: Context[P]) -> tuple[S, Sequence[Decision]]:
        """Take a print as it is on the topic: unchecked, corrections included."""

    def on_quote(self, state: S, quote: Quote, context: Context[P]) -> tuple[S, Sequence[Decision]]:
        """Take a quote as it is on the topic: an absent side did not change."""

    def on_bar(self, state: S, bar: Bar, context: Context[P]) -> tuple[S, Sequence[Decision]]:
        """Take a bar of any frame when it is final; what restates it later is not handed over."""

    def on_indicator(
        self, state: S, indicator: Indicator, context: Context[P]
    ) -> tuple[S, Sequence[Decision]]:
        """Take an indicator's values after a bar, once like the bar."""

    def on_fill(
        self, state: S, fill: OrderEvent, context: Context[P]
    ) -> tuple[S, Sequence[Decision]]:
        """Take a fill of an order of this strategy, or its correction or bust."""

    def on_timer(self, state: S, context: Context[P]) -> tuple[S, Sequence[Decision]]:
        """Take the time, about once a second; here alone `now_ns` is the worker's clock."""


AnyStrategy = Strategy[Any, Any]


class Deaf(Generic[S, P]):
    """A strategy's functions for what it does not want: state as it was, no decision."""

    def on_trade(
        self,
        state: S,
        trade: Trade,  # noqa: ARG002 - the protocol's arguments
        context: Context[P],  # noqa: ARG002
    ) -> tuple[S, Sequence[Decision]]:
        """Do nothing."""
        return state, ()

    def on_quote(
        self,
        state: S,
        quote: Quote,  # noqa: ARG002
        context: Context[P],  # noqa: ARG002
    ) -> tuple[S, Sequence[Decision]]:
        """Do nothing."""
        return state, ()

    def on_bar(
        self,
        state: S,
        bar: Bar,  # noqa: ARG002
        context: Context[P],  # noqa: ARG002
    ) -> tuple[S, Sequence[Decision]]:
        """Do nothing."""
        return state, ()

    def on_indicator(
        self,
        state: S,
        indicator: Indicator,  # noqa: ARG002
        context: Context[P],  # noqa: ARG002
    ) -> tuple[S, Sequence[Decision]]:
        """Do nothing."""
        return state, ()

    def on_fill(
        self,
        state: S,
        fill: OrderEvent,  # noqa: ARG002
        context: Context[P],  # noqa: ARG002
    ) -> tuple[S, Sequence[Decision]]:
        """Do nothing."""
        return state, ()

    def on_timer(
        self,
        state: S,
        context: Context[P],  # noqa: ARG002
    ) -> tuple[S, Sequence[Decision]]:
        """Do nothing."""
        return state, ()
