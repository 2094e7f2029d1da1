"""The unit of work of a batch: what an agent changes and publishes, collected in memory.

A unit takes in whole records: one that raises leaves no trace in it. When the batch ends, or the
unit has grown large, the publisher sends it.
"""

import re
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

from streams.models.base import Message
from streams.ports import Record
from streams.topics import DEAD_LETTERS, TopicSpec
from streams.transport.codec import encode
from streams.transport.sender import Headers, Out, size_of
from streams.transport.store import TablePartition

V = TypeVar("V")

#: A unit that has changed more keys than this, or emitted more records, is published.
MAX_CHANGES = 2_000
MAX_OUTPUTS = 4_000
#: The topic takes records of a megabyte, the headers with the reason included.
MAX_DEAD_LETTER_BYTES = 990_000

#: (topic, partition key) and the record; the publisher finds the partition.
Output = tuple[TopicSpec, bytes, Out]


class UnitOfWork:
    """What an agent did with the records of one partition. Implements `streams.ports.Unit`."""

    def __init__(
        self,
        agent: str,
        partition: int,
        now_ns: int,
        state: TablePartition | None,
        silent_on: frozenset[str] = frozenset(),
    ) -> None:
        """`silent_on` are topics whose bad records another agent sends to the dead letters."""
        self.silent_on = silent_on
        self.agent = agent
        self.partition = partition
        self.now_ns = now_ns
        self.state = state
        self.changed: dict[str, None] = {}
        self.outputs: list[Output] = []
        self.applied: dict[str, int] = {}
        self.dead_letters = 0
        self._undo: list[tuple[str, Any]] = []
        self._mark = 0

    # What agents use: see `streams.ports.Unit`.

    def get(self, key: str) -> Any:
        """Return the table's value for a key, or None."""
        return (self.state or self._no_table()).get(key)

    def put(self, key: str, value: Any) -> None:
        """Set the table's value for a key."""
        self._undo.append((key, (self.state or self._no_table()).stage(key, value)))
        self.changed[key] = None

    def delete(self, key: str) -> None:
        """Remove a key from the table."""
        self.put(key, None)

    def scan(self, prefix: str = "", start: str = "") -> Iterator[tuple[str, Any]]:
        """Yield the partition's keys that start with `prefix`, with their values."""
        return (self.state or self._no_table()).scan(prefix, start=start)

    def emit(
        self, topic: TopicSpec, key: str, value: Message, partition_key: str | None = None
    ) -> None:
        """Publish a record when the unit is done."""
        raw_key = key.encode()
        by = raw_key if partition_key is None else partition_key.encode()
        self.outputs.append((topic, by, Out(raw_key, encode(value))))

    def dead_letter(self, record: Record, code: str, error: str) -> None:
        """Send a source record to the dead letters: its bytes as they came, and the reason."""
        if record.topic not in self.silent_on:
            self.set_aside(record, code, error)

    def set_aside(self, record: Record, code: str, error: str) -> None:
        """Send a source record to the dead letters whoever else might do so."""
        self.dead_letters += 1
        key, raw, own = _fitting(record)
        out = Out(key, raw, own + _reason(record, self.agent, code, error))
        self.outputs.append((DEAD_LETTERS, key or b"", out))

    def _no_table(self) -> NoReturn:
        raise LookupError(f"agent {self.agent} has no table")

    # What the runner uses.

    def begin(self) -> None:
        """Mark the start of a record."""
        self._undo.clear()
        self._mark = len(self.outputs)

    def finish(self, record: Record) -> None:
        """Mark a record as applied."""
        self.applied[record.topic] = record.offset + 1

    def roll_back(self) -> None:
        """Take back what was done since `begin`."""
        for key, before in reversed(self._undo):
            (self.state or self._no_table()).unstage(key, before)
            if before is None:
                self.changed.pop(key, None)
        self._undo.clear()
        del self.outputs[self._mark :]

    def is_full(self) -> bool:
        """Return whether the unit should be published before it takes more records."""
        return len(self.changed) >= MAX_CHANGES or len(self.outputs) >= MAX_OUTPUTS


def _fitting(record: Record) -> tuple[bytes | None, bytes, Headers]:
    """Return key, value and headers of a source record as a dead letter can hold them.

    That is as they came, without the headers that an earlier dead letter gave it. A record that
    leaves no room for the reason is cut, and `orderflow.cut` tells how large it was.
    """
    key, raw = record.key, record.raw or b""
    own = [
        (name, value)
        for name, value in record.headers
        if not name.startswith(("__streams.", "orderflow."))
    ]
    size = size_of(key, raw, own)
    if size <= MAX_DEAD_LETTER_BYTES:
        return key, raw, own
    key = None if key is None else key[:1_000]
    return key, raw[: MAX_DEAD_LETTER_BYTES - 2_000], [("orderflow.cut", b"%d" % size)]


def _reason(record: Record, agent: str, code: str, error: str) -> Headers:
    """Return the headers of a dead letter: KIP-1034's names, and ours."""
    return [
        ("__streams.errors.exception", code.encode()),
        ("__streams.errors.message", error.encode()[:1000]),
        ("__streams.errors.topic", record.topic.encode()),
        ("__streams.errors.partition", b"%d" % record.partition),
        ("__streams.errors.offset", b"%d" % record.offset),
        ("orderflow.code", code.encode()),
        ("orderflow.agent", agent.encode()),
        ("orderflow.timestamp", b"%d" % record.timestamp_ms),
        *_redrive(record),
    ]


def _redrive(record: Record) -> Headers:
    """Return how often a record was sent again, and which dead letter it was before.

    Anyone can write these headers, so only a number and a place are taken from them.
    """
    given = dict(record.headers)
    attempt, letter = given.get("orderflow.attempt") or b"", given.get("orderflow.redrive") or b""
    if not re.fullmatch(rb"[1-9]\d{0,2}", attempt) or not re.fullmatch(rb"\d+:\d{1,20}", letter):
        return [("orderflow.attempt", b"0")]
    return [("orderflow.attempt", attempt), ("orderflow.redrive", letter)]


def describe(error: BaseException) -> str:
    """Return an exception and where it was raised, in one line."""
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" at {frame[0].filename.rsplit('/', 1)[-1]}:{frame[0].lineno}" if frame else ""
    return f"{type(error).__name__}: {error}{where}"
