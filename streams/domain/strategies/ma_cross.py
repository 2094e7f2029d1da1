"""Moving-average crossover: long when the fast average of closes rises above the slow one."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Self

from pydantic import Field, model_validator

from streams.domain.build import evolve
from streams.domain.decimals import EXACT, total
from streams.domain.strategies.protocol import Callback, Context, Deaf, Decision
from streams.models.base import Dec, Part
from streams.models.market import Bar, FrameName


class MaCrossParams(Part):
    """Averages over so many bars of a frame. `short`: be short below, not flat."""

    frame: FrameName = "1m"
    fast: int = Field(10, ge=1, le=500)
    slow: int = Field(30, ge=2, le=500)
    short: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.fast >= self.slow:
            raise ValueError(f"fast={self.fast} has to be below slow={self.slow}")
        return self


class MaCrossState(Part):
    """The newest closes; whether the fast average was above the slow one, None: not yet known."""

    closes: tuple[Dec, ...] = ()
    above: bool | None = None


class MaCross(Deaf[MaCrossState, MaCrossParams]):
    """Decides when the averages cross. On which side they are at first is no cross."""

    wants: frozenset[Callback] = frozenset({"bar"})
    state = MaCrossState
    params = MaCrossParams

    def on_bar(
        self, state: MaCrossState, bar: Bar, context: Context[MaCrossParams]
    ) -> tuple[MaCrossState, Sequence[Decision]]:
        """Take the close of a bar of the frame; one without a price is passed over."""
        params = context.params
        if bar.frame != params.frame or bar.close is None:
            return state, ()
        closes = (*state.closes, bar.close)[-params.slow :]
        above = _above(closes, params) if len(closes) == params.slow else None
        if above is None:  # too few closes, or equal averages: the side stays what it was
            return evolve(state, closes=closes), ()
        crossed = state.above is not None and above is not state.above
        after = evolve(state, closes=closes, above=above)
        return after, (_decision(bar.close, params, above=above),) if crossed else ()


def _above(closes: Sequence[Decimal], params: MaCrossParams) -> bool | None:
    """Return whether the fast average is above the slow one, exactly; None: they are equal."""
    fast = EXACT.multiply(total(closes[-params.fast :]), Decimal(params.slow))
    slow = EXACT.multiply(total(closes), Decimal(params.fast))
    return None if fast == slow else fast > slow


def _decision(close: Decimal, params: MaCrossParams, *, above: bool) -> Decision:
    side = "above" if above else "below"
    reason = f"the average of {params.fast} {params.frame} closes is {side} that of {params.slow}"
    strength = Decimal(1) if above else Decimal(-1 if params.short else 0)
    return Decision(strength, close, reason)
