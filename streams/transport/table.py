"""The Faust table in front of our local state, and how it is restored.

To readers and views it is an ordinary Faust table. Only its agent writes, through units of work;
`table[key] = value` raises. A key's partition is that of its first part, `account|order` by
`account`, because that is what the source topic is keyed by.
"""

import asyncio
import ctypes
import threading
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.stores.base import Store as FaustStore
from faust.tables.manager import TableManager as FaustTableManager
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from faust.tables.table import Table as FaustTable
from faust.types import TP
from mode import Service

from streams import clock
from streams.partitioner import partition_of
from streams.transport.fatal import die
from streams.transport.store import Change, TablePartition
from tables.base import TableSpec

log = structlog.get_logger(__name__)

#: Read at once in a restore, over all partitions: more only fills the memory.
RESTORE_FETCH_BYTES = 4 * 1024 * 1024

#: Called with a partition that was restored, or given up.
PartitionHook = Callable[[int], None]


class Store(FaustStore[str, Any]):
    """The partitions of one table that this worker owns."""

    def __init__(self, *args: Any, spec: TableSpec, folder: Path, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spec = spec
        self.folder = folder
        self.partitions: dict[int, TablePartition] = {}
        self.adapter = spec.adapter()
        self.on_opened: PartitionHook | None = None
        self.on_closed: PartitionHook | None = None
        #: Partitions that the agent has taken up.
        self.taken: set[int] = set()
        self._taking = threading.Lock()
        self._given_up = False

    def open(self, partition: int) -> TablePartition:
        """Open a partition's local state."""
        if partition not in self.partitions:
            path = self.folder / self.spec.name / str(partition)
            self.partitions[partition] = TablePartition(path, self.adapter)
        return self.partitions[partition]

    def close_all(self) -> None:
        """Close every partition; those that stay assigned are opened again."""
        self._given_up = True
        with self._taking:  # the agent, should it be reading one in its thread, stops at once
            self._given_up = False
        self.taken.clear()
        for partition in list(self.partitions):
            if self.on_closed is not None:
                self.on_closed(partition)
            self.partitions.pop(partition).close()

    def persisted_offset(self, tp: TP) -> int | None:
        """Return nothing to Faust's own recovery; ours asks the partition."""
        return None

    def _of(self, key: object) -> TablePartition | None:
        changelog = cast(Table, self.table).changelog_topic_name
        count = self.app.consumer.topic_partitions(changelog)
        if not count:
            return None
        return self.partitions.get(partition_of(str(key).partition("|")[0].encode(), count))

    def __getitem__(self, key: str) -> Any:
        owner = self._of(key)
        value = owner.get(key) if owner is not None else None
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        raise TypeError(f"table {self.spec.name} is written by {self.spec.written_by} alone")

    def __delitem__(self, key: str) -> None:
        raise TypeError(f"table {self.spec.name} is written by {self.spec.written_by} alone")

    def __contains__(self, key: object) -> bool:
        owner = self._of(key)
        return owner is not None and owner.get(str(key)) is not None

    def __iter__(self) -> Iterator[str]:
        for partition in list(self.partitions.values()):
            for key, _ in partition.scan():
                yield key

    def __len__(self) -> int:
        return sum(partition.count() for partition in self.partitions.values())

    def scan(self, prefix: str) -> Iterator[tuple[str, Any]]:
        """Yield the keys under a prefix that names the whole first part, as in `account|`."""
        owner = self._of(prefix)
        yield from owner.scan(prefix) if owner is not None else ()

    def keys(self) -> KeysView[str]:
        """Return the keys this worker owns."""
        return KeysView(self)

    def values(self) -> ValuesView[Any]:
        """Return the values this worker owns."""
        return ValuesView(self)

    def items(self) -> ItemsView[str, Any]:
        """Return the keys this worker owns, with values."""
        return ItemsView(self)

    def clear(self) -> None:
        """Refuse: only the table's agent writes."""
        raise TypeError(f"table {self.spec.name} is written by {self.spec.written_by} alone")

    def reset_state(self) -> None:
        """Keep the state: it is true to the changelog at any time."""

    def apply_changelog_batch(self, *args: Any, **kwargs: Any) -> None:
        """Take nothing from Faust's own recovery; ours loads the state."""

    async def backup_partition(
        self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1
    ) -> None:
        """Refuse: the changelog is the backup."""
        raise TypeError(f"table {self.spec.name} is kept by its changelog topic")

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        """Refuse: the changelog is the backup."""
        raise TypeError(f"table {self.spec.name} is kept by its changelog topic")

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Tell the agent which partitions are there now.

        Faust drops what is raised here; an agent must not go on with half of what it knew.
        """
        try:
            for tp in sorted(active_tps):
                await asyncio.to_thread(self._take, tp.partition)
        except Exception as error:
            die(f"table {self.spec.name} was restored, but its agent could not take it up", error)

    def _take(self, partition: int) -> None:
        """Let the agent read a partition. It may take long, and the worker must not be silent."""
        with self._taking, suppress(_GivenUpError):
            if self.on_opened is not None:
                self.on_opened(partition)
            self.taken.add(partition)

    def rows(self, partition: int, needs: bytes) -> Iterator[tuple[str, Any]]:
        """Yield what an agent needs of a partition it takes up; stops when it is given up."""
        for row in self.open(partition).scan(needs=needs):
            if self._given_up:
                raise _GivenUpError
            yield row

    async def on_stop(self) -> None:
        """Close the files."""
        self.close_all()


class _GivenUpError(Exception):
    """The partition that is being taken up was given up."""


class Table(FaustTable[str, Any]):
    """A Faust table over `Store`."""

    def __init__(
        self, app: Any, *, spec: TableSpec, folder: Path, changelog: str, **kw: Any
    ) -> None:
        self.spec = spec
        self.folder = folder
        self._changelog_name = changelog
        super().__init__(app, name=spec.name, key_type=bytes, value_type=bytes, **kw)

    def info(self) -> dict[str, Any]:
        """Return what it takes to make an equal table."""
        return {**super().info(), "spec": self.spec, "folder": self.folder}

    def _new_store(self) -> Any:
        return Store(
            "rocksdb://",
            self.app,
            self,
            table_name=self.name,
            loop=self.loop,
            spec=self.spec,
            folder=self.folder,
        )

    def _changelog_topic_name(self) -> str:
        return self._changelog_name

    @property
    def local(self) -> Store:
        """Return the partitions that this worker owns."""
        return cast(Store, self.data)


class TableRecovery(Recovery):
    """Restores tables in bulk, straight from the changelog to the local store.

    It reads to the end that the changelog had when it began, by position: a changelog whose
    last record was compacted away is complete all the same.
    """

    #: Records read since the process began: by them a restore is seen to go on.
    restored = 0

    def _count(self, records: int) -> None:
        self.restored += records

    @Service.task
    async def _restart_recovery(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(self.signal_recovery_start):  # type: ignore[arg-type]
                break
            self.signal_recovery_start.clear()
            generation_id = self._generation_id
            try:
                await self._recover(generation_id)
            except RebalanceAgain:
                continue
            except ServiceStopped:
                break
            except Exception as error:
                die("tables could not be restored", error)

    async def _recover(self, generation_id: int) -> None:
        if not self.tables:
            await self._resume_streams(generation_id=generation_id)
            return
        self._set_recovery_started()
        targets = {
            tp: cast(Table, self.tp_to_table[tp]).local.open(tp.partition)
            for tp in sorted(self.active_tps)
        }
        await self._wait(self._restore(targets))
        await self._wait(self.on_recovery_completed(generation_id))
        _give_back_memory()

    async def _restore(self, targets: dict[TP, TablePartition]) -> None:
        behind = await self._behind(targets)
        if behind:
            await restore(self.app.conf.broker_consumer, behind, self._count)

    async def _behind(
        self, targets: dict[TP, TablePartition]
    ) -> dict[TopicPartition, tuple[TablePartition, int, int]]:
        ends = await self.app.consumer.highwaters(*targets) if targets else {}
        starts = await self.app.consumer.earliest_offsets(*targets) if targets else {}
        behind = {}
        for tp, state in targets.items():
            known, end = state.changelog_offset(), ends[tp]
            if known is not None and known > end:
                die(
                    f"the local state of {tp.topic}/{tp.partition} knows offset {known}, Kafka "
                    f"ends at {end}: this Kafka is not the one that the state belongs to; "
                    "delete the folder `tables` in the data folder to build it anew"
                )
            start = max(known or 0, starts[tp])
            if start < end:
                behind[TopicPartition(tp.topic, tp.partition)] = (state, start, end)
        return behind

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Do nothing: `_restore` reads the changelogs."""

    @Service.task
    async def _publish_stats(self) -> None:
        """Do nothing: `restore` logs its progress."""


def _give_back_memory() -> None:
    """Return to the system what the restore has used; glibc would keep a good part of it."""
    with suppress(OSError, AttributeError):  # other C libraries have no such call
        ctypes.CDLL(None).malloc_trim(0)


async def restore(
    brokers: Any,
    behind: dict[TopicPartition, tuple[TablePartition, int, int]],
    on_records: Callable[[int], None],
) -> None:
    """Load changelog partitions into local state, each from its start to its end offset.

    `on_records` is called with how many were loaded, again and again.
    """
    servers = [f"{url.host}:{url.port or 9092}" for url in brokers]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        enable_auto_commit=False,
        max_partition_fetch_bytes=RESTORE_FETCH_BYTES,
        fetch_max_bytes=RESTORE_FETCH_BYTES,
        fetch_max_wait_ms=50,
    )
    total = sum(end - start for _, start, end in behind.values())
    began = reported = clock.monotonic()
    left = dict(behind)
    for state, _, _ in behind.values():
        state.begin_load()
    await consumer.start()
    try:
        consumer.assign(list(left))
        for tp, (_, start, _end) in left.items():
            consumer.seek(tp, start)
        while left:
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                if tp in left:
                    changes: list[Change] = [(r.key or b"", r.value) for r in records]
                    left[tp][0].load(changes, records[-1].offset + 1)
                    on_records(len(changes))
            for tp in [tp for tp in left if await consumer.position(tp) >= left[tp][2]]:
                left[tp][0].load((), left[tp][2])
                left[tp][0].end_load()
                consumer.pause(tp)
                del left[tp]
            if clock.monotonic() - reported > 5:
                reported = clock.monotonic()
                log.info("table_restore_progress", partitions_left=len(left), records=total)
    finally:
        await consumer.stop()
    seconds = round(clock.monotonic() - began, 3)
    log.info("table_restore_done", partitions=len(behind), records=total, seconds=seconds)


class TableManager(FaustTableManager):
    """Faust's table manager with our recovery."""

    @property
    def recovery(self) -> Recovery:
        """Return the recovery service."""
        if self._recovery is None:
            self._recovery = TableRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def on_start(self) -> None:
        """Start at once; our tables are all known before the app starts."""
        await self._update_channels()
        await self.recovery.start()
