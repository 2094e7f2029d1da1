"""What an agent does beside its records: a task per owned partition, and its units of work.

The task lives from when a partition was restored until it is given up. It awaits what it wants;
what it changes goes through `work`, in the agent's lock, as a batch does.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from streams.ports import Agent, GivenUpError, Unit
from streams.transport.fatal import die
from streams.transport.publisher import Publisher
from streams.transport.unit import UnitOfWork

T = TypeVar("T")

#: How often it is looked which partitions are owned and nobody attends to.
LOOK_S = 0.1


class Around(Protocol):
    """What the runner gives."""

    name: str

    @property
    def publisher(self) -> Publisher:
        """The agent's publisher."""

    def owned(self) -> list[int]:
        """Return the partitions that may be worked on now."""

    def unit_of(self, partition: int) -> UnitOfWork:
        """Return a new unit of work of a partition, with its state."""

    def fence(self) -> None:
        """End the process if it stood still for too long."""


class Post:
    """An owned partition. Implements `streams.ports.Owned`."""

    def __init__(self, around: Around, lock: asyncio.Lock, partition: int) -> None:
        self.partition = partition
        self.given_up = False
        self._around = around
        self._lock = lock

    async def work(self, do: Callable[[Unit[Any]], T]) -> T:
        """Run `do` on a unit of work; return when Kafka has acknowledged all of it."""
        async with self._lock:
            self._check()
            publisher, unit = self._around.publisher, self._around.unit_of(self.partition)
            unit.begin()
            try:
                result = do(unit)
            except BaseException:
                unit.roll_back()
                raise
            if not (unit.changed or unit.outputs):
                return result
            done = asyncio.Event()
            await publisher.publish(unit, done.set)
        await done.wait()
        return result

    async def durable(self) -> None:
        """Return when all that was put and emitted so far is acknowledged."""
        async with self._lock:
            self._check()
            publisher = self._around.publisher
        await publisher.finished(self.partition)

    def fence(self) -> None:
        """End the process if it stood still; raise if the partition was given up."""
        self._around.fence()
        self._check()

    def settled_ns(self) -> int:
        """Return a time before which every unit is acknowledged."""
        return self._around.publisher.settled_ns(self.partition)

    def _check(self) -> None:
        if self.given_up or self.partition not in self._around.owned():
            raise GivenUpError(f"partition {self.partition} of {self._around.name}")


class Attendance:
    """The tasks of one agent, one for each partition that it owns."""

    def __init__(self, agent: Agent[Any], around: Around, lock: asyncio.Lock) -> None:
        self._agent = agent
        self._around = around
        self._lock = lock
        self._posts: dict[int, tuple[Post, asyncio.Task[None]]] = {}
        self._paused = False

    async def run(self) -> None:
        """Begin a task for each partition that comes to be owned; for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._paused:
                continue
            for partition in self._around.owned():
                known = self._posts.get(partition)
                # One that is done met a rebalance that took nothing away from here.
                if known is None or known[1].done():
                    post = Post(self._around, self._lock, partition)
                    task = asyncio.get_running_loop().create_task(self._attend(post))
                    self._posts[partition] = post, task

    async def _attend(self, post: Post) -> None:
        try:
            await self._agent.attend(cast(Any, post))
        except (asyncio.CancelledError, GivenUpError):
            raise
        except BaseException as error:
            if not _only_given_up(error):
                die(f"agent {self._around.name} failed beside its records", error)

    async def stop(self) -> None:
        """End all tasks; none begins before `resume`. What they were waiting for is dropped."""
        self._paused = True
        posts = list(self._posts.values())
        self._posts.clear()
        for post, task in posts:
            post.given_up = True
            task.cancel()
        await asyncio.gather(*(task for _, task in posts), return_exceptions=True)

    def resume(self) -> None:
        """Let tasks begin again."""
        self._paused = False


def _only_given_up(error: BaseException) -> bool:
    """Say whether an error, or all of a group, is that the partition was given up."""
    if isinstance(error, BaseExceptionGroup):
        return all(_only_given_up(one) for one in error.exceptions)
    return isinstance(error, GivenUpError | asyncio.CancelledError)
