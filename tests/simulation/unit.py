"""The real unit of work, that keeps what is emitted as the objects they are.

To encode and decode every message would take most of a run's time; one run of 41 does.
"""

from typing import Any

from streams.models.base import Message
from streams.topics import TopicSpec
from streams.transport.sender import Out
from streams.transport.unit import UnitOfWork


class ObjectUnit(UnitOfWork):
    """A `UnitOfWork` that does not encode."""

    def emit(
        self, topic: TopicSpec, key: str, value: Message, partition_key: str | None = None
    ) -> None:
        """Publish a record when the unit is done."""
        raw_key = key.encode()
        by = raw_key if partition_key is None else partition_key.encode()
        kept: Any = value
        self.outputs.append((topic, by, Out(raw_key, kept)))
