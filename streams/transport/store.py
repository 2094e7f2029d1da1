"""The local state of tables: one RocksDB per table partition, behind a small cache.

What an agent puts is visible to it at once, in memory. It reaches the disk only when Kafka has
acknowledged the changelog batch that carries it, in one write batch together with the changelog
offset it goes up to. So the disk never knows more than the changelog does, and a partition that
moves elsewhere finds there all that was ever built on.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from pydantic import TypeAdapter
from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from streams.transport.codec import encode

#: Keys that begin with this byte are the transport's own.
OWN: Final = b"\x00"
#: Where the local store remembers the changelog offset it holds everything below of.
CHANGELOG_KEY: Final = b"\x00\x00changelog"
#: Values that were asked for are kept decoded, so many per table partition; one takes 2 to 8 kB.
CACHE_ENTRIES: Final = 1_200
WRITE_BUFFER_BYTES: Final = 4 * 1024 * 1024
#: Of a worker, over all its table partitions.
ALL_WRITE_BUFFERS_BYTES: Final = 16 * 1024 * 1024
BLOCK_CACHE_BYTES: Final = 16 * 1024 * 1024
#: RocksDB keeps an entry per block in memory, of all that is on the disk.
BLOCK_BYTES: Final = 16 * 1024

Change = tuple[bytes, bytes | None]

_DELETED: Final = object()


def source_key(topic: str) -> bytes:
    """Return the key under which a table remembers how far it has applied a source topic."""
    return OWN + topic.encode()


@cache
def _shared() -> tuple[Cache, WriteBufferManager]:
    return Cache(BLOCK_CACHE_BYTES), WriteBufferManager(ALL_WRITE_BUFFERS_BYTES, allow_stall=False)


def _options() -> Options:
    blocks, buffers = _shared()
    table = BlockBasedOptions()
    table.set_block_cache(blocks)
    table.set_block_size(BLOCK_BYTES)
    table.set_bloom_filter(10, block_based=False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_write_buffer_manager(buffers)
    options.set_max_write_buffer_number(2)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_open_files(64)
    options.set_keep_log_file_num(2)
    options.set_max_background_jobs(2)
    return options


class TablePartition:
    """The state of one partition of a table. One agent writes it, through units of work."""

    def __init__(self, path: Path, adapter: TypeAdapter[Any]) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._db = Rdict(str(path), options=_options())
        self._adapter = adapter
        self._pending: dict[str, Any] = {}
        # A plain dict looks for its oldest key past all that were deleted before it: 2 µs.
        self._cache: OrderedDict[str, Any] = OrderedDict()

    def get(self, key: str) -> Any:
        """Return the value of a key, or None."""
        value = self._pending.get(key)
        if value is not None:
            return None if value is _DELETED else value
        value = self._cache.get(key)
        if value is not None:
            return None if value is _DELETED else value
        raw = self._db.get(key.encode())
        if raw is None:
            self._remember(key, _DELETED)
            return None
        value = self._adapter.validator.validate_json(raw)
        self._remember(key, value)
        return value

    def _remember(self, key: str, value: Any) -> None:
        if len(self._cache) >= CACHE_ENTRIES:
            self._cache.popitem(last=False)
        self._cache[key] = value

    def stage(self, key: str, value: Any) -> Any:
        """Set a value in memory; return what `unstage` needs to take it back."""
        before = self._pending.get(key)
        self._pending[key] = _DELETED if value is None else value
        return before

    def unstage(self, key: str, before: Any) -> None:
        """Take a `stage` back."""
        if before is None:
            del self._pending[key]
        else:
            self._pending[key] = before

    def staged(self, keys: Iterable[str]) -> list[tuple[str, Any]]:
        """Return the staged values of some keys, as `encoded` and `settle` take them."""
        return [(key, self._pending[key]) for key in keys]

    @staticmethod
    def encoded(staged: list[tuple[str, Any]]) -> list[Change]:
        """Return staged values as changelog records; a deletion has no value."""
        return [
            (key.encode(), None if value is _DELETED else encode(value)) for key, value in staged
        ]

    def settle(
        self, staged: list[tuple[str, Any]], changes: list[Change], changelog_offset: int
    ) -> None:
        """Write changes that the changelog holds, up to `changelog_offset` (exclusive)."""
        self._db.write(_batch(changes, changelog_offset))
        known, pending = self._cache, self._pending
        for key, value in staged:
            if key in known:  # what nobody has asked for will hardly be asked for now
                known[key] = value
                known.move_to_end(key)
            if pending.get(key) is value:
                del pending[key]

    def begin_load(self) -> None:
        """Prepare for a restore: compact nothing until it is through."""
        self._db.set_options({"disable_auto_compactions": "true"})

    def load(self, changes: Iterable[Change], changelog_offset: int) -> None:
        """Write raw changelog records, with the offset they go up to.

        They are not in RocksDB's log: should the process be killed before `end_load`, the last
        of them are missing together with their offset, and are read again.
        """
        self._db.write(_batch(changes, changelog_offset), _unlogged())

    def end_load(self) -> None:
        """Put on the disk what was loaded."""
        self._db.flush()
        self._db.set_options({"disable_auto_compactions": "false"})

    def changelog_offset(self) -> int | None:
        """Return the changelog offset below which the disk holds everything, or None."""
        raw = self._db.get(CHANGELOG_KEY)
        return None if raw is None else int(raw)

    def applied(self, topic: str) -> int:
        """Return the offset of a source topic below which the state has everything."""
        raw = self._db.get(source_key(topic))
        return 0 if raw is None else int(raw)

    def scan(
        self, prefix: str = "", needs: bytes = b"", start: str = ""
    ) -> Iterator[tuple[str, Any]]:
        """Yield keys that start with `prefix`, in key order, with their values.

        Values on the disk whose JSON does not contain `needs` are left out, and keys before
        `start`: the disk is slow to get past many that were deleted.
        """
        raw_prefix = prefix.encode()
        staged = {key for key in self._pending if key.startswith(prefix) and key >= start}
        first = max(raw_prefix, start.encode()) or b"\x01"
        rows = cast(Iterator[tuple[bytes, bytes]], self._db.items(from_key=first))
        for raw_key, raw in rows:
            if not raw_key.startswith(raw_prefix):
                break
            key = raw_key.decode()
            for fresh in sorted(name for name in staged if name <= key):
                staged.discard(fresh)
                if self._pending[fresh] is not _DELETED:
                    yield fresh, self._pending[fresh]
            if key not in self._pending and needs in raw:
                yield key, self._adapter.validator.validate_json(raw)
        for fresh in sorted(staged):
            if self._pending.get(fresh, _DELETED) is not _DELETED:
                yield fresh, self._pending[fresh]

    def count(self) -> int:
        """Return about how many keys the partition holds."""
        return int(self._db.property_int_value("rocksdb.estimate-num-keys") or 0)

    def close(self) -> None:
        """Close the files; what was staged and not settled is forgotten."""
        self._pending.clear()
        self._cache.clear()
        self._db.close()


def _batch(changes: Iterable[Change], changelog_offset: int) -> WriteBatch:
    batch = WriteBatch(raw_mode=True)
    for key, value in changes:
        if value is None:
            batch.delete(key)
        else:
            batch.put(key, value)
    batch.put(CHANGELOG_KEY, b"%d" % changelog_offset)
    return batch


@cache
def _unlogged() -> Any:
    options: Any = WriteOptions()  # a property, which its type stub takes for a method
    options.disable_wal = True
    return options
