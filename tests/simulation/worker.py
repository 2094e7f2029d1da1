"""One process: the agents of a role, what they have under way, and what crashes with them.

It follows `streams.transport` step by step: one queue of batches per agent, units of work in
order per agent and partition, three at most under way, changes first, outputs when they may,
settled and done when all is acknowledged. The agents, the unit of work, the runner's treatment
of a record and the ledger of offsets are the real ones.
"""

from collections import defaultdict, deque
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any, NamedTuple

from agents.tracker import Tracker
from streams import defences
from streams.defences import Defence
from streams.ports import Agent, Record
from streams.transport.ledger import Ledger
from streams.transport.publisher import MAX_IN_FLIGHT
from streams.transport.runner import Runner
from streams.transport.sender import Out
from streams.transport.unit import UnitOfWork
from streams.wiring import AGENTS, AgentSpec, Role, agents_of, reported_by
from tests.simulation.desks import Desks, Outside
from tests.simulation.kafka import PARTITIONS, Kafka, Partition, partition
from tests.simulation.loop import Timeline
from tests.simulation.store import Changes, MemoryPartition
from tests.simulation.unit import ObjectUnit

#: The agents that are simulated: those of the order path at the virtual venue.
SIMULATED = ("validator", "router", "tracker", "positions", "gateway")
#: And the one that serves a broker across a network, in the runs that have one.
SENDER = "sender"


class Sending:
    """A unit on its way to Kafka."""

    __slots__ = (
        "changes",
        "done",
        "end",
        "now_ns",
        "outputs",
        "sent",
        "then",
        "unacked",
        "unsaved",
    )

    def __init__(self, unit: UnitOfWork, changes: Changes | None, done: Callable[[], None]) -> None:
        self.outputs = unit.outputs
        self.changes = changes
        self.done = done
        self.now_ns = unit.now_ns
        #: What waits for its end, apart from its batch.
        self.then: list[Callable[[], Any]] = []
        self.unsaved = changes is not None
        self.unacked = 0
        self.end = 0
        self.sent = False


class Parcel(NamedTuple):
    """What waits for Kafka in the client: the changes of a unit, or one record."""

    lane: "Lane"
    sending: Sending
    out: Out | None
    timestamp_ms: int


class Task:
    """One agent in its process."""

    def __init__(self, spec: AgentSpec, agent: Agent[Any]) -> None:
        self.spec = spec
        self.agent = agent
        self.reads = [topic.name for topic in spec.reads]
        self.has_timer = type(agent).on_timer is not Agent.on_timer
        self.runner = _runner(spec.name)
        self.queue: deque[tuple[Partition, list[Record]]] = deque()
        self.lanes: dict[int, Lane] = {}
        self.applied: dict[Partition, int] = {}


@cache
def _simulated(role: Role, *, with_sender: bool) -> list[AgentSpec]:
    """Return the agents of a role that are simulated."""
    names = (*SIMULATED, SENDER) if with_sender else SIMULATED
    return [spec for spec in agents_of(role) if spec.name in names]


@cache
def _runner(name: str) -> Runner:
    """Return what treats records; it is told the agent each time, and remembers only counts."""
    spec = next(spec for spec in AGENTS if spec.name == name)
    return Runner(None, spec, Tracker(), reported_by(spec), str, None)


class Lane:
    """The units of one agent and partition, in order."""

    def __init__(self, worker: "Worker", spec: AgentSpec, number: int) -> None:
        self.worker: Worker | Outside = worker
        self.changelog = (spec.table.name if spec.table else "", number)
        self.state = worker.stores[self.changelog]
        self.waits = spec.state_first and defences.on(Defence.STATE_FIRST)
        self.acks = defences.on(Defence.ACKS)
        self.units: deque[Sending] = deque()
        #: Time of the newest unit that is finished; all before it are.
        self.settled_ns = 0

    def full(self) -> bool:
        """Say whether the next unit has to wait."""
        return len(self.units) >= MAX_IN_FLIGHT

    def publish(self, unit: UnitOfWork, done: Callable[[], None]) -> None:
        """Start to send a unit; `done` when all of it is acknowledged."""
        now_ms = unit.now_ns // 1_000_000
        changes = None
        if unit.changed or (self.waits and unit.outputs and unit.applied):
            changes = Changes(self.state.staged(unit.changed), dict(unit.applied))
        sending = Sending(unit, changes, done)
        self.units.append(sending)
        if changes is not None:
            sending.unacked = 1
            queue = self.worker.outbox[self.changelog]
            queue.append(Parcel(self, sending, None, now_ms))
        self.advance(now_ms)

    def advance(self, now_ms: int) -> None:
        """Send outputs whose time has come; finish units that are acknowledged."""
        units = self.units
        for each in units:
            if not each.sent:
                if self.waits and each.unsaved:
                    break
                each.sent = True
                self._send(each, now_ms)
        while units and units[0].sent and not (self.acks and units[0].unacked):
            first = units.popleft()
            if first.changes is not None and not first.unsaved:
                self.state.settle(first.changes, first.end)
            first.done()
            self.settled_ns = first.now_ns
            for wakes in first.then:
                wakes()

    def _send(self, sending: Sending, now_ms: int) -> None:
        for topic, by, out in sending.outputs:
            target = topic.name, partition(by.decode())
            self.worker.outbox[target].append(Parcel(self, sending, out, now_ms))
        sending.unacked += len(sending.outputs)


class Worker:
    """A process of a role, and its disk."""

    def __init__(
        self,
        role: Role,
        kafka: Kafka,
        build: Callable[[AgentSpec], Agent[Any]],
        timeline: Timeline | None = None,
    ) -> None:
        """With a `timeline` it serves a broker across a network."""
        self.role = role
        self.timeline = timeline
        self.desks: Desks | None = None
        self.kafka = kafka
        self.build = build
        self.alive = False
        self.owned: list[int] = []
        self.tasks: list[Task] = []
        self.redelivered = 0
        self.stores: dict[Partition, MemoryPartition] = {}
        self.outbox: dict[Partition, deque[Parcel]] = defaultdict(deque)
        self.specs = _simulated(role, with_sender=timeline is not None)
        self.sources = sorted({topic.name for spec in self.specs for topic in spec.reads})
        self.wipe()

    def wipe(self) -> None:
        """Lose the disk."""
        for spec in self.specs:
            assert spec.table is not None
            adapter = spec.table.adapter() if self.kafka.encoded else None
            for number in range(PARTITIONS):
                self.stores[spec.table.name, number] = MemoryPartition(adapter)

    # Starting, and taking partitions up.

    def start(self) -> None:
        """Start the process, without partitions."""
        self.alive = True
        self.tasks = [Task(spec, self.build(spec)) for spec in self.specs]
        for task in self.tasks:
            if task.spec.name == SENDER and self.timeline is not None:
                self.desks = Desks(self, task, self.timeline)
        self.readers: dict[str, list[Task]] = {
            topic: [task for task in self.tasks if topic in task.reads] for topic in self.sources
        }

    def assign(self, numbers: list[int]) -> None:
        """Take partitions up: restore the tables, read on from what is committed."""
        self.owned = numbers
        self.ledger = Ledger()
        self.read: dict[Partition, int] = {
            (topic, number): self.kafka.committed[self.role, (topic, number)]
            for topic in self.sources
            for number in numbers
        }
        for task in self.tasks:
            task.queue.clear()
            task.lanes = {number: Lane(self, task.spec, number) for number in numbers}
            task.applied = {}
            for number, lane in task.lanes.items():
                lane.state.catch_up(self.kafka.changelogs[lane.changelog])
                for topic in task.reads:
                    task.applied[topic, number] = lane.state.applied(topic)
                task.agent.on_assigned(number, lane.state.scan(needs=task.agent.needs))
        if self.desks is not None:
            self.desks.begin()

    def give_up(self) -> None:
        """Finish what is under way, commit it, and forget the partitions."""
        if self.desks is not None:
            self.desks.stop()
        self.flush()
        self.commit()
        for task in self.tasks:
            for number in self.owned:
                task.agent.on_revoked(number)
        self.owned = []

    def die(self) -> None:
        """Lose everything that is in memory."""
        if self.desks is not None:
            self.desks.end()
            self.desks = None
        self.alive = False
        self.owned = []
        self.tasks = []
        self.outbox.clear()

    # What a process does, a step at a time. Each says whether there was anything to do.

    def fetch(self, most: int, rng: Random) -> bool:
        """Deliver the next records of a partition to all agents that read it."""
        able = [
            tp
            for tp, at in self.read.items()
            if at < len(self.kafka.logs[tp]) and self.ledger.has_room(tp)
        ]
        if not able:
            return False
        tp = able[int(rng.random() * len(able))]
        first = self.read[tp]
        records = self.kafka.logs[tp][first : first + most]
        readers = self.readers[tp[0]]
        self.read[tp] = first + len(records)
        self.ledger.opened(tp, first, first + len(records), len(readers))
        for task in readers:
            task.queue.append((tp, records))
        return True

    def work(self, now_ns: int, cut: int, rng: Random) -> bool:
        """Let an agent work on its next batch; after `cut` records what it did is published."""
        able = [t for t in self.tasks if t.queue and self._is_free(t, t.queue[0][0][1])]
        if not able:
            return False
        task = able[int(rng.random() * len(able))]
        tp, records = task.queue.popleft()
        lane, first = task.lanes[tp[1]], records[0].offset
        self.ledger.begun(tp, first)
        applied = task.applied[tp]
        unit = self._unit(task, tp[1], now_ns)
        for place, record in enumerate(records):
            if place == cut and not lane.full():
                task.agent.on_batch_end(unit)
                lane.publish(unit, _nothing)
                now_ns += 1_000
                unit = self._unit(task, tp[1], now_ns)
            self.redelivered += record.offset < applied
            task.runner.apply(task.agent, unit, record, applied, 0)
        task.agent.on_batch_end(unit)
        ledger = self.ledger
        lane.publish(unit, lambda: ledger.done(tp, first))
        return True

    def _is_free(self, task: Task, number: int) -> bool:
        """Say whether an agent may work: its units have room, and its lock is open."""
        if task.lanes[number].full():
            return False
        return task.spec.name != SENDER or self.desks is None or not self.desks.lock.locked()

    def _unit(self, task: Task, number: int, now_ns: int) -> UnitOfWork:
        kind = UnitOfWork if self.kafka.encoded else ObjectUnit
        silent = task.runner.silent_on
        state: Any = task.lanes[number].state
        return kind(task.spec.name, number, now_ns, state, silent)

    def timer(self, now_ns: int) -> None:
        """Let the agents do what time alone brings."""
        for task in self.tasks:
            if not task.has_timer:
                continue
            for number, lane in task.lanes.items():
                if not self._is_free(task, number):
                    continue
                unit = self._unit(task, number, now_ns)
                task.agent.on_timer(unit)
                if unit.changed or unit.outputs:
                    lane.publish(unit, _nothing)

    def deliver(self, most: int, rng: Random) -> bool:
        """Let Kafka append, and acknowledge, some of what waits for one partition."""
        able = [tp for tp, queue in self.outbox.items() if queue]
        if not able:
            return False
        tp = able[int(rng.random() * len(able))]
        queue = self.outbox[tp]
        for _ in range(min(most, len(queue))):
            self._append(tp, queue.popleft(), acknowledged=True)
        return True

    def _append(self, tp: Partition, parcel: Parcel, *, acknowledged: bool) -> None:
        sending = parcel.sending
        if parcel.out is not None:
            self.kafka.append(*tp, parcel.out, parcel.timestamp_ms)
        else:
            assert sending.changes is not None
            self.kafka.changelogs[tp].append(sending.changes)
        if not acknowledged:
            return
        sending.unacked -= 1
        if parcel.out is None:
            sending.unsaved = False
            sending.end = len(self.kafka.changelogs[tp])
        elif sending.unacked:
            return  # an output that is not the last one lets nothing go on
        parcel.lane.advance(parcel.timestamp_ms)

    def flush(self) -> bool:
        """Let Kafka append and acknowledge everything; say whether there was anything."""
        moved = False
        while waiting := [tp for tp, queue in self.outbox.items() if queue]:
            moved = True
            for tp in waiting:
                queue = self.outbox[tp]
                while queue:
                    self._append(tp, queue.popleft(), acknowledged=True)
        return moved

    def commit(self) -> None:
        """Commit the ledger's floors."""
        for tp, floor in self.ledger.floors().items():
            self.kafka.committed[self.role, tp] = floor

    def break_off(self, rng: Random) -> str:
        """Crash: of what waits for each partition, a prefix is appended. Say what survived."""
        told = []
        for tp, queue in self.outbox.items():
            if not queue:
                continue
            chance = rng.random()
            kept = 0 if chance < 0.35 else len(queue) if chance < 0.7 else rng.randrange(len(queue))
            told.append(f"{kept} of {len(queue)} for {tp[0]}/{tp[1]}")
            for _ in range(kept):
                self._append(tp, queue.popleft(), acknowledged=False)
        self.die()
        return ", ".join(told) or "nothing was under way"

    def take_outbox(self) -> list[tuple[Partition, Parcel]]:
        """Return what waits for Kafka, in order per partition, and forget it."""
        waiting = [(tp, parcel) for tp, queue in self.outbox.items() for parcel in queue]
        self.outbox.clear()
        return waiting


def _nothing() -> None:
    """Do nothing when a unit is finished that does not end its batch."""
