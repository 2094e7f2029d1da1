"""The watchdog of a worker: a thread that looks, beside an event loop that says how it is.

Every second the loop writes down what is to be known (`gather`); the thread looks at it, at the
clocks, and at whether the loop still writes. What is wrong for too long (`judge`) ends the process
with the watchdog's name as cause. A call that holds Python's own lock stops this thread too; then
Kafka gives the worker's partitions to another one, and the lease ends it when the call returns.
"""

import asyncio
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import aiokafka
import structlog
from faust.types import TP

from streams import clock
from streams.ports import AsyncAgent
from streams.transport.consumer import Consumer
from streams.transport.fatal import die
from streams.transport.judge import Facts, Judge, Limits, PartitionFacts, Verdict, Watch
from streams.transport.runner import Runner

log = structlog.get_logger(__name__)

TICK_S = 1.0
LOOK_S = 0.5
#: A thread that was not woken for so long was not the only one that stood still.
STOOD_STILL_S = 5.0
#: The two clocks are read one after the other; what comes between must not look like a step.
READ_S = 0.05
#: How often Kafka is asked where the logs end. Fetches say so too, unless they have stopped.
ENDS_S = 10.0


class Watchdog:
    """Watches one worker from `start` until the process ends."""

    def __init__(self, app: Any, limits: Limits) -> None:
        """`app` is the Faust app, with our runners in `app.batched.runners`."""
        self.app = app
        self.judge = Judge(limits)
        self.ends: dict[TP, int] = {}
        self._facts: Facts | None = None
        self._looked_s = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch, in the running event loop."""
        self._asking = asyncio.get_running_loop().create_task(self._ask_ends())
        self._tick()
        self._thread.start()

    def stopping(self) -> None:
        """Note that an orderly end has begun: it has a bound, and the rest counts no more."""
        self.judge.stopping(clock.monotonic())
        if self._asking is not None:
            self._asking.cancel()

    def _tick(self) -> None:
        try:
            self._facts = gather(self.app, self.ends)
        except Exception:  # assignments change in another thread, if the consumer has one
            log.exception("watchdog_sees_nothing")
            self._facts = Facts(clock.monotonic())
        asyncio.get_running_loop().call_later(TICK_S, self._tick)

    async def _ask_ends(self) -> None:
        """Ask where the logs end, so that a lag is seen when nothing is fetched any more."""
        every_s = min(ENDS_S, self.judge.limits.no_progress_s / 3)
        while True:
            await asyncio.sleep(every_s)
            if self._facts is not None and self._facts.working:
                with suppress(Exception):  # Kafka is away: what was known is still true
                    async with asyncio.timeout(every_s):
                        self.ends = await _ends(cast(Consumer, self.app.consumer))

    def _watch(self) -> None:
        pause = threading.Event()
        self._looked_s = clock.monotonic()
        while not pause.wait(LOOK_S):
            try:
                self._look()
            except Exception as error:
                die("the watchdog itself failed", error)

    def _look(self) -> None:
        now_s, ahead_s = _clocks()
        stood_still_s, self._looked_s = now_s - self._looked_s, now_s
        if stood_still_s > STOOD_STILL_S:
            self.judge.forgive(now_s)
            return
        facts = self._facts
        if facts is not None and not facts.working:
            # The first step after a restore may block the loop before it has said that it works.
            facts = replace(facts, working=is_working(self.app))
        if (verdict := self.judge.look(facts, now_s, ahead_s)) is not None:
            _end(verdict)


def _end(verdict: Verdict) -> None:
    if verdict.watch is Watch.BLOCKED_LOOP:
        # A step that never returns would be tried again for ever.
        die(f"{verdict.reason}; it is in {_where()}", cause=verdict.watch, by_record=True)
    die(verdict.reason, cause=verdict.watch)


def _where() -> str:
    """Return the call that the main thread is in."""
    ident = threading.main_thread().ident
    frame = sys._current_frames().get(ident) if ident is not None else None
    if frame is None:
        return "no Python code"
    last = traceback.extract_stack(frame)[-1]
    return f"{last.name} ({last.filename.rsplit('/', 1)[-1]}:{last.lineno})"


def _clocks() -> tuple[float, float | None]:
    """Return the monotonic time, and how far ahead of it the wall clock is, if that is sure."""
    before = clock.monotonic()
    wall_s = clock.now_ns() / 1e9
    after = clock.monotonic()
    return after, wall_s - after if after - before < READ_S else None


async def _ends(consumer: Consumer) -> dict[TP, int]:
    """Ask Kafka where the logs of a worker's partitions end."""
    client = cast(Any, consumer._thread._consumer)
    places = [aiokafka.TopicPartition(*tp) for tp in _inputs(consumer)]
    found = await cast(Any, consumer._thread).call_thread(client.end_offsets, places)
    return {TP(*place): end for place, end in found.items()}


def is_working(app: Any) -> bool:
    """Return whether a worker has its partitions and tables, and is to go on; from any thread."""
    consumer = cast(Consumer, app.consumer)
    return (
        consumer.flow_active
        and not (app.should_stop or app.rebalancing)
        and app.tables.recovery.completed.is_set()
        and consumer._thread._consumer is not None
    )


def gather(app: Any, ends: dict[TP, int]) -> Facts:
    """Return how a worker is; `ends` are log ends as last asked for. Call it in the event loop."""
    consumer = cast(Consumer, app.consumer)
    runners: list[Runner] = app.batched.runners
    working = is_working(app)
    return Facts(
        clock.monotonic(),
        working=working,
        partitions=_partitions(consumer, runners, ends) if working else {},
        dead=tuple(runner.name for runner in runners if _is_dead(app, runner)) if working else (),
        records=sum(runner.records for runner in runners),
        taken_up=_taken_up(app),
    )


def _taken_up(app: Any) -> tuple[int, ...]:
    """Return what changes while a worker joins its group and restores its tables."""
    recovery = app.tables.recovery
    return recovery.restored, recovery._generation_id, len(app.consumer.assignment())


def _is_dead(app: Any, runner: Runner) -> bool:
    """Return whether no task of Faust's runs the agent any more."""
    tasks = [actor.actor_task for actor in app.agents[runner.name]._actors]
    return all(task is None or task.done() for task in tasks)


def _inputs(consumer: Consumer) -> list[TP]:
    """Return the partitions that agents read; changelogs are never consumed by this client."""
    return [TP(*tp) for tp in consumer.assignment() if not consumer._is_changelog_tp(TP(*tp))]


def _partitions(
    consumer: Consumer, runners: list[Runner], ends: dict[TP, int]
) -> dict[tuple[str, int], PartitionFacts]:
    readers: dict[str, list[Runner]] = {}
    for runner in runners:
        for topic in runner.spec.reads:
            readers.setdefault(runner.namespaced(topic.name), []).append(runner)
    found = {}
    for tp in _inputs(consumer):
        known = _partition(consumer, readers.get(tp.topic, []), tp, ends.get(tp, 0))
        if known is not None:
            found[tp.topic, tp.partition] = known
    return found


def _partition(
    consumer: Consumer, runners: list[Runner], tp: TP, end: int
) -> PartitionFacts | None:
    """Return how far a partition is; None while the client does not know where it is."""
    assignment = cast(Any, consumer._thread._consumer)._subscription.subscription.assignment
    state = assignment.state_value(aiokafka.TopicPartition(*tp))
    if state is None or state._position is None:
        return None
    queued = consumer.ledger.is_queued(tp)
    open_from, waiting_from = consumer.ledger.open_from(tp), consumer.backlog.first_of(tp)
    worked = next((at for at in (open_from, waiting_from) if at is not None), state._position)
    begun = () if queued else (one for one in runners if not isinstance(one.agent, AsyncAgent))
    return PartitionFacts(
        end=max(end, state.highwater or 0),
        worked=worked,
        floor=consumer.ledger.floor(tp),
        committed=consumer._committed_offset.get(tp),
        moved=sum(runner.records for runner in begun),
        queued=queued,
        publishing=any(runner.in_flight({tp.partition}) for runner in runners),
        waits_for=next((runner.waits_for for runner in runners if runner.waits_for), ""),
    )
