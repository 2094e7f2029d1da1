"""What the transport's tests share: a table of counts, and a Kafka in memory."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Literal

from pydantic import BaseModel, ConfigDict

from streams.transport.sender import OUTPUT_BATCH_BYTES, Out
from tables.base import TableSpec


class Count(BaseModel):
    """How many records came for a key, and what their numbers add up to."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["count"] = "count"
    n: int
    total: int = 0
    text: str = ""


COUNTS = TableSpec(
    name="counts",
    key="account, account|order_id",
    value=Count,
    written_by="counter",
    doc="Counts of a test.",
    bound="What the test sends.",
)


@dataclass
class Sent:
    """One record batch that a publisher handed over, and how it gets its acknowledgement."""

    topic: str
    partition: int
    records: Sequence[Out]
    ack: "asyncio.Future[object]"
    offset: int
    timestamp_ms: int
    max_bytes: int

    def acknowledge(self) -> None:
        """Let Kafka have stored it."""
        self.ack.set_result(SimpleNamespace(offset=self.offset))

    def refuse(self) -> None:
        """Let Kafka have refused it."""
        self.ack.set_exception(OSError("refused"))


@dataclass
class MemorySender:
    """A `Sender` whose record batches stay here until a test acknowledges them.

    `at_once`: every batch is acknowledged as it comes. `per_batch`: records in a batch at most.
    """

    at_once: bool = False
    per_batch: int = 1_000
    sent: list[Sent] = field(default_factory=list)
    ends: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has: four, as the stack's."""
        assert topic
        return 4

    async def send(
        self,
        topic: str,
        partition: int,
        records: Sequence[Out],
        timestamp_ms: int,
        max_bytes: int = OUTPUT_BATCH_BYTES,
    ) -> "list[asyncio.Future[object]]":
        """Take records, and return a future per record batch."""
        futures = []
        for start in range(0, len(records), self.per_batch):
            part = records[start : start + self.per_batch]
            ack: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            offset = self.ends[topic, partition]
            batch = Sent(topic, partition, part, ack, offset, timestamp_ms, max_bytes)
            self.ends[topic, partition] += len(part)
            self.sent.append(batch)
            futures.append(ack)
            if self.at_once:
                batch.acknowledge()
        return futures

    def topics(self) -> list[str]:
        """Return where record batches went, in order."""
        return [batch.topic for batch in self.sent]


def counted_order(account: str, number: int, wish: str) -> bytes:
    """Return an order for a counting worker, and in its `strategy` what the agent shall do."""
    fields = {
        "command": "submit",
        "order_id": f"o-{number}",
        "account": account,
        "symbol": "AIG",
        "side": "buy",
        "type": "market",
        "qty": "1",
        "strategy": wish,
    }
    return json.dumps(fields).encode()
