"""The order path in one process: Kafka in memory, workers, a clock, and who does what next.

All chance comes from the seed; nothing depends on real time or on hash order. A step is one
thing that one process does, or one input from outside.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from agents.gateway import Gateway
from agents.positions import Positions, PositionsDeps
from agents.router import Router, RouterDeps
from agents.tracker import Tracker
from agents.validator import Validator
from connectors.brokers.virtual import VirtualBroker
from streams.domain.build import evolve
from streams.domain.capabilities import BROKERS
from streams.domain.controls import ControlSet
from streams.domain.matching.config import VenueConfig
from streams.models.market import LastPrice, Trade
from streams.ports import Agent, Malformed, Record
from streams.topics import MARKET_QUOTES, MARKET_TRADES, ORDERS_REQUESTED
from streams.transport.codec import encode
from streams.transport.sender import Out
from streams.wiring import AgentSpec, Role
from tests.builders import NOW_NS, SECOND
from tests.simulation.kafka import PARTITIONS, Kafka, partition
from tests.simulation.load import Input, first_controls, last_price
from tests.simulation.worker import Worker
from tests.unit.matching_world import EveryDay

ROLES: tuple[Role, ...] = ("orders", "gateway")
VENUE = VenueConfig()


class Knowledge:
    """Rules and prices as one worker's memory has them: true, but perhaps some time ago."""

    def __init__(self) -> None:
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
        }
        return builders[spec.name]()

    def price(self, symbol: str) -> LastPrice | None:
        """Return the newest price."""
        return self.prices.get(symbol)

    def _validator(self) -> Validator:
        return Validator(lambda: self.controls, self.price, EveryDay(), partition)

    def _router(self) -> Router:
        return Router(RouterDeps(lambda: self.controls, self.price, EveryDay(), BROKERS))

    def _gateway(self) -> Gateway:
        broker = VirtualBroker(VENUE, EveryDay())
        return Gateway(broker, lambda: self.controls, VENUE.remember_ns)


class World:
    """Everything of one run."""

    def __init__(self, inputs: list[Input], rng: Random, *, encoded: bool = False) -> None:
        self.rng = rng
        self.kafka = Kafka(encoded=encoded)
        self.now_ns = NOW_NS
        self.steps = 0
        self.inputs = inputs[::-1]
        self.pushed: list[Input] = []
        self.controls = first_controls()
        self.prices: dict[str, LastPrice] = {}
        self.knowledge: dict[Worker, Knowledge] = {}
        self.workers: dict[Role, list[Worker]] = {role: self._processes(role) for role in ROLES}
        self.due: list[tuple[int, Callable[[], None]]] = []
        self.told: list[str] = []
        self.crashes = 0
        two = rng.random() < 0.4
        for role in ROLES:
            for worker in self.workers[role][: 2 if two else 1]:
                self.start(worker)
            self.spread(role)

    def _processes(self, role: Role) -> list[Worker]:
        workers = []
        for _ in range(2):
            knowledge = Knowledge()
            worker = Worker(role, self.kafka, knowledge.agent)
            self.knowledge[worker] = knowledge
            workers.append(worker)
        return workers

    # Processes come and go.

    def start(self, worker: Worker) -> None:
        """Start a process; it reads rules and prices to their ends first."""
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
        self.now_ns += 20_000 + int(rng.random() * 2_000_000)
        if self.due:
            self._do_what_is_due()
        if self.inputs and rng.random() < 0.15:
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
        most = 1 + int(rng.expovariate(0.4))
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
        elif given.kind == "command":
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
                self._learn(worker)
            if not any(worker.alive and worker.owned for worker in self.workers[role]):
                self.start(self.workers[role][0])
                self.spread(role)
        for _ in range(2):
            self._run_out()
            self.now_ns += SECOND + SECOND // 10
            for worker in self.alive():
                worker.timer(self.now_ns)
        self._run_out()

    def _run_out(self) -> None:
        for _ in range(1_000):
            moved = False
            for worker in self.alive():
                worker.flush()  # what a timer brought is there for all who read it
            for worker in self.alive():
                self.now_ns += 1_000_000
                while worker.fetch(1_000, self.rng):
                    moved = True
                worker.flush()
                while worker.work(self.now_ns, 10_000, self.rng):
                    moved = True
                worker.flush()
                worker.commit()
            if not moved:
                return
        raise RuntimeError("the order path does not come to rest")

    def alive(self) -> list[Worker]:
        """Return the processes that have partitions."""
        return [w for role in ROLES for w in self.workers[role] if w.alive and w.owned]
