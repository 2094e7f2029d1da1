"""What an agent is given in a replay: a unit of work over a table in memory."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from streams.models.base import Message
from streams.ports import Record
from streams.topics import DEAD_LETTERS, TopicSpec
from streams.transport.codec import encode


class Output(NamedTuple):
    """One record that an agent wrote; `value` are bytes in a dead letter."""

    topic: TopicSpec
    key: str
    partition_key: str
    value: Any
    headers: Sequence[tuple[str, str]] = ()
    #: The tick that a dead letter is about; None for all else.
    source: Record | None = None


class Rows(dict[str, Any]):
    """A table's partition: keys with values, read in key order."""

    def scan(self, prefix: str = "", start: str = "") -> Iterator[tuple[str, Any]]:
        """Yield the keys that start with a prefix, from `start` on, in order."""
        for key in sorted(key for key in self if key >= start and key.startswith(prefix)):
            if key in self:
                yield key, self[key]


class ReplayUnit:
    """Implements `streams.ports.Unit`; what an agent did can be taken back."""

    __slots__ = ("_undo", "agent", "now_ns", "outputs", "partition", "rows", "silent_on")

    def __init__(
        self, agent: str, partition: int, now_ns: int, rows: Rows, silent_on: frozenset[str]
    ) -> None:
        """`silent_on` are topics whose bad records another agent sends to the dead letters."""
        self.agent = agent
        self.partition = partition
        self.now_ns = now_ns
        self.rows = rows
        self.silent_on = silent_on
        self.outputs: list[Output] = []
        self._undo: list[tuple[str, Any]] = []

    def get(self, key: str) -> Any:
        """Return the table's value for a key, or None."""
        return self.rows.get(key)

    def put(self, key: str, value: Any) -> None:
        """Set the table's value for a key."""
        self._undo.append((key, self.rows.get(key)))
        self.rows[key] = value

    def delete(self, key: str) -> None:
        """Remove a key from the table."""
        self._undo.append((key, self.rows.pop(key, None)))

    def scan(self, prefix: str = "", start: str = "") -> Iterator[tuple[str, Any]]:
        """Yield the partition's keys that start with `prefix`, in key order, with values."""
        return self.rows.scan(prefix, start)

    def emit(
        self, topic: TopicSpec, key: str, value: Message, partition_key: str | None = None
    ) -> None:
        """Write a record."""
        by = key if partition_key is None else partition_key
        self.outputs.append(Output(topic, key, by, value))

    def dead_letter(self, record: Record, code: str, error: str) -> None:
        """Send a source record to the dead letters, unless another agent does."""
        if record.topic not in self.silent_on:
            self.set_aside(record, code, error)

    def set_aside(self, record: Record, code: str, error: str) -> None:
        """Send a source record to the dead letters."""
        raw = record.raw if record.raw is not None else encode(record.value)
        key = (record.key or b"").decode()
        said = (
            ("orderflow.code", code),
            ("orderflow.agent", self.agent),
            ("__streams.errors.message", error[:1000]),
            ("__streams.errors.topic", record.topic),
            ("__streams.errors.partition", str(record.partition)),
            ("__streams.errors.offset", str(record.offset)),
        )
        self.outputs.append(Output(DEAD_LETTERS, key, key, raw, said, record))

    def roll_back(self) -> None:
        """Take back all that was done."""
        for key, before in reversed(self._undo):
            if before is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = before
        self._undo.clear()
        self.outputs.clear()
