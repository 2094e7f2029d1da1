"""A symbol's newest prices: the last print, the middle of bid and ask, their age, what is stale.

The age of a price is now less its venue time. Nothing is taken off for the session shift: ticks
that are played again were moved by it, and so was the time that they are compared with.
"""

from decimal import Decimal

from streams.domain.build import evolve
from streams.models.market import LastPrice

SECOND_NS = 1_000_000_000


def mid(price: LastPrice) -> Decimal | None:
    """Return the middle of bid and ask, or None unless both are known."""
    if price.bid is None or price.ask is None:
        return None
    return (price.bid + price.ask) / 2


def mark_of(price: LastPrice) -> Decimal | None:
    """Return the price to go by: the last, else the middle, else the one side."""
    if price.last is not None:
        return price.last
    if (middle := mid(price)) is not None:
        return middle
    return price.bid if price.bid is not None else price.ask


def last_ns(price: LastPrice) -> int:
    """Return the time of the last print; records of before that was written have one time."""
    return price.ts_event_ns if price.ts_last_ns is None else price.ts_last_ns


def quote_ns(price: LastPrice) -> int:
    """Return the time of the newest quote, likewise."""
    return price.ts_event_ns if price.ts_quote_ns is None else price.ts_quote_ns


def mark_ns(price: LastPrice) -> int:
    """Return the time of `mark_of`."""
    return last_ns(price) if price.last is not None else quote_ns(price)


def is_stale(ts_ns: int, now_ns: int, max_age_s: Decimal) -> bool:
    """Return whether a price of that time is older than `max_age_s` seconds; as old passes."""
    return now_ns - ts_ns > max_age_s * SECOND_NS


def fresh(price: LastPrice, now_ns: int, max_age_s: Decimal) -> LastPrice | None:
    """Return the price without its stale part, last or quote; None if nothing is left."""
    keeps_last = price.last is not None and not is_stale(last_ns(price), now_ns, max_age_s)
    quoted = price.bid is not None or price.ask is not None
    keeps_quote = quoted and not is_stale(quote_ns(price), now_ns, max_age_s)
    if keeps_last:
        return price if keeps_quote or not quoted else evolve(price, bid=None, ask=None)
    if keeps_quote:
        return price if price.last is None else evolve(price, last=None)
    return None


def seconds(age_ns: int) -> float:
    """Return an age in seconds, to the millisecond."""
    return round(age_ns / SECOND_NS, 3)


def told(price: LastPrice, now_ns: int, max_age_s: Decimal) -> str:
    """Return the price to go by in words, with its age; one of time 0 is the instrument's own."""
    if price.ts_event_ns == 0:
        return f"reference price {mark_of(price)}"
    name = "last price" if price.last is not None else "bid and ask's middle"
    if price.last is None and mid(price) is None:
        name = "bid" if price.bid is not None else "ask"
    stale = is_stale(mark_ns(price), now_ns, max_age_s)
    old = f"{seconds(now_ns - mark_ns(price)):.1f} s old"
    return f"{name} {mark_of(price)} ({old}{f', stale: over {max_age_s} s' if stale else ''})"
