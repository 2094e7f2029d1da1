"""The same work on either side: our worker, or one on stock Faust, in a namespace of its own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from streams.settings import Settings
from tests.stack.plain import Raw, committed, count, ends, produce, read, wait_until
from tests.stack.workers import Worker, Workers
from tests.transport import COUNTS, counted_order

T = TypeVar("T")
Kind = Literal["ours", "stock"]

REQUESTED = "orders.requested.v1"
OUTPUT = "orders.approved.v1"
DEAD = "dead-letters.v1"
GROUP = "orderflow.orders.v1"
ACCOUNT = "A1"

WORKERS: dict[Kind, str] = {
    "ours": "tests.stack.counting_worker",
    "stock": "tests.stack.guarantees.stock_worker",
}
#: The changelog of the table of counts; Faust names its own.
CHANGELOGS: dict[Kind, str] = {"ours": COUNTS.changelog(), "stock": f"{GROUP}-counts-changelog"}


@dataclass
class Side:
    """One side: its settings, its workers, and what Kafka knows of their work.

    All orders are of one account and go to partition 0, unless said otherwise: so the number of
    an order there is its offset.
    """

    kind: Kind
    settings: Settings
    workers: Workers
    sent: int = 0

    def expected(self, *, ours: T, stock: T) -> T:
        """Return what is expected on this side."""
        return ours if self.kind == "ours" else stock

    async def start(self, index: int = 0, env: Mapping[str, str] | None = None) -> Worker:
        """Start a worker, and return it when it does its work."""
        worker = self.workers.start("orders", index, env)
        await worker.ready()
        return worker

    async def send(self, many: int, wish: str = "") -> None:
        """Put the next orders on partition 0."""
        numbers = range(self.sent, self.sent + many)
        self.sent += many
        await self.put(*(order(number, wish) for number in numbers))

    async def put(self, *records: Raw) -> None:
        """Put records where they say."""
        await produce(self.settings, REQUESTED, records)

    async def committed(self) -> dict[int, int]:
        """Return the committed offset of each partition."""
        return await committed(self.settings, GROUP, REQUESTED)

    async def floor(self) -> int:
        """Return the committed offset of partition 0."""
        return (await self.committed()).get(0, 0)

    async def settled(self) -> None:
        """Return when everything that was sent is committed."""
        sent = (await ends(self.settings, REQUESTED))[REQUESTED]
        wanted = {partition: end for partition, end in sent.items() if end}
        await wait_until(self.committed, wanted.__eq__)

    async def published(self) -> list[str]:
        """Return the ids of the orders that were published."""
        return [json.loads(one.value)["order_id"] for one in await read(self.settings, OUTPUT)]

    async def outputs(self) -> int:
        """Return how many records were published."""
        return await count(self.settings, OUTPUT)

    async def dead(self) -> set[str]:
        """Return the ids of the orders among the dead letters."""
        return {json.loads(one.value)["order_id"] for one in await read(self.settings, DEAD)}

    async def counts(self) -> list[int]:
        """Return each count that the changelog has for the account, as they came."""
        records = await read(self.settings, CHANGELOGS[self.kind], [0])
        return [
            json.loads(one.value)["n"] for one in records if ACCOUNT.encode() in (one.key or b"")
        ]

    async def counted(self) -> int:
        """Return how many orders the changelog knows of: what a restore would find."""
        return max(await self.counts(), default=0)

    async def lost(self) -> set[str]:
        """Return orders that are committed, so that nobody will see them again, without a trace."""
        floor = await self.floor()
        traces = {*await self.published(), *await self.dead()}
        return {f"o-{number}" for number in range(floor)} - traces

    async def ended(self, worker: Worker) -> bool:
        """Return whether a worker has ended by itself."""
        return worker.child.exit_code is not None

    async def either_ends_or_commits(self, worker: Worker, offset: int) -> None:
        """Return when a worker has ended, or committed so far."""

        async def ask() -> bool:
            return await self.ended(worker) or await self.floor() >= offset

        await wait_until(ask, bool)


def order(number: int, wish: str = "", partition: int = 0, account: str = ACCOUNT) -> Raw:
    """Return an order, and in its `strategy` what the agent shall do."""
    return Raw(counted_order(account, number, wish), account.encode(), partition=partition)
