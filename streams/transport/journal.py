"""What is under way, written where it survives the process: who died of which record is counted.

A record that raises is set aside by the runner. One that ends the process - a crash in native
code, memory that runs out, `os._exit` - would come again after the restart, for ever. So a worker
writes which record it is about to step into a file that is mapped into its memory: the kernel
keeps what a killed process wrote, and writing it costs less than a microsecond. The next start
reads it and counts a death; a record with `MAX_DEATHS` goes to the dead letters (`CRASHED_WORKER`).

An agent that folds has many records under way; the record is looked for one by one after a death.
An agent that awaits has whole batches under way. A range that a process died in is handled alone
and in parts from then on, each a sixteenth, so that the journal names fewer records each time,
and in the end one.

A kill from outside names whatever was under way, or nothing. So a count is forgotten as soon as
the record got through, and a worker that gives up by itself (exit code 70: Kafka, the disk) or
ends in order names nothing. Counts are a worker's own: they stay with its folder.
"""

import atexit
import json
import mmap
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

import structlog

from streams.ports import Record
from streams.transport import fatal
from streams.transport.gate import Gate

log = structlog.get_logger(__name__)

#: A record that was under way at so many deaths is set aside.
MAX_DEATHS = 3
#: Into so many parts a range is cut that a process died in.
PARTS = 16
#: More are not remembered; the oldest go first.
MAX_SUSPECTS = 1_000
CRASHED_WORKER = "CRASHED_WORKER"
#: Stands for an agent where records are decoded, once for all agents that get them.
DECODER = "the decoder"

#: Lane (0: nothing), records, first offset.
_SLOT = struct.Struct("<IIQ")
_SLOTS = 1_024
_STEPPING = 0

Lane = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Suspect:
    """Offsets `first` to `end` (exclusive) that an agent was at when the process died."""

    agent: str
    topic: str
    partition: int
    first: int
    end: int
    deaths: int = 0

    @property
    def lane(self) -> Lane:
        """Return whose and where it is."""
        return self.agent, self.topic, self.partition

    @property
    def is_condemned(self) -> bool:
        """Return whether it is one record, and more deaths than are tolerated."""
        return self.end - self.first == 1 and self.deaths >= MAX_DEATHS

    def holds(self, other: "Suspect") -> bool:
        """Return whether the other one lies within this one."""
        return self.lane == other.lane and self.first <= other.first and other.end <= self.end


def after_death(suspects: Iterable[Suspect], under_way: Iterable[Suspect]) -> list[Suspect]:
    """Return the suspects after a death with these under way: narrower, and a death more."""
    found = list(suspects)
    for place in under_way:
        before = [suspect for suspect in found if suspect.holds(place)]
        found = [suspect for suspect in found if suspect not in before]
        deaths = max((suspect.deaths for suspect in before), default=0)
        found.append(replace(place, deaths=deaths + 1))
    return found[-MAX_SUSPECTS:]


class Journal:
    """The journal of a worker. Until `attach` it remembers nothing beyond the process."""

    def __init__(self) -> None:
        self.suspects: list[Suspect] = []
        self._slots: bytearray | mmap.mmap = bytearray(_SLOT.size * _SLOTS)
        self._free = list(range(_SLOTS - 1, _STEPPING, -1))
        self._lanes: dict[Lane, int] = {}
        self._gate = Gate()
        self._folder: Path | None = None

    def attach(self, folder: Path) -> None:
        """Count what was under way when the process before this one died, and begin anew."""
        folder.mkdir(parents=True, exist_ok=True)
        under_way = _under_way(folder)
        for place in under_way:
            log.warning("died_on", **asdict(place))
        self._folder = folder
        self.suspects = after_death(_known(folder), under_way)
        self._save()
        (folder / "journal.lanes").write_text("")
        with (folder / "journal").open("w+b") as file:
            file.truncate(_SLOT.size * _SLOTS)
            self._slots = mmap.mmap(file.fileno(), _SLOT.size * _SLOTS)
        fatal.before_the_end(self.clear)
        atexit.register(self.clear)

    def clear(self) -> None:
        """Name nothing: what ends the process now is not a record."""
        self._slots[:] = bytes(_SLOT.size * _SLOTS)

    def lane(self, agent: str, topic: str, partition: int) -> int:
        """Return the number of an agent's partition."""
        lane = (agent, topic, partition)
        if lane not in self._lanes:
            if self._folder is not None:
                with (self._folder / "journal.lanes").open("a") as file:
                    file.write(json.dumps(lane) + "\n")
            self._lanes[lane] = len(self._lanes) + 1
        return self._lanes[lane]

    # Agents that step: one record at a time in the whole worker, because a step does not await.

    def stepping(self, lane: int, offset: int) -> None:
        """Name the record that is about to be stepped."""
        _SLOT.pack_into(self._slots, 0, lane, 1, offset)

    def folding(self, lane: int, first: int, end: int) -> None:
        """Name the records that are about to be given to an agent at once."""
        _SLOT.pack_into(self._slots, 0, lane, end - first, first)

    def idle(self) -> None:
        """Name no record: none is being stepped."""
        _SLOT.pack_into(self._slots, 0, 0, 0, 0)

    # Decoding: a batch at once, a record at a time while anything is suspected.

    @contextmanager
    def decoding(
        self, topic: str, partition: int, first: int, end: int
    ) -> Iterator[Callable[[int], str]]:
        """Name what is being decoded; yield what says of an offset why it must not be."""
        lane = self.lane(DECODER, topic, partition)
        self.folding(lane, first, end)

        def refused(offset: int) -> str:
            if not self.suspects:
                return ""
            reason = self._condemned((DECODER, topic, partition), offset)
            if not reason:
                self.stepping(lane, offset)
            return reason

        yield refused
        self.idle()
        if self.suspects:
            self._forget((DECODER, topic, partition), end, done=False)

    # Agents that await: many batches at a time, a slot for each.

    @asynccontextmanager
    async def handling(self, agent: str, records: Sequence[Record]) -> AsyncIterator[None]:
        """Name records of one partition while they are handled; suspects have all for themselves.

        Else what is under way beside a suspect would die with it, and be suspected as well.
        """
        if not records:
            yield
            return
        first = records[0]
        lane = self.lane(agent, first.topic, first.partition)
        await self._gate.enter(alone=self.suspect(agent, first) is not None)
        slot = self._free.pop()
        width = records[-1].offset + 1 - first.offset
        _SLOT.pack_into(self._slots, slot * _SLOT.size, lane, width, first.offset)
        try:
            yield
        finally:
            _SLOT.pack_into(self._slots, slot * _SLOT.size, 0, 0, 0)
            self._free.append(slot)
            self._gate.leave()

    def parts(self, agent: str, records: Sequence[Record]) -> Iterator[Sequence[Record]]:
        """Yield the records in the parts in which they are to be handled: usually all at once."""
        if not self.suspects:
            yield records
            return
        for suspect, group in groupby(records, key=lambda record: self.suspect(agent, record)):
            run = list(group)
            size = len(run) if suspect is None else -(-len(run) // PARTS)
            for start in range(0, len(run), size):
                yield run[start : start + size]

    # Suspects.

    def suspect(self, agent: str, record: Record) -> Suspect | None:
        """Return the suspected range that a record of an agent lies in."""
        return self._suspect((agent, record.topic, record.partition), record.offset)

    def _suspect(self, lane: Lane, offset: int) -> Suspect | None:
        for suspect in self.suspects:
            if suspect.lane == lane and suspect.first <= offset < suspect.end:
                return suspect
        return None

    def suspects_in(self, agent: str, topic: str, partition: int, first: int, end: int) -> bool:
        """Return whether the process died in this range, or in a part of it."""
        lane = (agent, topic, partition)
        return any(
            suspect.lane == lane and suspect.first < end and first < suspect.end
            for suspect in self.suspects
        )

    def condemned(self, agent: str, record: Record) -> str:
        """Return why a record is not to be tried again, or nothing if it is."""
        if not self.suspects:
            return ""
        return self._condemned((agent, record.topic, record.partition), record.offset)

    def _condemned(self, lane: Lane, offset: int) -> str:
        suspect = self._suspect(lane, offset)
        if suspect is None or not suspect.is_condemned:
            return ""
        return f"the worker died {suspect.deaths} times while {lane[0]} was at this record"

    def lived_through(self, agent: str, last: Record) -> None:
        """Forget what lies up to a record, but for those that were not tried."""
        if self.suspects:
            self._forget((agent, last.topic, last.partition), last.offset + 1, done=False)

    def done(self, agent: str, topic: str, partition: int, end: int) -> None:
        """Forget what lies below an offset: all of it is durable, dead letters included."""
        for who in (agent, DECODER) if self.suspects else ():
            self._forget((who, topic, partition), end, done=True)

    def _forget(self, lane: Lane, end: int, *, done: bool) -> None:
        kept = []
        for suspect in self.suspects:
            if suspect.lane != lane or suspect.first >= end or (suspect.is_condemned and not done):
                kept.append(suspect)
            elif suspect.end > end:
                kept.append(replace(suspect, first=end))
        if kept != self.suspects:
            self.suspects = kept
            self._save()

    def _save(self) -> None:
        if self._folder is None:
            return
        new = self._folder / "suspects.new"
        new.write_text(json.dumps([asdict(suspect) for suspect in self.suspects]))
        new.replace(self._folder / "suspects.json")


def _known(folder: Path) -> list[Suspect]:
    """Return the suspects of before; a file that cannot be read holds none."""
    with suppress(OSError, ValueError, TypeError):
        return [Suspect(**row) for row in json.loads((folder / "suspects.json").read_text())]
    return []


def _under_way(folder: Path) -> list[Suspect]:
    """Return what the last process was at when it ended.

    In a step or a decoding nothing else was running: what awaited meanwhile is no suspect. Else it
    would be one again at each death by a record that is decoded right after it.
    """
    with suppress(OSError, ValueError, TypeError, struct.error):
        lines = (folder / "journal.lanes").read_text().splitlines()
        lanes: list[Lane] = [json.loads(line) for line in lines]
        slots = (folder / "journal").read_bytes()
        whole = len(slots) - len(slots) % _SLOT.size
        if _SLOT.unpack_from(slots)[0]:
            whole = _SLOT.size
        return [
            Suspect(agent, topic, partition, first, first + width)
            for lane, width, first in _SLOT.iter_unpack(slots[:whole])
            if 0 < lane <= len(lanes)
            for agent, topic, partition in lanes[lane - 1 : lane]
        ]
    return []
