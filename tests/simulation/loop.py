"""Event loops whose time is the simulation's: asyncio code runs on them as it is, and repeats.

There is one timeline, and an event loop for each process. What is due happens in order of time,
and what is due at once in the order in which it was asked for. Nothing here waits, and nothing
runs but in `Timeline.run`.
"""

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop, heappush
from typing import Any

SECOND_NS = 1_000_000_000


class Timer:
    """Something that will be done at a time, unless it is cancelled."""

    __slots__ = ("args", "context", "do", "loop", "when_ns")

    def __init__(self, when_ns: int, loop: "Loop | None", do: Callable[..., Any]) -> None:
        self.when_ns = when_ns
        self.loop = loop
        self.do: Callable[..., Any] | None = do
        self.args: tuple[Any, ...] = ()
        self.context: Context | None = None

    def cancel(self) -> None:
        """Do nothing at that time."""
        self.do = None


class Timeline:
    """What is going to happen, in all processes and outside."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.loops: list[Loop] = []
        self._waiting: list[tuple[int, int, Timer]] = []
        self._count = 0

    def at(self, when_ns: int, do: Callable[..., Any], loop: "Loop | None" = None) -> Timer:
        """Do something at a time; with a `loop`, as a callback of it."""
        timer = Timer(when_ns, loop, do)
        self._count += 1
        heappush(self._waiting, (when_ns, self._count, timer))
        return timer

    def next_ns(self) -> int | None:
        """Return when the next thing is due; None: never."""
        while self._waiting and self._waiting[0][2].do is None:
            heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None

    def run(self, until_ns: int) -> None:
        """Let everything happen that is due by then."""
        self._drain()
        waiting = self._waiting
        while waiting and waiting[0][0] <= until_ns:
            when_ns, _, timer = heappop(waiting)
            if timer.do is None or (timer.loop is not None and timer.loop.ended):
                continue
            self.now_ns = max(self.now_ns, when_ns)
            if timer.loop is None:
                timer.do()
            else:
                timer.loop.ready.append((timer.do, timer.args, timer.context))
            self._drain()
        self.now_ns = max(self.now_ns, until_ns)

    def _drain(self) -> None:
        for loop in self.loops:
            if loop.ready and not loop.frozen:
                loop.drain()


class Loop(asyncio.AbstractEventLoop):
    """The event loop of one process. `frozen`: the process stands still."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.ready: deque[tuple[Callable[..., Any], tuple[Any, ...], Context | None]] = deque()
        self.frozen = self.ended = False
        self.failed: list[str] = []
        timeline.loops.append(self)

    def drain(self) -> None:
        """Run what can run now."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            while self.ready:
                do, args, context = self.ready.popleft()
                context.run(do, *args) if context is not None else do(*args)
        finally:
            events._set_running_loop(before)

    def end(self) -> None:
        """Forget the loop; what waits on it never happens."""
        if not self.ended:
            self.timeline.loops.remove(self)
        self.ended = True

    # What asyncio asks of a loop.

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> None:
        """Run something when it is the loop's turn."""
        self.ready.append((callback, args, context))

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Timer:
        """Run something at a time of `time()`."""
        return self.call_later(when - self.time(), callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> Timer:
        """Run something in so many seconds."""
        timer = self.timeline.at(self.timeline.now_ns + int(delay * SECOND_NS), callback, self)
        timer.args, timer.context = args, context
        return timer

    def time(self) -> float:
        """Return the time in seconds."""
        return self.timeline.now_ns / SECOND_NS

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Any = None
    ) -> asyncio.Task[Any]:
        """Start a task."""
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note an error that nobody took."""
        self.failed.append(str(context.get("exception") or context.get("message")))

    def get_debug(self) -> bool:
        """Say no."""
        return False

    def is_running(self) -> bool:
        """Say whether code of the loop runs."""
        return events._get_running_loop() is self

    def is_closed(self) -> bool:
        """Say no."""
        return False
