"""One run of the demo against a pipeline that is up: play, follow, account, sum up.

The order of things: sessions are shifted; the first seconds of ticks go out at once, the rest as
time passes; orders go out at their rate; when each is accounted for the ticks stop; when nothing
moves any more and the history is through, ClickHouse is asked for the summary.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from connectors.kafka.controls import publish_controls
from connectors.kafka.producer import batch_producer
from connectors.kafka.reader import Stored
from connectors.views import view
from streams.cli.pace import Pace
from streams.clock import monotonic, now_ns
from streams.demo.accounting import Tally
from streams.demo.follow import Places, ends_of, follow
from streams.demo.plan import (
    PREROLL_NS,
    SECOND_NS,
    Tape,
    accounts_of,
    fitting_accounts,
    planned_orders,
    run_name,
    shift_to,
)
from streams.demo.result import Options, Result
from streams.demo.screen import REFRESH_PER_S, Board, Show, screen
from streams.demo.strategy import Traded, account_of, control_of
from streams.domain.ticks import Tick, shifted
from streams.errors import IncompleteError, ServiceUnavailableError
from streams.models.controls import SessionShift
from streams.models.market import LastPrice, Trade
from streams.settings import Settings
from streams.topics import (
    DEAD_LETTERS,
    MARKET_LAST,
    MARKET_QUOTES,
    MARKET_TRADES,
    ORDERS_EVENTS,
    ORDERS_REQUESTED,
    ORDERS_UPDATES,
    POSITIONS_UPDATES,
    SIGNALS,
    TOPICS,
    TopicSpec,
    topic_name,
)
from streams.wiring import ROLES, Role

if TYPE_CHECKING:
    from streams.demo.summary import Summary

T = TypeVar("T")

READY_S = 180.0
#: The load is given up when nothing is heard of its orders for so long.
STUCK_S = 60.0
QUIET_S = 1.0
POLL_S = 0.1
TICKS_EVERY_S = 0.05
#: A worker has read a price within this time of its being on the topic.
PRICES_READ_S = 0.3
PRICES_S = 60.0

#: The roles that follow the controls.
RULED: tuple[Role, ...] = ("orders", "gateway", "market")
FOLLOWED = (ORDERS_UPDATES, ORDERS_EVENTS, POSITIONS_UPDATES, DEAD_LETTERS, MARKET_LAST, SIGNALS)


async def wait_ready(settings: Settings) -> None:
    """Return once a worker of every role does its work."""
    deadline = monotonic() + READY_S
    for role in ROLES:
        while True:
            try:
                await asyncio.to_thread(_health, settings, role)
                break
            except ServiceUnavailableError as error:
                if monotonic() > deadline:
                    log = settings.data_dir / "logs" / f"{role}.log"
                    raise ServiceUnavailableError(
                        f"the {role} worker was not ready within {READY_S:.0f} s: {error};"
                        f" its log: {log}"
                    ) from error
            await asyncio.sleep(POLL_S)


async def play(settings: Settings, options: Options, ticks: Iterable[Tick], began: float) -> Result:
    """Run the demo once; `began` is when the command started, on the monotonic clock."""
    with screen() as show:
        demo = Demo(settings, options, Tape(ticks), began)
        return await demo.run(show)


class Demo:
    """The state of one run."""

    def __init__(self, settings: Settings, options: Options, tape: Tape, began: float) -> None:
        now = now_ns()
        self._settings = settings
        self._options = options
        self._tape = tape
        self._began = began
        self._shift_ns = shift_to(tape.first_ns, now)
        self._run = run_name(now)
        self._accounts = accounts_of(
            self._run, options.accounts or fitting_accounts(options.orders)
        )
        self._prefix = f"{self._run}-"
        self._tally = Tally()
        self._traded = Traded(account_of(self._run))
        self._board = Board(self._run, options.orders, self._tally, self._traded)
        self._playing = True
        self._ruled = asyncio.Event()
        self._moved = monotonic()
        self._first_fill_s: float | None = None

    async def run(self, show: Show) -> Result:
        """Play, account and sum up."""
        starts = await ends_of(self._settings, TOPICS)
        return await _beside(
            self._steps(starts),
            follow(self._settings, FOLLOWED, starts, self._take),
            self._play_ticks(),
            self._refresh(show),
        )

    async def _steps(self, starts: Places) -> Result:
        await self._shift_sessions()
        self._ruled.set()
        await self._wait_for_prices()
        load_began = monotonic()
        await self._send_orders()
        self._board.phase = "waiting for the last answers"
        await self._settle()
        elapsed_s = monotonic() - load_began
        self._playing = False
        await publish_controls(self._settings, [control_of(self._run, enabled=False)])
        await self._settle(quiet_s=QUIET_S)
        self._board.phase = "waiting for ClickHouse"
        # It brings ClickHouse's client, which the first fill need not wait for.
        from streams.demo.summary import summarize, wait_for_history

        ends = await wait_for_history(self._settings, self._show_history)
        summary = await summarize(self._settings, self._prefix, starts, ends)
        return Result(
            run=self._run,
            accounts=self._accounts,
            summary=summary,
            strategy=self._traded.as_json(),
            seed=self._options.seed,
            shift_ns=self._shift_ns,
            elapsed_s=elapsed_s,
            first_fill_s=self._first_fill_s,
            missing=(*self._tally.missing(), *self._history_differs(summary), *summary.missing),
        )

    async def _shift_sessions(self) -> None:
        """Make market time that of the ticks, start the strategy; wait until the workers know."""
        self._board.phase = "shifting the sessions"
        shift = SessionShift(
            shift_ns=self._shift_ns, by="demo", reason="ticks of 2013-10-07 are played as of now"
        )
        strategy = control_of(self._run, enabled=True)
        told = await publish_controls(self._settings, [shift, strategy])
        version = max(control.version for control in told.controls)
        deadline = monotonic() + READY_S
        for role in RULED:
            while True:
                report = await asyncio.to_thread(_health, self._settings, role)
                if report["controls_version"] >= version:
                    break
                if monotonic() > deadline:
                    raise ServiceUnavailableError(
                        f"the {role} worker did not take up the controls, version {version}"
                    )
                await asyncio.sleep(POLL_S)

    async def _play_ticks(self) -> None:
        """Send each tick when its moved time has come: the first ones at once.

        None before the controls are known: the strategy is to see all of them.
        """
        await self._ruled.wait()
        async with batch_producer(self._settings) as out:
            while self._playing and not self._tape.ended:
                due = self._tape.take(now_ns() - self._shift_ns)
                for tick in due:
                    spec = MARKET_TRADES if isinstance(tick, Trade) else MARKET_QUOTES
                    moved = shifted(tick, self._shift_ns).model_dump_json(exclude_none=True)
                    await out.send(self._name(spec), tick.symbol.encode(), moved.encode())
                if due:
                    await out.flush()
                self._board.ticks += len(due)
                await asyncio.sleep(TICKS_EVERY_S)

    async def _wait_for_prices(self) -> None:
        """Return when the price of every symbol has gone through the pipeline."""
        self._board.phase = "waiting for prices"
        first_ns = self._tape.first_ns + self._shift_ns
        wanted = self._tape.prices(self._tape.first_ns + PREROLL_NS)
        deadline = monotonic() + PRICES_S
        while not all(
            (price := self._board.prices.get(symbol)) and price.ts_event_ns >= first_ns
            for symbol in wanted
        ):
            if monotonic() > deadline:
                log = self._settings.data_dir / "logs" / "market.log"
                raise IncompleteError(f"no prices came within {PRICES_S:.0f} s; log: {log}")
            await asyncio.sleep(POLL_S)
        await asyncio.sleep(PRICES_READ_S)

    async def _send_orders(self) -> None:
        """Send the load at its rate, each record after it was written down as expected."""
        self._board.phase = "trading"
        origin_ns = now_ns() - self._shift_ns
        options, pace = self._options, Pace(1.0)
        load = planned_orders(
            options.seed,
            options.orders,
            self._accounts,
            options.rate,
            lambda after_s: self._tape.prices(origin_ns + round(after_s * SECOND_NS)),
        )
        sent = 0
        self._moved = monotonic()
        async with batch_producer(self._settings) as out:
            for record in load:
                await pace.wait(round(sent / options.rate * SECOND_NS), out.flush)
                self._tally.expect(record)
                await out.send(self._name(ORDERS_REQUESTED), record.key, record.value)
                sent += record.expected.new_order

    async def _settle(self, quiet_s: float = 0.0) -> None:
        """Return when all is accounted for and quiet for so long, or nothing moves any more."""
        while (still_s := monotonic() - self._moved) < STUCK_S:
            if still_s >= quiet_s and self._tally.settled():
                return
            await asyncio.sleep(POLL_S)

    async def _refresh(self, show: Show) -> None:
        while True:
            show(self._board, self._board.tick(monotonic() - self._began))
            await asyncio.sleep(1 / REFRESH_PER_S)

    def _take(self, spec: TopicSpec, record: Stored) -> None:
        """Take one record of the topics that are followed."""
        if spec is MARKET_LAST:
            price: LastPrice = spec.adapter.validate_json(record.value or b"")
            self._board.prices[price.symbol] = price
            return
        key = record.key or b""
        if spec is SIGNALS or key.startswith(self._traded.account.encode()):
            self._take_strategys(spec, record.value or b"")
            return
        if not key.startswith(self._prefix.encode()):
            return
        if spec is DEAD_LETTERS:
            self._tally.saw_dead_letter(key, record.value or b"", dict(record.headers))
        else:
            self._take_message(spec, record.value or b"")
        if spec is not POSITIONS_UPDATES:  # positions also move with their prices
            self._moved = monotonic()

    def _take_strategys(self, spec: TopicSpec, value: bytes) -> None:
        """Take what the strategy has brought about."""
        if spec is SIGNALS:
            self._traded.saw_signal(spec.adapter.validate_json(value))
        elif spec is ORDERS_EVENTS:
            self._traded.saw_event(spec.adapter.validate_json(value))
        elif spec is POSITIONS_UPDATES:
            self._traded.saw_position(spec.adapter.validate_json(value))

    def _take_message(self, spec: TopicSpec, value: bytes) -> None:
        message = spec.adapter.validate_json(value)
        if spec is ORDERS_UPDATES:
            self._tally.saw_order(message)
        elif spec is POSITIONS_UPDATES:
            self._tally.saw_position(message)
        elif self._tally.saw_event(message):
            self._board.fills.append(message)
            if self._first_fill_s is None:
                self._first_fill_s = monotonic() - self._began

    def _show_history(self, text: str) -> None:
        self._board.detail = text

    def _history_differs(self, summary: "Summary") -> list[str]:
        """Return lines for what ClickHouse says otherwise than the topics."""
        seen, held = self._tally.counts(), summary.as_json()
        pairs = {
            "orders": seen.sent,
            "filled": seen.filled,
            "canceled": seen.canceled + seen.expired,
            "rejected": seen.rejected,
            "fills": seen.fills,
            "dead_letters": seen.dead_letters,
        }
        return [
            f"{name}: {count} on the topics, {held[name]} in ClickHouse"
            for name, count in pairs.items()
            if held[name] != count
        ]

    def _name(self, spec: TopicSpec) -> str:
        return topic_name(spec, self._settings.namespace)


def _health(settings: Settings, role: Role) -> Any:
    return view(settings, "health", "ready", port=settings.web_port + ROLES.index(role))


async def _beside(main: Coroutine[Any, Any, T], *others: Coroutine[Any, Any, None]) -> T:
    """Return what `main` returns; the others run beside it, and what they raise is raised."""
    work = asyncio.create_task(main)
    tasks = {asyncio.create_task(other) for other in others}
    try:
        waiting = {work, *tasks}
        while not work.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {work}:
                task.result()
        return work.result()
    finally:
        for task in (work, *tasks):
            task.cancel()
        await asyncio.gather(work, *tasks, return_exceptions=True)
