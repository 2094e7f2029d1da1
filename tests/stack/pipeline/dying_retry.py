"""`dead-letters` in a process that kills itself on the way, as `kill -9` at that moment would.

Started as `python -m tests.stack.pipeline.dying_retry WHERE retry …`:

    announced  the letters are announced, nothing is sent
    sent       the records are with Kafka, nothing is marked
    marked     the records and the marks are with Kafka, the transaction is open
"""

import os
import signal
import sys
from typing import Any

from connectors.kafka import redrive
from streams.cli.main import main
from streams.models.dead_letters import Action


def die_at(where: str) -> None:
    """Have the process end at this point."""
    mark, produce = redrive._mark, redrive._produce

    async def marking(*args: Any) -> None:
        await mark(*args)
        if where == "marked" and args[3] is Action.RETRIED:
            os.kill(os.getpid(), signal.SIGKILL)

    async def producing(*args: Any) -> None:
        if where == "announced":
            os.kill(os.getpid(), signal.SIGKILL)
        await produce(*args)
        if where == "sent":
            os.kill(os.getpid(), signal.SIGKILL)

    redrive._mark, redrive._produce = marking, producing


if __name__ == "__main__":
    die_at(sys.argv[1])
    main(["dead-letters", *sys.argv[2:]])
