"""The work that all contenders do, as pure functions: decode, check, count, encode.

The Python contenders, ours and rivals, call these very functions, so that they differ only in
what carries the records. It imports nothing but pydantic and the product's models, and runs in
the rivals' environment as well. `kafka_streams/Hop.java` does the same in Java.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Literal

from pydantic import TypeAdapter

from streams.domain.build import evolve, make
from streams.models.base import Dec, Message

ACCOUNTS = 1_000
PARTITIONS = 4
#: An order for more than this is refused; about one in twenty is.
LIMIT = Decimal(40_000)
FIRST_TS_NS = 1_700_000_000_000_000_000

_CHAIN = "ORDERFLOW_BENCH_CHAIN"


class Order(Message):
    """An order; each hop adds what it decided and the account's totals so far."""

    order_id: str
    account: str
    symbol: str
    side: Literal["buy", "sell"]
    type: Literal["limit"] = "limit"
    qty: Dec
    limit_price: Dec
    ts_event_ns: int
    status: Literal["new", "accepted", "refused"] = "new"
    count: int = 0
    notional: Dec = Decimal(0)


class Totals(Message):
    """What an account's accepted orders add up to: the state."""

    kind: Literal["totals"] = "totals"
    count: int = 0
    notional: Dec = Decimal(0)


NOTHING = Totals()
_ORDERS = TypeAdapter(Order)
_TOTALS = TypeAdapter(Totals)


@dataclass(frozen=True)
class Chain:
    """What a contender is told: hop `i` reads `topics[i]` and writes `topics[i + 1]`.

    All names are fresh for each run, so it starts at the topic's beginning with no state.
    `folder` is for its local state. A chain without `state` only decodes, checks and encodes.
    In an `eager` one each record's way counts: clients that wait for more records do not wait.
    A silent member is given up after `session_s`; 0 leaves it to the contender.
    """

    bootstrap: str
    group: str
    topics: tuple[str, ...]
    folder: str
    state: bool = True
    eager: bool = False
    session_s: float = 0.0

    @property
    def hops(self) -> list[tuple[str, str]]:
        """Return the source and the target of each hop."""
        return list(zip(self.topics, self.topics[1:], strict=False))

    def environment(self) -> dict[str, str]:
        """Return what `from_environment` reads in the contender's process."""
        return {_CHAIN: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> "Chain":
        """Return the chain this process was started for."""
        fields = json.loads(os.environ[_CHAIN])
        return cls(**{**fields, "topics": tuple(fields["topics"])})


def orders(many: int) -> Iterator[Order]:
    """Yield the orders of a run, the same ones in every run; about 175 bytes each as JSON."""
    for number in range(many):
        yield order(number, FIRST_TS_NS + number)


def order(number: int, ts_event_ns: int) -> Order:
    """Return the order of a number."""
    return make(
        Order,
        order_id=f"o-{number:07d}",
        account=f"ACC{number * 7919 % ACCOUNTS:04d}",
        symbol="AAPL",
        side="buy" if number % 2 else "sell",
        qty=Decimal(1 + number * 31 % 500),
        limit_price=Decimal(1_000 + number * 17 % 9_000).scaleb(-2),
        ts_event_ns=ts_event_ns,
    )


def sent(one: Order) -> bytes:
    """Return an order as it is put on the first topic, without what hops add."""
    added = {"status", "count", "notional"}
    return one.__pydantic_serializer__.to_json(one, exclude=added)


def decode(raw: bytes) -> Order:
    """Return the order in a record; raises what pydantic raises."""
    return _ORDERS.validate_json(raw)


def decode_totals(raw: bytes | None) -> Totals:
    """Return the totals that a contender kept, or those of an account without orders."""
    return NOTHING if raw is None else _TOTALS.validate_json(raw)


def encode(message: Message) -> bytes:
    """Return a message as JSON."""
    return message.__pydantic_serializer__.to_json(message)


def apply(one: Order, known: Totals) -> tuple[Order, Totals]:
    """Check an order and count it: return it as decided, and its account's totals."""
    worth = one.qty * one.limit_price
    if not 0 < worth <= LIMIT:
        refused = evolve(one, status="refused", count=known.count, notional=known.notional)
        return refused, known
    totals = make(Totals, count=known.count + 1, notional=known.notional + worth)
    accepted = evolve(one, status="accepted", count=totals.count, notional=totals.notional)
    return accepted, totals
