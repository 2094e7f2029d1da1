"""Counts of the ticks that the checks found fault with, per symbol, reason and minute.

So a flood of bad ticks is a dozen small records a minute for each symbol and reason, with the
first bad tick as its sample. Counts are telemetry: after a crash the ticks not yet committed are
counted again, and what was not published yet is lost.
"""

from dataclasses import dataclass
from typing import NamedTuple

from streams.domain.tick_checks import NOTED, SECOND_NS
from streams.models.market import Quote, RefusedTicks, TickReason, Trade

MINUTE_NS = 60 * SECOND_NS
#: A count that grows goes out again this often.
EVERY_NS = 5 * SECOND_NS
SAMPLE_CHARS = 500


class Place(NamedTuple):
    """Where a tick stands on Kafka."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class _Count:
    """One count and its first tick; `sent` of `ticks` are known outside."""

    tick: Trade | Quote
    place: Place
    ticks: int = 1
    sent: int = 0
    sent_ns: int = 0


_Key = tuple[int, int, str, TickReason, str]


class RefusedCounts:
    """The counts of the current minute. Bound: one per symbol, reason and topic."""

    def __init__(self) -> None:
        self._counts: dict[_Key, _Count] = {}

    def add(self, tick: Trade | Quote, reason: TickReason, place: Place, now_ns: int) -> None:
        """Count one tick."""
        minute = now_ns - now_ns % MINUTE_NS
        key = place.partition, minute, tick.symbol, reason, place.topic
        count = self._counts.get(key)
        if count is None:
            self._counts[key] = _Count(tick, place)
        else:
            count.ticks += 1

    def due(self, partition: int, now_ns: int) -> list[RefusedTicks]:
        """Return the counts of a partition that are to be published now; drop finished minutes."""
        found = []
        for key, count in list(self._counts.items()):
            of, minute = key[:2]
            over = minute + MINUTE_NS <= now_ns
            grown = count.ticks > count.sent
            if of == partition and grown and (over or now_ns - count.sent_ns >= EVERY_NS):
                found.append(_message(key, count, now_ns))
                count.sent, count.sent_ns = count.ticks, now_ns
            if over and (of == partition or minute + 10 * MINUTE_NS <= now_ns):
                del self._counts[key]  # those of a partition that was given up go later
        return found


def _message(key: _Key, count: _Count, now_ns: int) -> RefusedTicks:
    _, minute, symbol, reason, _ = key
    sample = count.tick.model_dump_json(exclude_defaults=True)
    return RefusedTicks.model_construct(
        symbol=symbol,
        reason=reason,
        refused=reason not in NOTED,
        ticks=count.ticks,
        ts_minute_ns=minute,
        source_topic=count.place.topic,
        source_partition=count.place.partition,
        source_offset=count.place.offset,
        sample=sample[:SAMPLE_CHARS],
        ts_event_ns=count.tick.ts_event_ns,
        ts_init_ns=now_ns,
    )
