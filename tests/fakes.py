"""Stand-ins for what the transport gives to agents: everything in memory, nothing random."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from streams.models.base import Message
from streams.ports import Record
from streams.topics import TopicSpec

V = TypeVar("V")


@dataclass(frozen=True)
class Emitted:
    """One record an agent published."""

    topic: str
    key: str
    value: Any
    partition_key: str


@dataclass(frozen=True)
class DeadLetter:
    """One record an agent set aside."""

    record: Record
    code: str
    error: str


@dataclass
class MemoryUnit(Generic[V]):
    """A `ports.Unit` over a dict. Share `state` between units to play several batches."""

    state: dict[str, V] = field(default_factory=dict)
    now_ns: int = 0
    partition: int = 0
    emitted: list[Emitted] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)

    def get(self, key: str) -> V | None:
        """Return the value of a key, or None."""
        return self.state.get(key)

    def put(self, key: str, value: V) -> None:
        """Set the value of a key."""
        self.state[key] = value

    def delete(self, key: str) -> None:
        """Remove a key; a missing one is no error."""
        self.state.pop(key, None)

    def scan(self, prefix: str = "", start: str = "") -> Iterator[tuple[str, V]]:
        """Yield the keys that start with `prefix`, in order and from `start` on, with values."""
        for key in sorted(key for key in self.state if key.startswith(prefix) and key >= start):
            yield key, self.state[key]

    def emit(
        self, topic: TopicSpec, key: str, value: Message, partition_key: str | None = None
    ) -> None:
        """Keep the record in `emitted`."""
        self.emitted.append(Emitted(topic.name, key, value, partition_key or key))

    def dead_letter(self, record: Record, code: str, error: str) -> None:
        """Keep the record in `dead_letters`."""
        self.dead_letters.append(DeadLetter(record, code, error))

    def values(self, topic: TopicSpec) -> list[Any]:
        """Return the values emitted to a topic, in order."""
        return [each.value for each in self.emitted if each.topic == topic.name]
