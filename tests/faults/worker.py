"""A worker that ends, at once and without a word to anybody, at the n-th step of its work.

Started as `python -m tests.faults.worker ROLE`; without ORDERFLOW_TEST_CRASH_AT it is the worker
as it is. A step lies before and after everything that others can see: a record batch handed to
the producer, the outputs, the write to the local store, a batch that counts as done, a commit,
an insert into the history. All steps of a process are numbered together. With
ORDERFLOW_TEST_CRASH_PLACES it is killed at awaits instead; see `tests.faults.awaits`.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import streams.main
from connectors.clickhouse.history import ClickHouseHistory
from streams.settings import Settings
from streams.transport.consumer import Consumer
from streams.transport.ledger import Ledger
from streams.transport.publisher import Publisher, _Changes
from streams.transport.sender import Sender
from streams.wiring import ROLES
from tests.faults import awaits

AT = "ORDERFLOW_TEST_CRASH_AT"
EXIT_CRASH = 75


class Steps:
    """Counts steps; ends the process at the chosen one."""

    def __init__(self, last: int) -> None:
        self._last = last
        self._count = 0

    def passed(self, name: str) -> None:
        """Take one step."""
        self._count += 1
        if self._count == self._last:
            sys.stderr.write(f'{{"event": "crash_step", "step": {self._last}, "at": "{name}"}}\n')
            sys.stderr.flush()
            os._exit(EXIT_CRASH)

    def around(self, owner: Any, name: str) -> None:
        """Make a step before and after a method that awaits."""
        method: Callable[..., Awaitable[Any]] = getattr(owner, name)

        async def stepped(*args: Any, **kwargs: Any) -> Any:
            self.passed(f"before {name}")
            result = await method(*args, **kwargs)
            self.passed(f"after {name}")
            return result

        setattr(owner, name, stepped)

    def beside(self, owner: Any, name: str) -> None:
        """Make a step before and after a method that does not await."""
        method: Callable[..., Any] = getattr(owner, name)

        def stepped(*args: Any, **kwargs: Any) -> Any:
            self.passed(f"before {name}")
            result = method(*args, **kwargs)
            self.passed(f"after {name}")
            return result

        setattr(owner, name, stepped)


def install(last: int) -> None:
    """Count the steps from now on."""
    steps = Steps(last)
    for name in ("_send_changes", "_send_outputs"):
        steps.around(Publisher, name)
    steps.around(Sender, "_send_some")
    steps.around(Consumer, "_commit")
    steps.around(ClickHouseHistory, "_send")
    steps.beside(_Changes, "settle")
    steps.beside(Ledger, "done")


def main() -> None:
    """Run the worker until a signal, or its last step, ends it."""
    if AT in os.environ:
        install(int(os.environ[AT]))
    if awaits.PLACES in os.environ:
        awaits.watch(Path(os.environ[awaits.PLACES]))
    role = next(role for role in ROLES if role == sys.argv[1])
    sys.argv = sys.argv[:1]
    streams.main.run(Settings(), role)


if __name__ == "__main__":
    main()
