"""The consumer's loop, as it ends."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from streams.transport.consumer import Consumer


class Held(Consumer):
    """A consumer whose flow is not resumed: a rebalance is under way."""

    flow_active = False
    should_stop = False

    def __init__(self, stopping: bool) -> None:
        self.app: Any = SimpleNamespace(should_stop=stopping)
        self.can_resume_flow = asyncio.Event()

    async def wait(self, event: Any, **_: Any) -> Any:
        """Wait as Faust's services do."""
        await event.wait()

    async def _deliver_all(self) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("stopping", [True, False])
async def test_a_stop_amid_a_rebalance_is_no_crash(stopping: bool) -> None:
    """What is cancelled because the worker ends has ended; anything else is told."""
    task = asyncio.create_task(Held(stopping)._drain_messages(SimpleNamespace(should_stop=False)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() is not stopping
