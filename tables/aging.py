"""How records leave a table: noted with the batch that wrote them, swept by the timer."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from streams.domain.aging import DUE, Leaving, due_key
from streams.domain.build import make
from streams.domain.exposure import day_of
from streams.domain.validation import SECOND
from streams.ports import Unit

#: A partition is swept this often; a sweep takes so many records at most: 21 million a day.
SWEEP_EVERY_NS = 2 * SECOND
SWEEP = 500
#: New York's days begin on whole hours UTC.
_HOUR_NS = 3_600 * SECOND


class Sweeps:
    """When each partition was swept, and how far."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        #: The last key that was swept: before it are only deleted ones, which cost time to pass.
        self._reached: dict[int, str] = {}

    def due(self, unit: Unit[Any]) -> bool:
        """Say whether a partition is to be swept now; it is then."""
        if unit.now_ns - self._last.get(unit.partition, 0) < SWEEP_EVERY_NS:
            return False
        self._last[unit.partition] = unit.now_ns
        return True

    def idle_until(self, ts_ns: int) -> int:
        """Return when the next sweep can find something: what is noted is due after some day."""
        return (ts_ns // _HOUR_NS + 1) * _HOUR_NS

    def forget(self, partition: int) -> None:
        """Forget a partition that was given up."""
        self._last.pop(partition, None)
        self._reached.pop(partition, None)

    def records(self, unit: Unit[Any]) -> list[Any]:
        """Return what says that something is due, the oldest first, and delete it.

        At most `SWEEP` records.
        """
        found = list(islice(self._due(unit, unit.now_ns), SWEEP))
        for key, _ in found:
            unit.delete(key)
        return [value for _, value in found]

    def keys(self, unit: Unit[Any], at_ns: int | None = None) -> list[str]:
        """Return the keys that `leave_later` noted and that are due: at most `SWEEP` of them.

        `at_ns` is the time that counts, by default now.
        """
        found: list[str] = []
        for key, value in self._due(unit, unit.now_ns if at_ns is None else at_ns):
            if not isinstance(value, Leaving):
                continue
            left = SWEEP - len(found)
            found += value.keys[:left]
            if len(value.keys) > left:
                unit.put(key, make(Leaving, keys=value.keys[left:]))
                break
            unit.delete(key)
        return found

    def _due(self, unit: Unit[Any], at_ns: int) -> Iterator[tuple[str, Any]]:
        today = day_of(at_ns)
        for key, value in unit.scan(DUE, self._reached.get(unit.partition, "")):
            if key[1:11] >= today:
                return
            self._reached[unit.partition] = key
            yield key, value


def leave_later(unit: Unit[Any], day: str, keys: Iterable[str]) -> None:
    """Note that records are due after a day, in one record for the whole unit."""
    name = due_key(day, f"{unit.now_ns:020d}")
    before = unit.get(name)
    known = before.keys if isinstance(before, Leaving) else ()
    unit.put(name, make(Leaving, keys=tuple(dict.fromkeys((*known, *keys)))))
