"""The order path in one process: Kafka in memory, workers, a clock, and who does what next.

All chance comes from the seed; nothing depends on real time or on hash order. A step is one
thing that one process does, or one input from outside.
"""

from collections.abc import Callable
from math import log
from random import Random
from typing import Any

from agents.gateway import Gateway
from agents.positions import Positions, PositionsDeps
from agents.router import Router, RouterDeps
from agents.sender import Sender, SenderDeps
from agents.tracker import Tracker
from agents.validator import Validator
from connectors.brokers.desk import Desk
from connectors.brokers.line import Line
from connectors.brokers.virtual import VirtualBroker
from streams.domain.breaker import Bucket
from streams.domain.build import evolve
from streams.domain.capabilities import BROKERS, REST
from streams.domain.controls import ControlSet
from streams.domain.matching.config import VenueConfig
from streams.domain.sending import Sending, waiting
from streams.models.market import LastPrice, Trade
from streams.ports import Agent, Malformed, Record
from streams.topics import MARKET_QUOTES, MARKET_TRADES, ORDERS_REQUESTED
from streams.transport.codec import encode
from streams.transport.sender import Out
from streams.wiring import AgentSpec, Role
from tests.builders import NOW_NS, SECOND
from tests.simulation.desks import Desks
from tests.simulation.exchange import TIMEOUT_S, Exchange
from tests.simulation.kafka import PARTITIONS, Kafka, partition
from tests.simulation.load import AROUND, SYMBOLS, Input, first_controls, is_poison, last_price
from tests.simulation.loop import Timeline
from tests.simulation.worker import SENDER, Worker
from tests.unit.matching_world import EveryDay

ROLES: tuple[Role, ...] = ("orders", "gateway")
VENUE = VenueConfig()


#: How many records one step takes at most: mostly few, by an exponential distribution.
MOST = tuple(1 + int(-log(1 - (place + 0.5) / 256) / 0.4) for place in range(256))
#: Commands to a broker across a network are not sent after so long.
SEND_WITHIN_NS = 4 * SECOND
COMPARE_EVERY_S = 2.5
#: In so much time what was missed is mended by one comparison, and seen to be by the next.
SETTLED_NS = 9 * SECOND
#: After a broker was away its breaker may be open, and nobody asks it anything.
REOPENED_NS = 31 * SECOND


class RaisingValidator(Validator):
    """The validator, raising when it has worked on some records; all it did is to be taken back."""

    def step(self, unit: Any, record: Record) -> None:
        """Work on a record, and raise if it is poison."""
        super().step(unit, record)
        if record.topic == ORDERS_REQUESTED.name and is_poison(record.value):
            raise ArithmeticError("poison")


class RaisingGateway(Gateway):
    """The gateway, likewise."""

    def step(self, unit: Any, record: Record) -> None:
        """Work on a record, and raise if it is poison."""
        super().step(unit, record)
        if is_poison(record.value):
            raise ArithmeticError("poison")


class Knowledge:
    """Rules and prices as one process's memory has them: true, but perhaps some time ago."""

    def __init__(self, exchange: Exchange | None = None) -> None:
        self.exchange = exchange
        self.controls: ControlSet = first_controls()
        self.prices: dict[str, LastPrice] = {}

    def agent(self, spec: AgentSpec) -> Agent[Any]:
        """Build an agent that knows this."""
        builders: dict[str, Callable[[], Agent[Any]]] = {
            "validator": self._validator,
            "router": self._router,
            "tracker": Tracker,
            "positions": lambda: Positions(PositionsDeps(lambda: self.controls, self.price)),
            "gateway": self._gateway,
            "sender": self._sender,
        }
        return builders[spec.name]()

    def price(self, symbol: str) -> LastPrice | None:
        """Return the newest price."""
        return self.prices.get(symbol)

    def _validator(self) -> Validator:
        return RaisingValidator(lambda: self.controls, self.price, EveryDay(), partition)

    def _router(self) -> Router:
        return Router(
            RouterDeps(lambda: self.controls, self.price, EveryDay(), BROKERS, SEND_WITHIN_NS)
        )

    def _gateway(self) -> Gateway:
        broker = VirtualBroker(VENUE, EveryDay())
        return RaisingGateway(broker, lambda: self.controls, VENUE.remember_ns)

    def _sender(self) -> Sender:
        exchange = self.exchange
        assert exchange is not None
        timeline = exchange.timeline
        lines = {
            REST.broker: Line(exchange.connect, TIMEOUT_S, Bucket(600), COMPARE_EVERY_S),
        }
        return Sender(
            SenderDeps(
                partition,
                lambda sender, owned: Desk(
                    sender, owned, lines, lambda: self.controls, lambda: timeline.now_ns
                ).run(),
            )
        )


class World:
    """Everything of one run."""

    def __init__(
        self,
        inputs: list[Input],
        rng: Random,
        *,
        encoded: bool = False,
        broker: Random | None = None,
    ) -> None:
        """With the chances of a `broker`, there is one across a network too."""
        self.rng = rng
        self.timeline = Timeline(NOW_NS)
        self.exchange = Exchange(self.timeline, broker) if broker is not None else None
        self.kafka = Kafka(encoded=encoded)
        self.now_ns = NOW_NS
        self.steps = 0
        self.inputs = inputs[::-1]
        self.pushed: list[Input] = []
        self.controls = first_controls(routed=broker is not None)
        self.prices: dict[str, LastPrice] = {}
        if broker is not None:  # no ticks come in such a run
            self.prices = {symbol: last_price(symbol, AROUND) for symbol in SYMBOLS}
        self.knowledge: dict[Worker, Knowledge] = {}
        self.workers: dict[Role, list[Worker]] = {role: self._processes(role) for role in ROLES}
        self.due: list[tuple[int, Callable[[], None]]] = []
        self.told: list[str] = []
        #: Desks of processes that stood still.
        self.ghosts: list[Desks] = []
        self.crashes = 0
        #: A step takes a millisecond on average; where calls are on their way, ten.
        self.pace_ns = 2_000_000 if self.exchange is None else 20_000_000
        two = rng.random() < 0.4
        for role in ROLES:
            for worker in self.workers[role][: 2 if two else 1]:
                self.start(worker)
            self.spread(role)

    def _processes(self, role: Role) -> list[Worker]:
        workers = []
        for _ in range(2):
            timeline = self.timeline if self.exchange is not None else None
            workers.append(Worker(role, self.kafka, Knowledge().agent, timeline))
        return workers

    # Processes come and go.

    def start(self, worker: Worker) -> None:
        """Start a process; it reads rules and prices to their ends first."""
        self.knowledge[worker] = Knowledge(self.exchange)
        worker.build = self.knowledge[worker].agent
        self._learn(worker)
        worker.start()

    def spread(self, role: Role) -> None:
        """Give a role's partitions to its processes, after they gave up what they had."""
        alive = [worker for worker in self.workers[role] if worker.alive]
        for worker in alive:
            worker.give_up() if worker.owned else None
        self.rng.shuffle(alive)
        for place, worker in enumerate(alive):
            worker.assign([n for n in range(PARTITIONS) if n % len(alive) == place])

    def back(self, worker: Worker, owned: list[int]) -> None:
        """Start a process again: with what it had, if nobody has taken it over."""
        if worker.alive:
            return
        self.start(worker)
        others = [other for other in self.workers[worker.role] if other is not worker]
        if owned and not any(other.alive and other.owned for other in others):
            worker.assign(list(range(PARTITIONS)))
        elif owned and not any(number in other.owned for other in others for number in owned):
            worker.assign(owned)
        else:
            self.spread(worker.role)

    def later(self, steps: int, what: Callable[[], None]) -> None:
        """Do something in so many steps."""
        self.due.append((self.steps + steps, what))

    def _learn(self, worker: Worker) -> None:
        knowledge = self.knowledge[worker]
        knowledge.controls = self.controls
        knowledge.prices = dict(self.prices)

    # One step.

    def step(self) -> None:
        """Let one thing happen."""
        rng = self.rng
        self.steps += 1
        self.now_ns += 20_000 + int(rng.random() * self.pace_ns)
        if self.exchange is not None:
            self.timeline.run(self.now_ns)
        if self.due:
            self._do_what_is_due()
        if self.inputs and rng.random() < 0.22:
            self.push(self.inputs.pop())
            return
        role = ROLES[rng.random() < 0.35]
        worker = self.workers[role][rng.random() < 0.5]
        if not (worker.alive and worker.owned):
            worker = next((w for w in self.workers[role] if w.alive and w.owned), worker)
        if worker.alive and worker.owned:
            self._act(worker, rng.random())

    def _do_what_is_due(self) -> None:
        now, self.due = (
            [d for d in self.due if d[0] <= self.steps],
            [d for d in self.due if d[0] > self.steps],
        )
        for _, what in now:
            what()

    def _act(self, worker: Worker, chance: float) -> None:
        rng = self.rng
        most = MOST[int(rng.random() * 256)]
        if chance < 0.3 and worker.deliver(most, rng):
            return
        if chance < 0.65:
            cut = rng.randrange(6) if rng.random() < 0.25 else 0
            if worker.work(self.now_ns, cut or 1_000, rng):
                return
        if chance < 0.88:
            if not worker.fetch(most, rng):
                worker.deliver(most, rng)
        elif chance < 0.95:
            worker.commit()
        elif chance < 0.98:
            self._learn(worker)
        else:
            self.now_ns += SECOND
            worker.timer(self.now_ns)

    def push(self, given: Input) -> None:
        """Let an input come in."""
        self.pushed.append(given)
        value, now_ms = given.value, self.now_ns // 1_000_000
        if given.kind == "control":
            self.controls = self.controls.with_records([value])
        elif given.kind == "tick":
            value = evolve(value, ts_event_ns=self.now_ns)
            topic = MARKET_TRADES if isinstance(value, Trade) else MARKET_QUOTES
            cents = int((value.price if isinstance(value, Trade) else value.bid) * 100)
            self.prices[value.symbol] = last_price(value.symbol, cents)
            self._append(topic.name, value.symbol, value, now_ms)
        elif given.kind in ("command", "poison"):
            self._append(ORDERS_REQUESTED.name, value.account, value, now_ms)
        else:
            self._append_bad(given.account, value, now_ms)

    def _append(self, topic: str, key: str, value: Any, now_ms: int) -> None:
        kept = encode(value) if self.kafka.encoded else value
        self.kafka.append(topic, partition(key), Out(key.encode(), kept), now_ms)

    def _append_bad(self, account: str, value: Malformed | None, now_ms: int) -> None:
        name, number = ORDERS_REQUESTED.name, partition(account)
        log = self.kafka.logs[name, number]
        raw = None if value is None else b"?"
        log.append(Record(name, number, len(log), account.encode(), value, raw, now_ms))

    # Until nothing moves any more.

    def quiet(self) -> None:
        """Start what is down, and let everything run to its end, twice past a timer."""
        while self.inputs or self.due:
            self.steps += 1_000 * (not self.inputs)
            self.step()
        for role in ROLES:
            for worker in self.workers[role]:
                if worker.alive:
                    self._learn(worker)
            if not any(worker.alive and worker.owned for worker in self.workers[role]):
                self.start(self.workers[role][0])
                self.spread(role)
        if self.exchange is not None:
            self._wait_for(self.exchange)
        for _ in range(2):
            self._run_out()
            self.now_ns += SECOND + SECOND // 10
            for worker in self.alive():
                worker.timer(self.now_ns)
        self._run_out()

    def _wait_for(self, exchange: Exchange) -> None:
        """Let the broker and who talks to it come to rest, and compare what they have twice."""
        exchange.calm = True
        for _ in range(300):
            self._run_out()
            self._pass(SECOND // 2)
            if not any(self._is_waiting(worker) for worker in self.workers["gateway"]):
                break
        else:
            raise RuntimeError("the sender does not come to rest")
        if exchange.away_until_ns:
            self._pass(REOPENED_NS)
        self._pass(SETTLED_NS)

    def _is_waiting(self, worker: Worker) -> bool:
        """Say whether an order or request at a broker has no answer, or waits to be taken up."""
        return any(
            bool(task.queue)
            or any(
                isinstance(row, Sending) and any(True for _ in waiting(row))
                for lane in task.lanes.values()
                for row in lane.state.rows().values()
            )
            for task in worker.tasks
            if worker.alive and task.spec.name == SENDER
        )

    def _pass(self, time_ns: int) -> None:
        """Let time pass, and what is written meanwhile be acknowledged at once."""
        until_ns = self.now_ns + time_ns
        while self.now_ns < until_ns:
            next_ns = self.timeline.next_ns()
            self.now_ns = until_ns if next_ns is None else max(self.now_ns, min(until_ns, next_ns))
            self.timeline.run(self.now_ns)
            moved = True
            while moved:
                moved = False
                for worker in self.workers["gateway"]:
                    if worker.owned and worker.flush():
                        moved = True
                if moved:
                    self.timeline.run(self.now_ns)

    def _run_out(self) -> None:
        for _ in range(1_000):
            moved = False
            for worker in self.alive():
                worker.flush()  # what a timer brought is there for all who read it
            for worker in self.alive():
                self.now_ns += 1_000_000
                while worker.fetch(1_000, self.rng):
                    moved = True
                moved = worker.flush() or moved
                while worker.work(self.now_ns, 10_000, self.rng):
                    moved = True
                moved = worker.flush() or moved
                worker.commit()
            if not moved:
                return
        raise RuntimeError("the order path does not come to rest")

    def desk_failures(self) -> list[str]:
        """Return what made desks of processes that are alive end."""
        return [text for worker in self.alive() if worker.desks for text in worker.desks.failed]

    def end(self) -> None:
        """Let all processes be gone, those that stand still as well."""
        for role in ROLES:
            for worker in self.workers[role]:
                worker.die()
        for ghost in self.ghosts:
            ghost.end()

    def alive(self) -> list[Worker]:
        """Return the processes that have partitions."""
        return [w for role in ROLES for w in self.workers[role] if w.alive and w.owned]
