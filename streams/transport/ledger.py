"""Which offsets may be committed: a floor below which everything is durable.

For each partition the ledger holds the batches that were delivered, in order. A batch is done
when every agent that got it has finished, and Kafka has acknowledged all that they published.
The floor is the end of the unbroken run of done batches; nothing above it is ever committed.
"""

from collections import deque
from dataclasses import dataclass

TopicPartition = tuple[str, int]


@dataclass(slots=True)
class _Entry:
    first: int
    end: int
    waiting_for: int


class Ledger:
    """The delivered batches of all partitions of a worker."""

    def __init__(self) -> None:
        self._open: dict[TopicPartition, deque[_Entry]] = {}
        self._floors: dict[TopicPartition, int] = {}

    def opened(self, tp: TopicPartition, first: int, end: int, agents: int) -> None:
        """Record a delivery of offsets `first` (inclusive) to `end` (exclusive) to `agents`."""
        self._open.setdefault(tp, deque()).append(_Entry(first, end, agents))
        self._advance(tp)

    def done(self, tp: TopicPartition, first: int) -> None:
        """Record that one agent has finished the batch that began at `first`."""
        for entry in self._open.get(tp, ()):
            if entry.first == first:
                entry.waiting_for -= 1
                break
        self._advance(tp)

    def _advance(self, tp: TopicPartition) -> None:
        entries = self._open[tp] if tp in self._open else deque()
        while entries and entries[0].waiting_for <= 0:
            self._floors[tp] = entries.popleft().end

    def floor(self, tp: TopicPartition) -> int | None:
        """Return the offset to commit for a partition, or None while nothing is done."""
        return self._floors.get(tp)

    def floors(self) -> dict[TopicPartition, int]:
        """Return the offsets to commit."""
        return dict(self._floors)

    def in_flight(self) -> int:
        """Return how many delivered batches are not done."""
        return sum(len(entries) for entries in self._open.values())

    def forget(self, tps: set[TopicPartition]) -> None:
        """Drop partitions that were given up; a late `done` for them changes nothing."""
        for tp in tps:
            self._open.pop(tp, None)
            self._floors.pop(tp, None)
