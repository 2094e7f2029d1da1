"""The load of the benchmark `path`: orders that end by themselves, and the market they meet.

A tenth is refused (an unknown symbol or too large a quantity); the others are market orders and
marketable limits that fill at once. Each account buys every symbol in turn, then sells every
one, so that its positions stay small and no limit is in the way; an order's opposite comes long
after it has ended, else it would be a self-trade. The same number gives the same order.
"""

import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import orjson

from streams.models.controls import AnyControl, Instrument, SessionShift

#: A moment of a regular session: Monday 2013-10-07, 11:00 in New York.
SESSION_NS = 1_381_158_000_000_000_000
ACCOUNTS = 1_000
SYMBOLS = tuple(f"PATH{number}" for number in range(8))
BID, ASK = "50.00", "50.01"
#: More than all orders together take; it changes with every quote, as only then it is new.
SIZE = 900_000_000


class Order(NamedTuple):
    """One order as it goes onto the topic."""

    key: bytes
    order_id: str
    value: bytes


def controls(now_ns: int) -> list[AnyControl]:
    """Return what makes the symbols tradable and `now_ns` a moment of a session."""
    reference = Decimal(BID)
    instruments = [Instrument(scope=one, symbol=one, reference_price=reference) for one in SYMBOLS]
    return [*instruments, SessionShift(shift_ns=now_ns - SESSION_NS)]


def quotes(now_ns: int, seq: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of a quote of each symbol."""
    for symbol in SYMBOLS:
        quote = {
            "symbol": symbol,
            "ts_event_ns": now_ns,
            "seq": seq,
            "bid": BID,
            "ask": ASK,
            "bid_size": str(SIZE + seq),
            "ask_size": str(SIZE + seq),
        }
        yield symbol.encode(), orjson.dumps(quote)


def orders() -> Iterator[Order]:
    """Yield orders without end."""
    for number in itertools.count():
        account, turn = f"P{number % ACCOUNTS:04d}", number // ACCOUNTS
        fields: dict[str, str] = {
            "command": "submit",
            "order_id": f"p-{number}",
            "account": account,
            "symbol": SYMBOLS[(number + turn) % len(SYMBOLS)],
            "side": ("buy", "sell")[turn // len(SYMBOLS) % 2],
            "type": "market",
            "qty": str(1 + number % 7),
        }
        _vary(fields, number)
        yield Order(account.encode(), fields["order_id"], orjson.dumps(fields))


def _vary(fields: dict[str, str], number: int) -> None:
    """Make three of ten orders limits, and one of ten wrong."""
    kind = number * 7 // 10 % 10
    if kind < 3:
        price = ASK if fields["side"] == "buy" else BID
        fields |= {"type": "limit", "limit_price": price, "time_in_force": "ioc"}
    elif kind == 3:
        fields |= {"symbol": "NOWHERE"} if number % 2 else {"qty": "1000000"}
