"""The local state of tables: one RocksDB per table partition, behind a small cache.

What an agent puts is visible to it at once, in memory. It reaches the disk only when Kafka has
acknowledged the changelog batch that carries it, in one write batch together with the changelog
offset it goes up to. So the disk never knows more than the changelog does, and a partition that
moves elsewhere finds there all that was ever built on.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, cast

from pydantic import BaseModel, TypeAdapter
from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch

from streams.transport.codec import encode

#: Keys that begin with this byte are the transport's own.
OWN: Final = b"\x00"
#: Where the local store remembers the changelog offset it holds everything below of.
CHANGELOG_KEY: Final = b"\x00\x00changelog"
#: Decoded values kept in memory, per table partition.
CACHE_ENTRIES: Final = 5_000
WRITE_BUFFER_BYTES: Final = 4 * 1024 * 1024
BLOCK_CACHE_BYTES: Final = 32 * 1024 * 1024

Change = tuple[bytes, bytes | None]

_DELETED: Final = object()
_blocks: list[Cache] = []


def source_key(topic: str) -> bytes:
    """Return the key under which a table remembers how far it has applied a source topic."""
    return OWN + topic.encode()


def _options() -> Options:
    if not _blocks:
        _blocks.append(Cache(BLOCK_CACHE_BYTES))
    table = BlockBasedOptions()
    table.set_block_cache(_blocks[0])
    table.set_bloom_filter(10, block_based=False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
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
        self._cache: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """Return the value of a key, or None."""
        if key in self._pending:
            value = self._pending[key]
            return None if value is _DELETED else value
        if key in self._cache:
            return self._cache[key]
        raw = self._db.get(key.encode())
        if raw is None:
            return None
        return self._remember(key, self._adapter.validate_json(raw))

    def _remember(self, key: str, value: Any) -> Any:
        if len(self._cache) >= CACHE_ENTRIES:
            del self._cache[next(iter(self._cache))]
        self._cache[key] = value
        return value

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
            (key.encode(), None if value is _DELETED else _dump(value)) for key, value in staged
        ]

    def settle(
        self, staged: list[tuple[str, Any]], changes: list[Change], changelog_offset: int
    ) -> None:
        """Write changes that the changelog holds, up to `changelog_offset` (exclusive)."""
        self.load(changes, changelog_offset)
        for key, value in staged:
            self._cache.pop(key, None)
            if value is not _DELETED:
                self._remember(key, value)
            if self._pending.get(key) is value:
                del self._pending[key]

    def load(self, changes: Iterable[Change], changelog_offset: int) -> None:
        """Write raw changelog records to the disk, with the offset they go up to."""
        batch = WriteBatch(raw_mode=True)
        for key, value in changes:
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(CHANGELOG_KEY, b"%d" % changelog_offset)
        self._db.write(batch)

    def changelog_offset(self) -> int | None:
        """Return the changelog offset below which the disk holds everything, or None."""
        raw = self._db.get(CHANGELOG_KEY)
        return None if raw is None else int(raw)

    def applied(self, topic: str) -> int:
        """Return the offset of a source topic below which the state has everything."""
        raw = self._db.get(source_key(topic))
        return 0 if raw is None else int(raw)

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Yield keys that start with `prefix`, in key order, with their values."""
        start = prefix.encode()
        staged = {key for key in self._pending if key.startswith(prefix)}
        rows = cast(Iterator[tuple[bytes, bytes]], self._db.items(from_key=start or b"\x01"))
        for raw_key, raw in rows:
            if not raw_key.startswith(start):
                break
            key = raw_key.decode()
            for fresh in sorted(name for name in staged if name <= key):
                staged.discard(fresh)
                if self._pending[fresh] is not _DELETED:
                    yield fresh, self._pending[fresh]
            if key not in self._pending:
                yield key, self._cache.get(key) or self._adapter.validate_json(raw)
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


def _dump(value: BaseModel) -> bytes:
    return encode(value)
