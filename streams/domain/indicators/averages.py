"""Averages of closes, and what is made of them: SMA, EMA, MACD, Bollinger bands.

Each is begun, and sums are taken, as TA-Lib's batch functions do it.
"""

from math import sqrt
from operator import mul

from streams.domain.indicators.rules import ONE, Kept, Rule, State, Values


def sma(name: str, period: int) -> Rule:
    """Mean of the last closes. State: their sum without the oldest one, then the closes."""

    def step(state: State, bar: Kept) -> tuple[State, Values | None]:
        close = bar.close
        if close is None:
            return state, None
        total = state[0] + close
        if len(state) < period:
            return (total, *state[1:], close), None
        # The oldest close: for a period of 1 the newest one.
        oldest = state[1] if period > 1 else close
        return (total - oldest, *state[2:], close), (total / period,)

    return Rule(name, ONE, (0.0,), step)


def bbands(name: str, period: int, width: float) -> Rule:
    """SMA, and so many standard deviations (of the population) above and below it.

    The deviation is taken from the closes themselves, not from a running sum of squares, which
    loses half of the digits where prices hardly move. State: that of `sma`.
    """

    def step(state: State, bar: Kept) -> tuple[State, Values | None]:
        close = bar.close
        if close is None:
            return state, None
        total = state[0] + close
        if len(state) < period:
            return (total, *state[1:], close), None
        oldest = state[1]
        # From the oldest one: equal closes have no deviation, and no digits are lost on the level.
        moves = [one - oldest for one in state[2:]]
        moves.append(close - oldest)
        mean = sum(moves) / period
        variance = sum(map(mul, moves, moves)) / period - mean * mean
        reach = sqrt(variance) * width if variance > 0.0 else 0.0
        middle = total / period
        return (total - oldest, *state[2:], close), (middle + reach, middle, middle - reach)

    return Rule(name, ("upper", "middle", "lower"), (0.0,), step)


def ema(name: str, period: int) -> Rule:
    """Exponential mean, begun with the mean of the first closes.

    State: sum of closes and how many there were; then the mean alone.
    """
    weight = 2.0 / (period + 1)

    def step(state: State, bar: Kept) -> tuple[State, Values | None]:
        close = bar.close
        if close is None:
            return state, None
        if len(state) == 1:
            mean = state[0]
            after = ((close - mean) * weight + mean,)
            return after, after
        total, count = state[0] + close, state[1] + 1.0
        if count < period:
            return (total, count), None
        after = (total / period,)
        return after, after

    return Rule(name, ONE, (0.0, 0.0), step)


def macd(name: str, fast: int, slow: int, signal: int) -> Rule:
    """Difference of two EMA, its own EMA, and the difference of both.

    The two begin with means that end at the same bar, the third with the mean of the first
    differences. State: how many closes there were, then the three means; while one is not there
    yet, its sum.
    """
    fast_weight, slow_weight, weight = (2.0 / (one + 1) for one in (fast, slow, signal))

    def seed(state: State, close: float, count: float) -> tuple[float, float, float]:
        _, quick, slowly, third = state
        slowly += close
        if count > slow - fast:
            quick += close
        if count < slow:
            return quick, slowly, third
        quick, slowly = quick / fast, slowly / slow
        return quick, slowly, third + (quick - slowly)

    def step(state: State, bar: Kept) -> tuple[State, Values | None]:
        close = bar.close
        if close is None:
            return state, None
        count, quick, slowly, third = state
        if count < slow:
            count += 1.0
            quick, slowly, third = seed(state, close, count)
            if count < slow:
                return (count, quick, slowly, third), None
            line = quick - slowly
        else:
            quick = (close - quick) * fast_weight + quick
            slowly = (close - slowly) * slow_weight + slowly
            line = quick - slowly
            if count >= slow + signal - 1:
                third = (line - third) * weight + third
                return (count, quick, slowly, third), (line, third, line - third)
            count, third = count + 1.0, third + line
        if count < slow + signal - 1:
            return (count, quick, slowly, third), None
        third /= signal
        return (count, quick, slowly, third), (line, third, line - third)

    return Rule(name, ("macd", "signal", "histogram"), (0.0, 0.0, 0.0, 0.0), step)
