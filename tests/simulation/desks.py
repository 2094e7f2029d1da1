"""What the sender does beside its records, in one process: its desks, on a loop of simulated time.

`Sender`, `Desk`, `Line` and the transport's `Post` are the real ones. The model is what is around
them: the publisher (as in `worker.py`), and when the desks begin and end.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from streams import defences
from streams.defences import Defence
from streams.ports import GivenUpError
from streams.transport.attending import Post, _only_given_up
from streams.transport.unit import UnitOfWork
from tests.simulation.loop import Loop, Timeline

if TYPE_CHECKING:
    from tests.simulation.worker import Task, Worker


class Outside:
    """What the publisher of a process that stood still sends into: nothing of it arrives."""

    def __init__(self) -> None:
        self.outbox: dict[Any, deque[Any]] = defaultdict(deque)


class Desks:
    """The desks of a process, one for each partition that it has. The `Around` of their posts."""

    name = "sender"

    def __init__(self, worker: "Worker", task: "Task", timeline: Timeline) -> None:
        self.worker = worker
        self.task = task
        self.numbers: list[int] = []
        self.stood_still = False
        self.loop = Loop(timeline)
        self.lock = asyncio.Lock()
        self.publisher: Any = self  # the publisher's part that posts use is below
        self.failed: list[str] = []
        self._posts: list[tuple[Post, asyncio.Task[None]]] = []

    def begin(self) -> None:
        """Take up the partitions of the process."""
        self.numbers = self.worker.owned
        for number in self.numbers:
            post = Post(self, self.lock, number)
            attending = self.loop.create_task(self.task.agent.attend(post))
            attending.add_done_callback(self._ended)
            self._posts.append((post, attending))

    def _ended(self, attending: "asyncio.Task[None]") -> None:
        error = None if attending.cancelled() else attending.exception()
        if error is not None and not _only_given_up(error):
            self.failed.append(f"{type(error).__name__}: {error}")

    def stop(self) -> None:
        """End the desks; what they were waiting for is dropped."""
        for post, attending in self._posts:
            post.given_up = True
            attending.cancel()
        self._posts.clear()
        self.loop.drain()

    def end(self) -> None:
        """Let the process be gone."""
        self.stop()
        self.loop.end()

    def stand_still(self, elsewhere: "Outside") -> None:
        """Stop until `go_on`; what it sends from then on goes elsewhere."""
        self.loop.frozen = self.stood_still = True
        for lane in self.task.lanes.values():
            lane.worker = elsewhere
            lane.state = lane.state.copy()  # what it does is in its memory alone

    def go_on(self) -> None:
        """Go on as if nothing had been, until the end."""
        self.loop.frozen = False

    # What a post needs of the runner.

    def owned(self) -> list[int]:
        """Return the partitions that may be worked on now."""
        return self.numbers

    def unit_of(self, partition: int) -> UnitOfWork:
        """Return a new unit of work."""
        return self.worker._unit(self.task, partition, self.loop.timeline.now_ns)

    def fence(self) -> None:
        """Do not go on if the process stood still."""
        if self.stood_still and defences.on(Defence.FENCE):
            raise GivenUpError("stood still for too long")

    # And of the publisher.

    async def publish(self, unit: UnitOfWork, done: Callable[[], None]) -> None:
        """Start publishing a unit; return when there is room for it."""
        lane = self.task.lanes[unit.partition]
        while lane.full():
            room = self.loop.create_future()
            lane.units[0].then.append(lambda room=room: room.done() or room.set_result(None))
            await room
        lane.publish(unit, done)

    async def finished(self, partition: int) -> None:
        """Wait until the units that were given so far are finished."""
        lane = self.task.lanes[partition]
        if lane.units:
            last = self.loop.create_future()
            lane.units[-1].then.append(lambda: last.done() or last.set_result(None))
            await last

    def settled_ns(self, partition: int) -> int:
        """Return the time of the newest unit that is finished."""
        return self.task.lanes[partition].settled_ns
