"""The loop of a replay: whose turn it is, and what time it is.

Time is that of the ticks. At each moment come, in this order: the timers that are due, the ticks
of that time, the commands of that time. What a tick brings about, and what follows from that, is
all done before the next tick. So a decision can only rest on what came before it, and an order
reaches the venue's market after the latency of the venue, which is above 0.

Agents say until when they will be quiet (`Agent.quiet_until`). Until the first moment at which any
agent may emit, ticks are given to each agent in one go. An agent that does not know is given tick
by tick, before all others and in the order of the market, and the others get no further than the
tick at which it emits. So the size of a chunk changes no result: a test holds that.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streams.domain.ticks import Tick
from streams.models.base import Message
from streams.ports import Agent, Record
from streams.replay.blocks import Block, Blocks, Places
from streams.replay.lane import Lane
from streams.replay.unit import Output
from streams.topics import MARKET_LAST, MARKET_QUOTES, MARKET_TRADES, TopicSpec
from streams.transport.codec import encode
from streams.wiring import AgentSpec

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
#: Time that goes by after the last tick: a minute's bar and the grace that it waits close.
AFTER_NS = 65 * SECOND_NS
#: Ticks that an agent is given at once, at most.
CHUNK = 2_000
_TICKS = (MARKET_TRADES.name, MARKET_QUOTES.name)


@dataclass(frozen=True, slots=True)
class Input:
    """A record from outside that is no tick: an order, a signal, a target."""

    ts_ns: int
    topic: TopicSpec
    key: str
    message: Message


@dataclass(frozen=True, slots=True)
class Written:
    """One record as it was written: the message, and its bytes."""

    record: Record
    spec: TopicSpec
    now_ns: int
    raw: bytes
    headers: Sequence[tuple[str, str]]


class Watcher(Protocol):
    """Who looks at a replay."""

    def symbol(self, name: str) -> None:
        """Know that the first tick of a symbol is next."""

    def priced(self, price: Any) -> None:
        """Take the newest price of a symbol."""

    def written(self, what: Written) -> None:
        """Take a record that was written."""

    def minute(self, now_ns: int) -> None:
        """Look at the prices as they stand, at a whole minute."""


class Engine:
    """Runs agents over ticks. Give it every agent of a run, in the order of the wiring."""

    def __init__(
        self,
        agents: Sequence[tuple[AgentSpec, Agent[Any]]],
        watcher: Watcher,
        places: Places,
        *,
        chunk: int = CHUNK,
    ) -> None:
        """`places` are the partitions of symbols, which some agents ask for too."""
        self.now_ns = 0
        self.ticks = 0
        self.first_ns = 0
        self._watcher = watcher
        self._chunk = chunk
        self._agents = agents
        self._places = places
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._on_ticks: list[Lane] = []
        self._timed: list[Lane] = []
        self._readers: dict[str, list[tuple[int, AgentSpec, Agent[Any]]]] = {}
        for place, (spec, agent) in enumerate(agents):
            for topic in spec.reads:
                self._readers.setdefault(topic.name, []).append((place, spec, agent))
        self._offsets: dict[tuple[str, int], int] = {}
        self._pending: list[Output] = []
        self._queue: deque[Record] = deque()
        self._dirty: dict[Lane, None] = {}
        self._timer_ns = 0
        self._minute_ns = 0
        self._inputs: deque[Input] = deque()
        for place, (spec, agent) in enumerate(agents):
            if not any(_by_symbol(topic) for topic in spec.reads):
                self._lane(place, spec, agent, 0)

    def run(
        self,
        ticks: Iterable[Tick],
        inputs: Iterable[Input] = (),
        *,
        until_ns: int | None = None,
        pace: Callable[[int], int] | None = None,
    ) -> None:
        """Replay ticks, and what comes besides, until before a time or to the end.

        `pace` is told the time that is next; it may wait, and returns up to when ticks may be
        given now. After the last tick a while goes by, so that its minute closes; `until_ns` given,
        time goes on up to it.
        """
        self._inputs.extend(sorted(inputs, key=lambda one: one.ts_ns))
        for block in Blocks(self._places, self._chunk, self._watcher.symbol).of(ticks, until_ns):
            at, end = 0, len(block.times)
            if not self.now_ns:
                self._begin(block.times[0])
            while at < end:
                if pace is None:
                    at = self._go(block, at, block.times[-1] + 1)
                else:
                    at = self._go(block, at, pace(block.times[at]))
            self.ticks += end
        if not self.now_ns and self._inputs:
            self._begin(self._inputs[0].ts_ns)
        if not self.now_ns:
            return
        last = self._inputs[-1].ts_ns if self._inputs else self.now_ns
        self._pass(max(last, self.now_ns) + AFTER_NS if until_ns is None else until_ns)

    def _begin(self, first_ns: int) -> None:
        if self._inputs:
            first_ns = min(first_ns, self._inputs[0].ts_ns)
        self.now_ns = self.first_ns = first_ns
        self._minute_ns = (first_ns // MINUTE_NS + 1) * MINUTE_NS
        self._plan()

    @property
    def span(self) -> tuple[int, int]:
        """Return the first moment and the one that was reached."""
        return self.first_ns, self.now_ns

    # Ticks.

    def _go(self, block: Block, at: int, upto_ns: int) -> int:
        """Give ticks of a block from `at` on; return the place after the last that was given."""
        now = block.times[at]
        self._pass(now)
        end, busy = self._reach(block, at, upto_ns)
        if busy:
            end = self._one_by_one(block, at, end, busy)
        self._at_once(block, at, end, busy)
        self.now_ns = block.times[end - 1]
        if self._pending or self._queue:
            self._settle()
        self._plan()
        return end

    def _reach(self, block: Block, at: int, upto_ns: int) -> tuple[int, dict[int, list[Lane]]]:
        """Return how far ticks can be given at once, and who has to get them one by one.

        That is the lanes of agents that read ticks and do not know when they will emit, by their
        partition.
        """
        now, busy = block.times[at], dict[int, list[Lane]]()
        partition = block.records[at].partition
        self._open(partition)
        after = bisect_left(block.alone, at)
        next_alone = block.alone[after] if after < len(block.alone) else len(block.times)
        if next_alone == at:
            return at + 1, {partition: self._readers_of(partition)}
        limit = min(self._timer_ns, upto_ns)
        if self._inputs:
            limit = min(limit, self._inputs[0].ts_ns + 1)
        for lane in self._on_ticks:
            quiet = lane.agent.quiet_until(lane.partition, now)
            if quiet <= now:
                busy.setdefault(lane.partition, []).append(lane)
            elif quiet < limit:
                limit = quiet
        end = bisect_left(block.times, limit, at + 1, next_alone)
        return min(end, at + self._chunk), busy

    def _readers_of(self, partition: int) -> list[Lane]:
        return [lane for lane in self._on_ticks if lane.partition == partition]

    def _one_by_one(self, block: Block, at: int, end: int, busy: dict[int, list[Lane]]) -> int:
        """Give ticks to those who may emit at any; return the place after where one did."""
        for place in range(at, end):
            record = block.records[place]
            lanes = busy.get(record.partition)
            if lanes is None:
                continue
            now = block.times[place]
            for lane in lanes:
                if record.topic in lane.reads:
                    self._take(lane.step(record, now))
                    if lane.tells:
                        self._dirty[lane] = None
                    else:  # what it emits at the end of a batch must not depend on the batch
                        self._take(lane.ended(now))
            if self._pending:
                return place + 1
        return end

    def _at_once(self, block: Block, at: int, end: int, busy: dict[int, list[Lane]]) -> None:
        """Give ticks to those who said that they will be quiet."""
        groups: dict[int, list[Record]] = {}
        for record in block.records[at:end]:
            group = groups.get(record.partition)
            if group is None:
                groups[record.partition] = [record]
            else:
                group.append(record)
        letters: list[Output] = []
        for lane in self._on_ticks:
            group = groups.get(lane.partition)
            if group is None or lane in busy.get(lane.partition, ()):
                continue
            mine = group if lane.reads.issuperset(_TICKS) else _of(lane, group)
            if mine:
                letters += lane.fold(mine, mine[-1].value.ts_event_ns)
                self._dirty[lane] = None
        if letters:
            self._place(letters, block, at)

    def _place(self, letters: list[Output], block: Block, at: int) -> None:
        """Take dead letters of several ticks in the order of the ticks."""
        places = {id(record): place for place, record in enumerate(block.records[at:])}
        for letter in sorted(letters, key=lambda out: places[id(out.source)]):
            self._append(letter, block.times[at + places[id(letter.source)]])

    # What follows.

    def _take(self, outputs: list[Output]) -> None:
        """Take what an agent wrote; a price is known to everybody at once."""
        for out in outputs:
            if out.topic is MARKET_LAST:
                self._watcher.priced(out.value)
            else:
                self._pending.append(out)

    def _flush(self) -> None:
        """End the batches of those who read ticks."""
        if self._dirty:
            for lane in sorted(self._dirty, key=lambda one: one.order):
                self._take(lane.ended(self.now_ns))
            self._dirty.clear()

    def _settle(self) -> None:
        """Deliver what was written, and what is written on that, until nothing is left."""
        self._flush()
        while True:
            for out in self._pending:
                self._append(out, self.now_ns)
            self._pending.clear()
            if not self._queue:
                return
            record = self._queue.popleft()
            for place, spec, agent in self._readers[record.topic]:
                lane = self._lane(place, spec, agent, record.partition)
                self._take(lane.step(record, self.now_ns))
                self._take(lane.ended(self.now_ns))

    def _append(self, out: Output, now_ns: int) -> None:
        """Write a record at the end of its partition."""
        spec = out.topic
        partition = self._places.of(out.partition_key) if _by_symbol(spec) else 0
        place = spec.name, partition
        offset = self._offsets.get(place, 0)
        self._offsets[place] = offset + 1
        raw = out.value if isinstance(out.value, bytes) else encode(out.value)
        at_ms = now_ns // 1_000_000
        record = Record(spec.name, partition, offset, out.key.encode(), out.value, raw, at_ms)
        self._watcher.written(Written(record, spec, now_ns, raw, out.headers))
        if spec.name in self._readers:
            self._queue.append(record)

    # Time.

    def _pass(self, until_ns: int) -> None:
        """Let time go by: timers up to and with this time, commands before it."""
        while True:
            command_ns = self._inputs[0].ts_ns if self._inputs else until_ns
            if self._timer_ns <= until_ns and self._timer_ns <= command_ns:
                self._ring(self._timer_ns)
            elif command_ns < until_ns:
                self._input(self._inputs.popleft())
            else:
                return

    def _ring(self, at_ns: int) -> None:
        """Run the timers that are due at a moment, and look at the prices at a whole minute."""
        self.now_ns = at_ns
        self._flush()
        for lane in self._timed:
            if lane.due_ns <= at_ns:
                self._take(lane.on_timer(at_ns))
        self._settle()
        if at_ns >= self._minute_ns:
            self._watcher.minute(at_ns)
            self._minute_ns = at_ns + MINUTE_NS
        self._plan()

    def _input(self, what: Input) -> None:
        self.now_ns = max(self.now_ns, what.ts_ns)
        self._pending.append(Output(what.topic, what.key, what.key, what.message))
        self._settle()
        self._plan()

    def _plan(self) -> None:
        """Find when the next timer is due: on a whole second, when somebody may have to act."""
        soonest = self._minute_ns
        for lane in self._timed:
            quiet = max(lane.agent.idle_until(lane.partition, self.now_ns), self.now_ns + 1)
            lane.due_ns = -(-quiet // SECOND_NS) * SECOND_NS
            soonest = min(soonest, lane.due_ns)
        self._timer_ns = soonest

    # Lanes.

    def _open(self, partition: int) -> None:
        """Make the lanes of a symbol for those who read ticks."""
        for topic in _TICKS:
            for place, spec, agent in self._readers.get(topic, ()):
                self._lane(place, spec, agent, partition)

    def _lane(self, place: int, spec: AgentSpec, agent: Agent[Any], partition: int) -> Lane:
        lane = self._lanes.get((spec.name, partition))
        if lane is None:
            lane = self._lanes[spec.name, partition] = Lane(spec, agent, partition, place)
            if not lane.reads.isdisjoint(_TICKS):
                self._on_ticks.append(lane)
                self._on_ticks.sort(key=lambda one: one.order)
            if lane.timed:
                self._timed.append(lane)
                self._timed.sort(key=lambda one: one.order)
        return lane


def _of(lane: Lane, records: list[Record]) -> list[Record]:
    return [record for record in records if record.topic in lane.reads]


def _by_symbol(spec: TopicSpec) -> bool:
    """Return whether a topic is partitioned by symbol; the others are by account."""
    return spec.key.split("|")[-1] == "symbol" and not spec.key.startswith("account")
