"""What agents are given and what they give back, without a word of Faust or Kafka.

An agent is an object with one method that turns a record into effects on a `Unit`: table
changes, records for other topics, dead letters. The transport builds the unit, and publishes
what it collected when the batch ends: all table changes of a unit are one record batch on one
changelog partition, so they become durable together or not at all. See `docs/transport.md`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from streams.models.base import Message
from streams.topics import TopicSpec

V = TypeVar("V")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Malformed:
    """Stands for a value that could not be decoded; goes to the dead letters."""

    code: str
    error: str


@dataclass(slots=True)
class Record:
    """One record of a source topic, decoded.

    `topic` is the registry's name, without the namespace. `value` is the decoded message,
    `Malformed`, or None for a null value. `redelivered` says that the agent's table already
    holds the effect of this very record: emit its outputs again, change nothing.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: Any
    raw: bytes | None
    timestamp_ms: int
    headers: Sequence[tuple[str, bytes]] = ()
    redelivered: bool = False


class Unit(Protocol[V]):
    """The unit of work of one batch, of one source partition.

    `now_ns` is read once per batch. `get` sees the puts before it. Keys are strings; the
    partition of the table is the partition of the source. Values are frozen and replaced
    whole, never changed in place.
    """

    now_ns: int
    partition: int

    def get(self, key: str) -> V | None:
        """Return the table's value for a key, or None."""

    def put(self, key: str, value: V) -> None:
        """Set the table's value for a key."""

    def delete(self, key: str) -> None:
        """Remove a key from the table."""

    def scan(self, prefix: str = "", start: str = "") -> Iterator[tuple[str, V]]:
        """Yield the partition's keys that start with `prefix`, in key order, with values.

        From `start` on, if it is given: a scan past many deleted keys takes long.
        """

    def emit(
        self, topic: TopicSpec, key: str, value: Message, partition_key: str | None = None
    ) -> None:
        """Publish a record; its partition follows from `partition_key`, by default from `key`."""

    def dead_letter(self, record: Record, code: str, error: str) -> None:
        """Send a source record to the dead letters: its bytes as they came, and the reason."""


class GivenUpError(Exception):
    """The partition was given up: drop what you are doing; whoever has it now does it anew."""


class Owned(Protocol[V]):
    """A partition that this worker owns, for what an agent does beside its records.

    Each method raises `GivenUpError` when the partition is not this worker's any more.
    """

    partition: int

    async def work(self, do: Callable[[Unit[V]], T]) -> T:
        """Run `do` on a unit of work; return what it returned when Kafka has acknowledged all.

        Nothing else of the agent runs meanwhile, so `do` may read, decide and write; it must not
        block. An error of it takes back what it did.
        """

    async def durable(self) -> None:
        """Return when all that the agent has put and emitted so far is acknowledged."""

    def fence(self) -> None:
        """Call this right before anything that cannot be taken back, with no await between.

        It ends the process if the worker stood still for so long that another one may have the
        partition by now.
        """

    def settled_ns(self) -> int:
        """Return a time before which every unit of this worker's is acknowledged; 0: none yet."""


class Agent(ABC, Generic[V]):
    """A thin carrier around pure functions. Subclasses say In/Out/State/Twice/Bad at their head.

    `step` is called for each record that decoded to a message; it must not block or await.
    It raises nothing for a bad record: that is a refusal or a dead letter.
    """

    #: What the JSON of a value contains that `on_assigned` has to see; the others are not decoded.
    needs: ClassVar[bytes] = b""

    @abstractmethod
    def step(self, unit: Unit[V], record: Record) -> None:
        """Apply one record."""

    def on_batch_end(self, unit: Unit[V]) -> None:
        """Do what is done once per batch, after its last record."""

    def on_timer(self, unit: Unit[V]) -> None:
        """Do what time alone brings; called for each owned partition, about once a second."""

    def quiet_until(self, partition: int, ts_ns: int) -> int:
        """Return a time before which no tick makes it emit, nor the end of a batch; for replays.

        Ticks from `ts_ns` on, in order of time, without corrections, of symbols that came before.
        A time that is not after `ts_ns`: any tick may, so it is given one at a time.
        """
        return ts_ns

    def idle_until(self, partition: int, ts_ns: int) -> int:
        """Return a time before which its timer has nothing to do; asked by replays.

        `ts_ns` is now. A time that is not after it: not known, so the timer runs every second.
        """
        return self.quiet_until(partition, ts_ns)

    async def attend(self, owned: Owned[V]) -> None:
        """Do for an owned partition what awaits, until cancelled: calls to a broker, its stream.

        Begun when the partition was restored and `on_assigned` has run.
        """

    def on_assigned(self, partition: int, state: Iterable[tuple[str, V]]) -> None:
        """Rebuild what is derived from the table; called when a partition was restored.

        It runs beside the event loop, in a thread, and nothing else of the agent meanwhile.
        """

    def on_revoked(self, partition: int) -> None:
        """Forget what was derived for a partition."""


class BulkAgent(Agent[V]):
    """An agent that is given many records at once, where calls would cost more than the work.

    `fold` raises nothing for a bad record, and has put all that it changed when it returns. If it
    does raise, all of it is taken back, `on_assigned` is called, and the records come one by one.
    """

    def at_once(self, topic: str) -> int:
        """Return how many records of a topic it is given at once at most: milliseconds of work."""
        return 2_000

    @abstractmethod
    def fold(self, unit: Unit[V], records: Sequence[Record]) -> None:
        """Apply records of one topic and partition, in offset order."""

    def step(self, unit: Unit[V], record: Record) -> None:
        """Apply one record."""
        self.fold(unit, (record,))


class AsyncAgent(ABC, Generic[V]):
    """An agent whose work needs awaiting: a broker, a database. It gets whole batches.

    `handle` returns when the batch's effects outside Kafka are durable. Records that did not
    decode have gone to the dead letters before.
    """

    @property
    def waits_for(self) -> str:
        """Return what the agent waits for at the moment, far away; empty while it works.

        Without this, a worker whose agent makes no progress ends itself after a while. So it must
        turn empty again, or the wait be one that a restart would not end.
        """
        return ""

    @abstractmethod
    async def handle(self, unit: Unit[V], records: Sequence[Record]) -> None:
        """Apply the records of one partition, in offset order."""

    async def on_partitions(self, partitions: set[tuple[str, int]]) -> None:
        """Prepare for the (topic, partition) pairs that were just assigned."""
