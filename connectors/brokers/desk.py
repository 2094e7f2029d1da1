"""Makes the calls to brokers across a network, and follows their streams, for one partition.

Every call of a submit passes `_barred`: kill switch, valid-until, circuit breaker, rate. Then the
fence, and nothing between it and the call. A call without an answer is never repeated blindly:
the broker is asked for the client order id until it says what became of it.

The calls of an account go out in order, one at a time; a question for one order holds up what
concerns that order, nothing else. What comes of a call is taken into the table by the sender, in
a unit of work.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import count
from typing import Protocol, TypeVar

import structlog

from connectors.brokers.line import Line, look
from streams import clock, defences
from streams.broker import Ack, BrokerEvent, BrokerOrder, Outcome, Theirs
from streams.defences import Defence
from streams.domain import sending
from streams.domain.breaker import SECOND_NS, backoff_s
from streams.domain.build import evolve
from streams.domain.controls import ControlSet
from streams.domain.refusals import Code, refuse
from streams.domain.sending import Now, Sending, Step
from streams.domain.switches import stopped
from streams.models.orders import Refusal, VenueOrder
from streams.ports import Owned, Unit
from tables.sends import Item, SendRow, Tray, cursor_key

T = TypeVar("T")

#: Calls of a partition under way at once.
MAX_CALLS = 16
#: Events of a broker's stream that are one unit of work.
MAX_NEWS = 200
TICK_S = 1.0
RETRY_FIRST_S = 0.2
RETRY_MOST_S = 10.0
#: The first comparison waits for what the stream brings at once.
COMPARE_FIRST_S = 5.0
#: Fills of so long ago are asked for in the first comparison, and twice in the others.
LOOK_BACK_NS = 86_400 * SECOND_NS
OVERLAP_NS = 60 * SECOND_NS

log = structlog.get_logger(__name__)


class Books(Protocol):
    """What the sender does in a unit of work; see `agents.sender.Sender`."""

    def tray(self, partition: int) -> Tray:
        """Return what waits to be done."""

    def apply(
        self,
        unit: Unit[SendRow],
        key: str,
        do: Callable[[Sending, Now], Step],
        settled_ns: int,
    ) -> None:
        """Take what became of a call into the order it was about."""

    def found(self, unit: Unit[SendRow], key: str, order: BrokerOrder, settled_ns: int) -> None:
        """Take how an order stands at the broker, which was asked for it."""

    def compare(self, unit: Unit[SendRow], broker: str, theirs: Theirs, settled_ns: int) -> None:
        """Compare what the broker has with ours."""

    def take_in(
        self, unit: Unit[SendRow], broker: str, news: list[BrokerEvent], settled_ns: int
    ) -> None:
        """Take in what a broker's stream tells."""

    def age(self, unit: Unit[SendRow]) -> None:
        """Do what time alone brings."""

    def say_again(self, unit: Unit[SendRow]) -> None:
        """Publish again what may not have reached Kafka."""


class Desk:
    """The calls and streams of one partition."""

    def __init__(
        self,
        books: Books,
        owned: Owned[SendRow],
        lines: Mapping[str, Line],
        controls: Callable[[], ControlSet],
        now_ns: Callable[[], int] = clock.now_ns,
    ) -> None:
        self._books = books
        self._owned = owned
        self._lines = lines
        self._controls = controls
        self._now_ns = now_ns
        self._tray = books.tray(owned.partition)
        self._brokers = {name: line.connect() for name, line in lines.items()}
        self._fresh = asyncio.Event()
        self._calls = asyncio.Semaphore(MAX_CALLS)
        self._queues: dict[str, deque[Item]] = {}
        self._asking: dict[str, list[Item]] = {}
        self._tasks = asyncio.TaskGroup()

    async def run(self) -> None:
        """Work until cancelled."""
        self._tray.on_fresh = self._fresh.set
        try:
            await self._owned.work(self._books.say_again)
            async with self._tasks:
                for name in self._brokers:
                    self._tasks.create_task(self._follow(name))
                    self._tasks.create_task(self._compare(name))
                self._tasks.create_task(self._tick())
                await self._dispatch()
        finally:
            await asyncio.gather(*(one.stop() for one in self._brokers.values()))

    # Commands.

    async def _dispatch(self) -> None:
        """Give each command to its account's queue; ask first for what may have been sent."""
        while True:
            while self._tray.items:
                item = self._tray.items.popleft()
                may_be_there = item.again and defences.on(Defence.FIND_FIRST)
                if may_be_there and item.order.command == "submit":
                    self._find_out_about(item)
                else:
                    self._enqueue(item)
            self._fresh.clear()
            await self._fresh.wait()

    def _enqueue(self, *items: Item) -> None:
        for item in items:
            account = item.order.account
            if account in self._queues:
                self._queues[account].append(item)
            else:
                self._queues[account] = deque([item])
                self._tasks.create_task(self._work_off(account))

    async def _work_off(self, account: str) -> None:
        """Make the calls of an account, in order."""
        queue = self._queues[account]
        while queue:
            item = queue.popleft()
            if item.key in self._asking:
                self._asking[item.key].append(item)
                continue
            await self._owned.durable()
            if item.order.command != "submit":
                await self._change(item)
            elif not await self._submit(item):
                self._find_out_about(item)
        del self._queues[account]

    async def _submit(self, item: Item, resends: int = 0) -> bool:
        """Send an order; return whether it is known what became of it."""
        sent = item.order
        if resends and not defences.on(Defence.STABLE_ID):
            sent = evolve(sent, client_order_id=f"{sent.client_order_id}-{resends}")
        for tries in count():
            answer, version = await self._send(sent)
            if isinstance(answer, Refusal):
                await self._refuse(item, answer, version)
                return True
            if answer.outcome is not Outcome.UNKNOWN or not defences.on(Defence.UNKNOWN):
                await self._answered(item, answer, version)
                return True
            if answer.sent:
                return False
            await self._pause(item, tries)
        raise AssertionError("counting does not end")

    async def _send(self, order: VenueOrder) -> tuple[Ack | Refusal, int]:
        """Make the call of an order as soon as it may go, or say why it may not.

        Also returned is the version of the controls it went out under, or was refused by.
        """
        async with self._calls:
            while True:
                controls = self._controls()
                if barred := self._barred(order, controls):
                    return barred, controls.version
                wait_ns = self._lines[order.broker].bucket.wait_ns(self._now_ns())
                if not wait_ns:
                    call = self._brokers[order.broker].submit
                    return await self._call(order, call), controls.version
                await asyncio.sleep(wait_ns / SECOND_NS)

    def _barred(self, order: VenueOrder, controls: ControlSet) -> Refusal | None:
        """Return why an order is not sent now, and never will be."""
        now_ns, line = self._now_ns(), self._lines.get(order.broker)
        if (refusal := stopped(controls, order)) is not None:
            return refusal
        if _is_late(order, now_ns):
            return refuse(Code.EXPIRED_UNSENT, "its time to be sent is over")
        if line is None:
            return refuse(Code.BROKER_DOWN, f"{order.broker} is not connected")
        if not line.breaker.allows(now_ns):
            return refuse(Code.BROKER_DOWN, f"{order.broker} does not answer")
        if _is_late(order, now_ns + line.bucket.wait_ns(now_ns)):
            return refuse(Code.BROKER_DOWN, f"too many calls of {order.broker} wait")
        return None

    async def _call(self, order: VenueOrder, call: Callable[[VenueOrder], Awaitable[Ack]]) -> Ack:
        """Make one call. The fence is the last moment to notice that the partition was lost."""
        line = self._lines[order.broker]
        line.goes_out(self._now_ns())
        if defences.on(Defence.FENCE):
            self._owned.fence()
        ack = await call(order)
        line.answered(ack, self._now_ns())
        return ack

    async def _change(self, item: Item) -> None:
        """Send a cancel or replace, again and again if need be: the broker knows its request id."""
        order, line = item.order, self._lines.get(item.order.broker)
        for tries in count():
            now_ns = self._now_ns()
            if why := await self._moot(item, late=line is None or _is_late(order, now_ns)):
                await self._refuse(item, why)
                return
            assert line is not None
            if line.is_free(now_ns):
                broker = self._brokers[order.broker]
                call = broker.cancel if order.command == "cancel" else broker.replace
                async with self._calls:
                    ack = await self._call(order, call)
                if ack.outcome is not Outcome.UNKNOWN:
                    await self._answered(item, ack)
                    return
            await self._pause(item, tries)

    async def _moot(self, item: Item, *, late: bool) -> Refusal | None:
        """Return why a cancel or replace need not be sent, or not any more."""
        never = await self._owned.work(lambda unit: _never_went_out(unit, item))
        if never:
            return refuse(Code.TOO_LATE, "the order never went out")
        if late:
            return refuse(Code.BROKER_DOWN, "it is not known that the broker took it")
        return None

    # What is not known.

    def _find_out_about(self, item: Item) -> None:
        if item.key not in self._asking:
            self._asking[item.key] = []
            self._tasks.create_task(self._find_out(item))

    async def _find_out(self, item: Item) -> None:
        """Ask until it is known what became of an order; send it if it is not there."""
        await self._owned.durable()
        order, line = item.order, self._lines.get(item.order.broker)
        if line is None:
            await self._refuse(item, refuse(Code.BROKER_DOWN, f"{order.broker} is not connected"))
        else:
            sent_ns, misses, resends, tries = self._now_ns(), 0, 0, 0
            while not await self._owned.work(lambda unit: _has_answer(unit, item)):
                found = await self._ask(order, line)
                if isinstance(found, BrokerOrder):
                    await self._found(item, found)
                    break
                misses += found is None
                # The call may still be on its way: the second look is a time-out after it.
                is_settled = self._now_ns() - sent_ns >= line.timeout_s * SECOND_NS
                if misses >= 2 and is_settled:
                    resends += 1
                    if await self._submit(item, resends):
                        break
                    sent_ns, misses, tries = self._now_ns(), 0, 0
                await self._pause(item, tries)
                tries += 1
        self._enqueue(*self._asking.pop(item.key))

    async def _ask(self, order: VenueOrder, line: Line) -> BrokerOrder | ConnectionError | None:
        """Return the order as the broker has it; None: it says that it has none."""
        try:
            return await line.ask(self._brokers[order.broker].find(order), self._now_ns)
        except ConnectionError as error:
            return error

    async def _pause(self, item: Item, tries: int) -> None:
        await asyncio.sleep(backoff_s(item.key, tries, RETRY_FIRST_S, RETRY_MOST_S))

    # Outcomes.

    async def _answered(self, item: Item, ack: Ack, version: int = 0) -> None:
        refusal = None
        if ack.outcome not in (Outcome.ACCEPTED, Outcome.DUPLICATE):
            refusal = refuse(Code(ack.code or Code.BROKER_DOWN), ack.text)
        await self._apply(
            item,
            lambda state, now: sending.answered(state, item.order, now, refusal, version),
        )

    async def _refuse(self, item: Item, why: Refusal, version: int = 0) -> None:
        await self._apply(
            item, lambda state, now: sending.refused(state, item.order, why, now, version)
        )

    async def _found(self, item: Item, found: BrokerOrder) -> None:
        settled_ns = self._owned.settled_ns()
        await self._owned.work(lambda unit: self._books.found(unit, item.key, found, settled_ns))

    async def _apply(self, item: Item, do: Callable[[Sending, Now], Step]) -> None:
        """Take an outcome into the table; return when it is durable and published."""
        settled_ns = self._owned.settled_ns()
        await self._owned.work(lambda unit: self._books.apply(unit, item.key, do, settled_ns))

    # What brokers tell, and time brings.

    async def _follow(self, name: str) -> None:
        """Take in a broker's stream."""
        broker = self._brokers[name]
        await broker.start(self._tray.cursors.get(cursor_key(name)))
        waiting: asyncio.Queue[BrokerEvent] = asyncio.Queue(MAX_NEWS)
        self._tasks.create_task(_pump(broker.events(), waiting))
        while True:
            news = [await waiting.get()]
            while len(news) < MAX_NEWS and not waiting.empty():
                news.append(waiting.get_nowait())
            await self._take_in(name, news)

    async def _take_in(self, name: str, news: list[BrokerEvent]) -> None:
        settled_ns = self._owned.settled_ns()
        await self._owned.work(lambda unit: self._books.take_in(unit, name, news, settled_ns))

    async def _compare(self, name: str) -> None:
        """Compare with a broker, soon after the start and then at intervals."""
        line, since_ns = self._lines[name], self._now_ns() - LOOK_BACK_NS
        wait_s = min(COMPARE_FIRST_S, line.compare_every_s)
        while True:
            await asyncio.sleep(wait_s)
            wait_s = line.compare_every_s
            try:
                ours = await self._owned.work(lambda unit: _open_orders(unit, self._tray, name))
                theirs = await look(line, self._brokers[name], ours, since_ns, self._now_ns)
            except ConnectionError as error:
                log.warning("broker_not_compared", broker=name, error=str(error))
                continue
            await self._taken(name, theirs)
            since_ns = theirs.started_ns - OVERLAP_NS

    async def _taken(self, name: str, theirs: Theirs) -> None:
        settled_ns = self._owned.settled_ns()
        await self._owned.work(lambda unit: self._books.compare(unit, name, theirs, settled_ns))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            await self._owned.work(self._books.age)


def _is_late(order: VenueOrder, now_ns: int) -> bool:
    if order.valid_until_ns is None or not defences.on(Defence.VALID_UNTIL):
        return False
    return now_ns > order.valid_until_ns


def _open_orders(unit: Unit[SendRow], tray: Tray, broker: str) -> list[VenueOrder]:
    """Return our orders that are open at a broker, those that changed longest ago first."""
    rows = [unit.get(key) for key in tray.open]
    open_ = [one for one in rows if isinstance(one, Sending) and one.order.broker == broker]
    return [one.order for one in sorted(open_, key=lambda each: each.ts_updated_ns)]


def _has_answer(unit: Unit[SendRow], item: Item) -> bool:
    """Say whether the stream has told what became of an order, while it was asked for."""
    state = unit.get(item.key)
    request = sending.request_of(state, "submit") if isinstance(state, Sending) else None
    return request is None or not request.waiting


def _never_went_out(unit: Unit[SendRow], item: Item) -> bool:
    state = unit.get(item.key)
    return isinstance(state, Sending) and state.unsent


async def _pump(events: AsyncIterator[T], waiting: asyncio.Queue[T]) -> None:
    async for event in events:
        await waiting.put(event)
