"""What the root tells the transport: how to fetch, what a batch is, when work is finished."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from faust.types import TP

from streams.transport.codec import Batch


@dataclass(frozen=True, slots=True)
class Fetching:
    """How a worker fetches: for latency, as by default, or for large batches.

    Kafka answers a fetch when it has `min_bytes`, over all partitions, or after `max_wait_ms`:
    with one byte it answers as soon as there is anything. A batch holds at most `max_records`.
    """

    min_bytes: int = 1
    max_wait_ms: int = 100
    max_records: int = 2_000


class Options(ABC):
    """What the root tells the transport; one per app, found through `Transport.options`."""

    consumer_thread = False
    fetching = Fetching()

    @abstractmethod
    def batch(self, tp: TP, records: list[Any], epoch: int, follows: int) -> Batch:
        """Return fetched records as the batch that agents get."""

    @abstractmethod
    async def drain(self) -> None:
        """Wait until all units of work are finished."""

    @abstractmethod
    def revoked(self) -> None:
        """Forget what belonged to partitions that were given up."""
