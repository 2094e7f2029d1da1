"""Executions as rows of a table: one record each, apart from what they add up to.

Key `account#broker|exec_id`: `#` sorts before `|`, so a scan of `account|` meets none of them.
"""

from typing import Any, NamedTuple

from streams.domain.executions import Execution
from streams.ports import Unit


class ExecutionRows(NamedTuple):
    """The executions of one account at one broker. Implements `domain.executions.Executions`.

    Not `writable`: what is put is dropped, for records whose effect the table has already.
    """

    unit: Unit[Any]
    account: str
    broker: str
    writable: bool = True
    #: The keys of what was put, for who has to see that they leave again.
    written: dict[str, Execution] | None = None

    def get(self, exec_id: str) -> Execution | None:
        """Return what is known of an execution, or None."""
        found = self.unit.get(f"{self.account}#{self.broker}|{exec_id}")
        return found if isinstance(found, Execution) else None

    def put(self, execution: Execution) -> None:
        """Keep an execution."""
        if self.writable:
            key = f"{self.account}#{self.broker}|{execution.exec_id}"
            self.unit.put(key, execution)
            if self.written is not None:
                self.written[key] = execution
