"""The way to one broker across a network, shared by all partitions of a worker.

It counts the calls and their failures: the circuit breaker and the bucket are the broker's, not a
partition's. Submits, cancels and replaces are made by the desk; what only asks goes through `ask`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from streams.broker import Ack, BrokerAcrossNetwork, Outcome, Theirs
from streams.domain.breaker import SECOND_NS, Breaker, Bucket
from streams.models.orders import VenueOrder

T = TypeVar("T")

#: How long the bucket is closed after the broker said that it gets too many calls.
THROTTLED_S = 1.0
#: Orders that are asked for one by one in one comparison.
MAX_ASKED = 50


@dataclass(slots=True)
class Line:
    """The way to one broker.

    `connect` gives a new connection. A call is given up after `timeout_s`. Every `compare_every_s`
    what the broker has is compared with what we have.
    """

    connect: Callable[[], BrokerAcrossNetwork]
    timeout_s: float
    bucket: Bucket
    compare_every_s: float = 60.0
    breaker: Breaker = field(default_factory=Breaker)

    def is_free(self, now_ns: int) -> bool:
        """Say whether a call may go out now."""
        return self.breaker.allows(now_ns) and not self.bucket.wait_ns(now_ns)

    def goes_out(self, now_ns: int) -> None:
        """Count a call."""
        self.breaker.begin(now_ns)
        self.bucket.take(now_ns)

    def answered(self, ack: Ack, now_ns: int) -> None:
        """Count what a call came to; a refusal is an answer, no failure."""
        if ack.throttled:
            self.bucket.pause(now_ns, THROTTLED_S)
        elif ack.outcome is Outcome.UNKNOWN:
            self.breaker.failed(now_ns)
        else:
            self.breaker.succeeded()

    async def room(self, now_ns: Callable[[], int]) -> None:
        """Return when the bucket has room for a call."""
        while True:
            wait_ns = self.bucket.wait_ns(now_ns())
            if not wait_ns:
                return
            await asyncio.sleep(wait_ns / SECOND_NS)

    async def ask(self, question: Coroutine[Any, Any, T], now_ns: Callable[[], int]) -> T:
        """Ask something that changes nothing; raise ConnectionError without an answer."""
        try:
            await self.room(now_ns)
        except asyncio.CancelledError:
            question.close()
            raise
        if not self.breaker.allows(now_ns()):
            question.close()
            raise ConnectionError("not now: the broker does not answer")
        self.goes_out(now_ns())
        try:
            answer = await question
        except ConnectionError:
            self.breaker.failed(now_ns())
            raise
        self.breaker.succeeded()
        return answer


async def look(
    line: Line,
    broker: BrokerAcrossNetwork,
    ours: list[VenueOrder],
    since_ns: int,
    now_ns: Callable[[], int],
) -> Theirs:
    """Ask a broker what it has; `ours` are our open orders. Raises ConnectionError."""
    started_ns = now_ns()
    orders = await line.ask(broker.open_orders(), now_ns)
    there = {order.client_order_id for order in orders}
    missing = [order for order in ours if order.client_order_id not in there][:MAX_ASKED]
    asked = [(order, await line.ask(broker.find(order), now_ns)) for order in missing]
    positions = await line.ask(broker.positions(), now_ns)
    # Last: what moved orders or positions while they were asked for is among the fills.
    fills = await line.ask(broker.fills_since(since_ns), now_ns)
    return Theirs(started_ns, orders, asked, fills, positions)
