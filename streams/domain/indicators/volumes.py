"""What is made of volume: the day's VWAP, and OBV."""

from decimal import Decimal

from streams.domain.decimals import EXACT
from streams.domain.indicators.rules import ONE, Kept, Rule, State, Values


def vwap(name: str) -> Rule:
    """Money by shares since the trading day began, out of exact sums, rounded once.

    A bar without a close has volume all the same; one without volume changes nothing. State: the
    trading day, money, shares.
    """

    def step(state: State, bar: Kept) -> tuple[State, Values | None]:
        if not bar.volume:
            return state, None
        money, shares = bar.notional, bar.shares
        if state[0] == bar.session:
            # From JSON they come as text.
            money = EXACT.add(Decimal(state[1]), money)
            shares = EXACT.add(Decimal(state[2]), shares)
        return (bar.session, money, shares), (float(EXACT.divide(money, shares)),)

    return Rule(name, ONE, ("", "0", "0"), step)


def obv(name: str) -> Rule:
    """Volume added where the close rose, taken off where it fell; begun with the first volume.

    A bar without a close has no direction, and its volume does not count. State: the last close,
    the sum.
    """

    def step(state: State, bar: Kept) -> tuple[State, Values | None]:
        close = bar.close
        if close is None:
            return state, None
        if not state:
            return (close, bar.volume), (bar.volume,)
        last, total = state
        if close > last:
            total += bar.volume
        elif close < last:
            total -= bar.volume
        return (close, total), (total,)

    return Rule(name, ONE, (), step)
