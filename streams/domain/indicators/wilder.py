"""Wilder's smoothing: RSI and ATR, seeded and rounded as TA-Lib's batch functions do it."""

from streams.domain.indicators.rules import ONE, Kept, Rule, State, Values

#: A mean movement below this is none, as TA-Lib sees it.
NO_MOVE = 1e-14


def rsi(name: str, period: int) -> Rule:
    """Mean rise as a share of mean rise and mean fall, 0 to 100; 0 where nothing moved.

    State: how many closes there were, the last one, mean rise, mean fall; sums while they are not
    there yet.
    """
    before = float(period - 1)

    def step(state: State, bar: Kept) -> tuple[State, Values | None]:
        close = bar.close
        if close is None:
            return state, None
        count, last, rise, fall = state
        if count == 0.0:
            return (1.0, close, 0.0, 0.0), None
        move = close - last
        seeded = count > period
        if seeded:
            rise, fall = rise * before, fall * before
        if move < 0.0:
            fall -= move
        else:
            rise += move
        if not seeded:
            count += 1.0
            if count <= period:
                return (count, close, rise, fall), None
        rise, fall = rise / period, fall / period
        both = rise + fall
        value = 100.0 * (rise / both) if both >= NO_MOVE else 0.0
        return (count, close, rise, fall), (value,)

    return Rule(name, ONE, (0.0, 0.0, 0.0, 0.0), step)


def atr(name: str, period: int) -> Rule:
    """Smoothed true range: the largest of high - low and the distances from the last close.

    State: how many bars there were, the last close, the mean; its sum while it is not there yet.
    """
    before = float(period - 1)

    def step(state: State, bar: Kept) -> tuple[State, Values | None]:
        high, low, close = bar.high, bar.low, bar.close
        if high is None or low is None or close is None:
            return state, None
        count, last, mean = state
        if count == 0.0:
            return (1.0, close, 0.0), None
        span = max(high - low, abs(last - high), abs(last - low))
        if count > period:
            mean = (mean * before + span) / period
            return (count, close, mean), (mean,)
        count, mean = count + 1.0, mean + span
        if count <= period:
            return (count, close, mean), None
        mean /= period
        return (count, close, mean), (mean,)

    return Rule(name, ONE, (0.0, 0.0, 0.0), step)
