"""Mean reversion: buy what fell far below its average, sell it when it is near again."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Self

from pydantic import Field, model_validator

from streams.domain.build import evolve
from streams.domain.decimals import EXACT, ZERO, total
from streams.domain.strategies.protocol import Callback, Context, Deaf, Decision
from streams.models.base import Dec, Part
from streams.models.market import Bar, FrameName

_ONE = Decimal(1)


class MeanReversionParams(Part):
    """Distances from the average in standard deviations of the closes (Bollinger's bands)."""

    frame: FrameName = "1m"
    length: int = Field(20, ge=2, le=500, description="Closes of average and deviation.")
    enter: Dec = Field(Decimal(2), gt=0, description="Buy so far below; sell short so far above.")
    leave: Dec = Field(Decimal("0.5"), ge=0, description="Close when no farther than this.")
    short: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.leave >= self.enter:
            raise ValueError(f"leave={self.leave} has to be below enter={self.enter}")
        return self


class MeanReversionState(Part):
    """The newest closes."""

    closes: tuple[Dec, ...] = ()


class MeanReversion(Deaf[MeanReversionState, MeanReversionParams]):
    """Decides when a close is far from the average, and when it is near again."""

    wants: frozenset[Callback] = frozenset({"bar"})
    state = MeanReversionState
    params = MeanReversionParams

    def on_bar(
        self, state: MeanReversionState, bar: Bar, context: Context[MeanReversionParams]
    ) -> tuple[MeanReversionState, Sequence[Decision]]:
        """Take the close of a bar of the frame; one without a price is passed over."""
        params = context.params
        if bar.frame != params.frame or bar.close is None:
            return state, ()
        closes = (*state.closes, bar.close)[-params.length :]
        score = _score(closes) if len(closes) == params.length else None
        if score is None:
            return evolve(state, closes=closes), ()
        after = evolve(state, closes=closes)
        strength = _wanted(context.strength, score, params)
        if strength == context.strength:
            return after, ()
        reason = f"{score:.2f} deviations from the average of {params.length} {bar.frame} closes"
        return after, (Decision(strength, bar.close, reason),)


def _score(closes: Sequence[Decimal]) -> Decimal | None:
    """Return how many standard deviations the last close is from the mean; None: all are equal."""
    count = Decimal(len(closes))
    mean = EXACT.divide(total(closes), count)
    away = [EXACT.subtract(close, mean) for close in closes]
    variance = EXACT.divide(total(EXACT.multiply(one, one) for one in away), count)
    return EXACT.divide(away[-1], EXACT.sqrt(variance)) if variance else None


def _wanted(held: Decimal, score: Decimal, params: MeanReversionParams) -> Decimal:
    """Return what to hold at this distance from the mean."""
    if score <= -params.enter:
        return _ONE
    if score >= params.enter and params.short:
        return -_ONE
    near = score >= -params.leave if held > 0 else score <= params.leave
    return ZERO if held and near else held
