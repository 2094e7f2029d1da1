"""What was fetched and not yet delivered, partition by partition, in offset order.

Fetched records are taken out of the client at once, because while it holds any it fetches
nothing for the others. They wait here until the agents have begun on what they were given
before; so under load a delivery is large, and without load it is what just came.
"""

from collections.abc import Sequence
from typing import Any

from faust.types import TP


class Backlog:
    """The records that wait, of all partitions of a worker."""

    def __init__(self) -> None:
        self._records: dict[TP, list[Any]] = {}
        self._bytes: dict[TP, int] = {}

    def add(self, tp: TP, records: Sequence[Any], due: int) -> None:
        """Append what was fetched; what lies below `due` or is here already is left out."""
        waiting = self._records.setdefault(tp, [])
        due = max(due, waiting[-1].offset + 1) if waiting else due
        fresh = [record for record in records if record.offset >= due]
        waiting += fresh
        self._bytes[tp] = self._bytes.get(tp, 0) + _size(fresh)

    def take(self, tp: TP, at_most: int) -> list[Any]:
        """Remove and return the first records of a partition."""
        waiting = self._records.get(tp, [])
        taken, left = waiting[:at_most], waiting[at_most:]
        if left:
            self._records[tp] = left
            self._bytes[tp] -= _size(taken)
        else:
            self._records.pop(tp, None)
            self._bytes.pop(tp, None)
        return taken

    def first_of(self, tp: TP) -> int | None:
        """Return the offset of the first record that waits of a partition, None if none does."""
        waiting = self._records.get(tp)
        return waiting[0].offset if waiting else None

    def waiting(self) -> list[TP]:
        """Return the partitions of which something waits; the one that waits longest first."""
        return list(self._records)

    def bytes_of(self, tp: TP) -> int:
        """Return how many bytes of keys and values wait of a partition."""
        return self._bytes.get(tp, 0)

    def clear(self) -> None:
        """Drop everything: it will be fetched again by whoever has the partitions then."""
        self._records.clear()
        self._bytes.clear()


def _size(records: Sequence[Any]) -> int:
    return sum(len(record.key or b"") + len(record.value or b"") for record in records)
