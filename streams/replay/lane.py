"""One agent with one partition of its topics and of its table."""

from collections.abc import Sequence
from typing import Any

from streams.errors import OrderflowError
from streams.ports import Agent, BulkAgent, Record
from streams.replay.unit import Output, ReplayUnit, Rows
from streams.topics import DEAD_LETTERS, MARKET_LAST
from streams.transport.unit import describe
from streams.wiring import AgentSpec


class BrokenWordError(OrderflowError):
    """An agent emitted while it said it would be quiet; mend its `quiet_until`."""


class Lane:
    """Gives an agent its records, in the order they are to have."""

    __slots__ = (
        "_silent_on",
        "agent",
        "due_ns",
        "name",
        "order",
        "partition",
        "reads",
        "rows",
        "tells",
        "timed",
    )

    def __init__(self, spec: AgentSpec, agent: Agent[Any], partition: int, place: int) -> None:
        self.name = spec.name
        self.agent = agent
        self.partition = partition
        #: First by the agent's place in the wiring, then by partition.
        self.order = place, partition
        self.reads = frozenset(topic.name for topic in spec.reads)
        #: Whether the agent tells until when it is quiet.
        self.tells = type(agent).quiet_until is not Agent.quiet_until
        self.timed = type(agent).on_timer is not Agent.on_timer
        #: When the timer is due; the engine plans it.
        self.due_ns = 0
        self.rows = Rows()
        self._silent_on = frozenset(topic.name for topic in spec.silent_on)
        agent.on_assigned(partition, ())

    def step(self, record: Record, now_ns: int) -> list[Output]:
        """Give one record; what the agent raises is a dead letter, as it is live."""
        unit = self._unit(now_ns)
        try:
            self.agent.step(unit, record)
        except Exception as error:  # noqa: BLE001 - whatever an agent raises
            unit.roll_back()
            self.agent.on_revoked(self.partition)
            self.agent.on_assigned(self.partition, self.rows.scan(""))
            unit.set_aside(record, "AGENT_ERROR", describe(error))
        return unit.outputs

    def ended(self, now_ns: int) -> list[Output]:
        """End a batch."""
        unit = self._unit(now_ns)
        self.agent.on_batch_end(unit)
        return unit.outputs

    def on_timer(self, now_ns: int) -> list[Output]:
        """Run the timer."""
        unit = self._unit(now_ns)
        self.agent.on_timer(unit)
        return unit.outputs

    def fold(self, records: Sequence[Record], now_ns: int) -> list[Output]:
        """Give ticks of which the agent said that they bring nothing out; return dead letters."""
        agent, unit = self.agent, self._unit(now_ns)
        try:
            if isinstance(agent, BulkAgent):
                for topic in dict.fromkeys(record.topic for record in records):
                    agent.fold(unit, [record for record in records if record.topic == topic])
            else:
                step = agent.step
                for record in records:
                    step(unit, record)
        except Exception:  # noqa: BLE001 - one by one finds the one
            unit.roll_back()
            agent.on_revoked(self.partition)
            agent.on_assigned(self.partition, self.rows.scan(""))
            return [
                out._replace(source=one)
                for one in records
                for out in self.step(one, one.value.ts_event_ns)
            ]
        for out in unit.outputs:
            if out.topic is not DEAD_LETTERS and out.topic is not MARKET_LAST:
                raise BrokenWordError(f"{self.name} wrote to {out.topic.name} at {now_ns} ns")
        return unit.outputs

    def _unit(self, now_ns: int) -> ReplayUnit:
        return ReplayUnit(self.name, self.partition, now_ns, self.rows, self._silent_on)
