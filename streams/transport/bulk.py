"""Gives a bulk agent its records, many at once; one by one where something is in the way.

In the way are records that the table has already, a fold that raised, and a fold that ended the
process before: the journal names all of its records, and one by one it finds the one.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from streams.ports import Agent, BulkAgent, Record
from streams.transport.journal import Journal
from streams.transport.unit import UnitOfWork

log = structlog.get_logger(__name__)


class Steps(Protocol):
    """What the runner does with one record; `records` and `rejected` are its counts."""

    name: str
    journal: Journal
    records: int
    rejected: int

    def apply(
        self, agent: Agent[Any], unit: UnitOfWork, record: Record, applied: int, lane: int
    ) -> None:
        """Step one record; `applied` is the offset below which the table has all."""

    def undecodable(self, unit: UnitOfWork, record: Record) -> bool:
        """Return whether a record is no message; that is a dead letter then."""

    def rebuild(self, agent: Agent[Any], unit: UnitOfWork) -> None:
        """Derive anew what was taken back."""


class Bulk:
    """The records of one bulk agent."""

    def __init__(self, steps: Steps, agent: BulkAgent[Any]) -> None:
        self._steps = steps
        self._agent = agent

    def portions(self, records: Sequence[Record]) -> list[Sequence[Record]]:
        """Return a batch in the portions that are folded."""
        size = self._agent.at_once(records[0].topic) if records else 1
        return [records[first : first + size] for first in range(0, len(records), size)]

    def take(self, unit: UnitOfWork, records: Sequence[Record], applied: int, lane: int) -> None:
        """Fold a portion, or step through it."""
        alone = records[0].offset < applied or self._is_suspected(records)
        if alone or not self._folded(unit, records, lane):
            for record in records:
                self._steps.apply(self._agent, unit, record, applied, lane)

    def _is_suspected(self, records: Sequence[Record]) -> bool:
        first, last = records[0], records[-1]
        return self._steps.journal.suspects_in(
            self._steps.name, first.topic, first.partition, first.offset, last.offset + 1
        )

    def _folded(self, unit: UnitOfWork, records: Sequence[Record], lane: int) -> bool:
        steps, first, last = self._steps, records[0], records[-1]
        unit.begin()
        rejected = steps.rejected
        steps.journal.folding(lane, first.offset, last.offset + 1)
        try:
            self._agent.fold(unit, [one for one in records if not steps.undecodable(unit, one)])
        except KeyboardInterrupt:
            raise
        except BaseException:  # as where one is stepped
            log.exception("fold_failed", agent=steps.name, offset=first.offset)
            unit.roll_back()
            steps.rebuild(self._agent, unit)
            steps.rejected = rejected
            return False
        steps.records += len(records)
        unit.finish(last)
        return True
