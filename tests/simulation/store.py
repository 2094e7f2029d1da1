"""A table partition in memory, with the manners of `streams.transport.store.TablePartition`.

`disk` is what survives a crash of the process: it is written when a unit is settled, that is when
its changes are in the changelog. `pending` dies with the process.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter

from streams.transport.codec import encode

_DELETED: Final = object()


class Changes(NamedTuple):
    """The changes of one unit: one record batch of a changelog partition."""

    rows: list[tuple[str, Any]]
    applied: dict[str, int]


class MemoryPartition:
    """The local state of one table partition. `adapter`: values pass through their JSON."""

    def __init__(self, adapter: TypeAdapter[Any] | None = None) -> None:
        self.disk: dict[str, Any] = {}
        self.marks: dict[str, int] = {}
        self.upto = 0
        self._pending: dict[str, Any] = {}
        self._adapter = adapter

    def copy(self) -> "MemoryPartition":
        """Return the same in another place."""
        other = MemoryPartition(self._adapter)
        other.disk, other.marks, other.upto = dict(self.disk), dict(self.marks), self.upto
        other._pending = dict(self._pending)
        return other

    def get(self, key: str) -> Any:
        """Return the value of a key, or None."""
        value = self._pending.get(key)
        if value is None:
            return self.disk.get(key)
        return None if value is _DELETED else value

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
        """Return the staged values of some keys, as the changelog takes them."""
        return [(key, self._pending[key]) for key in keys]

    def settle(self, changes: Changes, upto: int) -> None:
        """Write changes that the changelog holds below `upto` to the disk."""
        self._write(changes)
        self.upto = upto
        for key, value in changes.rows:
            if self._pending.get(key) is value:
                del self._pending[key]

    def catch_up(self, changelog: list[Changes]) -> None:
        """Forget what was staged, and read the changelog to its end."""
        self._pending.clear()
        for changes in changelog[self.upto :]:
            self._write(changes)
        self.upto = len(changelog)

    def _write(self, changes: Changes) -> None:
        for key, value in changes.rows:
            if value is _DELETED:
                self.disk.pop(key, None)
            elif self._adapter is None:
                self.disk[key] = value
            else:
                self.disk[key] = self._adapter.validate_json(encode(value))
        self.marks |= changes.applied

    def applied(self, topic: str) -> int:
        """Return the offset of a source topic below which the state has everything."""
        return self.marks.get(topic, 0)

    def rows(self) -> dict[str, Any]:
        """Return all keys with their values, in no order."""
        if not self._pending:
            return self.disk
        both = {**self.disk, **self._pending}
        return {key: value for key, value in both.items() if value is not _DELETED}

    def scan(
        self, prefix: str = "", needs: bytes = b"", start: str = ""
    ) -> Iterator[tuple[str, Any]]:
        """Yield keys that start with `prefix`, in key order, with their values.

        Values on the disk whose JSON does not contain `needs` are left out, and keys before
        `start`.
        """
        keys: Iterable[str] = {*self.disk, *self._pending} if self._pending else self.disk
        if prefix or start:
            keys = [key for key in keys if key.startswith(prefix) and key >= start]
        for key in sorted(keys):
            if key in self._pending:
                if self._pending[key] is not _DELETED:
                    yield key, self._pending[key]
            elif not needs or needs in encode(self.disk[key]):
                yield key, self.disk[key]
