"""Which offsets may be committed: a floor below which everything is durable.

For each partition the ledger holds the batches that were delivered, in order. A batch is done
when every agent that got it has finished, and Kafka has acknowledged all that they published.
The floor is the end of the unbroken run of done batches; nothing above it is ever committed.

It also says where there is room for more: of a partition whose last batch somebody has yet to
begin, nothing more is delivered, so that under load its records come in fewer, larger batches.
What is delivered and not done is bounded in batches and bytes, for each partition by itself, so
that no queue grows and none waits for another.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from streams import defences
from streams.defences import Defence

TopicPartition = tuple[str, int]

#: Of a partition with so many batches, or bytes, that are not done nothing more is delivered: it
#: would only wait, and deep buffers of small batches cost latency and win nothing.
MAX_OPEN_BATCHES = 8
MAX_OPEN_BYTES = 2 * 1024 * 1024


@dataclass(slots=True)
class _Entry:
    first: int
    end: int
    waiting_for: int
    not_begun: int
    size: int


class Ledger:
    """The delivered batches of all partitions of a worker."""

    def __init__(self, on_room: Callable[[], None] = lambda: None) -> None:
        """`on_room` is called whenever there may be room again."""
        self._on_room = on_room
        self._open: dict[TopicPartition, deque[_Entry]] = {}
        self._floors: dict[TopicPartition, int] = {}
        self._bytes: dict[TopicPartition, int] = {}

    def opened(self, tp: TopicPartition, first: int, end: int, agents: int, size: int = 0) -> None:
        """Record a delivery of offsets `first` (inclusive) to `end` (exclusive) to `agents`.

        `size` is what the batch holds in memory, in bytes.
        """
        self._open.setdefault(tp, deque()).append(_Entry(first, end, agents, agents, size))
        self._bytes[tp] = self._bytes.get(tp, 0) + size
        self._advance(tp)

    def begun(self, tp: TopicPartition, first: int) -> None:
        """Record that one agent has begun to work on the batch that began at `first`."""
        if (entry := self._entry(tp, first)) is not None:
            entry.not_begun -= 1
        self._on_room()

    def done(self, tp: TopicPartition, first: int) -> None:
        """Record that one agent has finished the batch that began at `first`."""
        if (entry := self._entry(tp, first)) is not None:
            entry.waiting_for -= 1
        self._advance(tp)
        self._on_room()

    def _entry(self, tp: TopicPartition, first: int) -> _Entry | None:
        return next((one for one in self._open.get(tp, ()) if one.first == first), None)

    def _advance(self, tp: TopicPartition) -> None:
        entries = self._open[tp] if tp in self._open else deque()
        while entries and (entries[0].waiting_for <= 0 or not defences.on(Defence.FLOOR)):
            entry = entries.popleft()
            self._floors[tp] = entry.end
            self._bytes[tp] -= entry.size

    def has_room(self, tp: TopicPartition) -> bool:
        """Return whether more of a partition may be delivered before some of it is done."""
        entries = self._open.get(tp)
        if not entries:
            return True
        return (
            entries[-1].not_begun <= 0
            and len(entries) < MAX_OPEN_BATCHES
            and self._bytes[tp] < MAX_OPEN_BYTES
        )

    def floor(self, tp: TopicPartition) -> int | None:
        """Return the offset to commit for a partition, or None while nothing is done."""
        return self._floors.get(tp)

    def floors(self) -> dict[TopicPartition, int]:
        """Return the offsets to commit."""
        return dict(self._floors)

    def open_from(self, tp: TopicPartition) -> int | None:
        """Return where the oldest batch that is not done begins, None if there is none."""
        entries = self._open.get(tp)
        return entries[0].first if entries else None

    def is_queued(self, tp: TopicPartition) -> bool:
        """Return whether some agent has yet to begin the oldest batch that is not done."""
        entries = self._open.get(tp)
        return entries[0].not_begun > 0 if entries else False

    def in_flight(self) -> int:
        """Return how many delivered batches are not done."""
        return sum(len(entries) for entries in self._open.values())

    def forget(self, tps: set[TopicPartition]) -> None:
        """Drop partitions that were given up; a late `done` for them changes nothing."""
        for tp in tps:
            self._open.pop(tp, None)
            self._floors.pop(tp, None)
            self._bytes.pop(tp, None)
