"""What the agents of a worker are given: rules, prices, a calendar, a broker, a history.

Rules and prices come from compacted topics that each worker follows whole. Redis gets copies of
both for other programs; it is never asked, so the rules that hold are the last known ones
whether Redis is there or not.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from agents.allocator import Allocator
from agents.bars import Bars
from agents.gateway import Gateway
from agents.history import History
from agents.indicators import Indicators
from agents.positions import Positions, PositionsDeps
from agents.prices import Prices
from agents.router import Router, RouterDeps
from agents.sender import Sender, SenderDeps
from agents.sizer import Sizer, SizerDeps
from agents.slicer import Slicer
from agents.strategies import Strategies, StrategiesDeps
from agents.tracker import Tracker
from agents.validator import Validator
from connectors.brokers.desk import Desk
from connectors.brokers.line import Line
from connectors.brokers.rest import RestBroker
from connectors.brokers.virtual import VirtualBroker
from connectors.calendar import ExchangeCalendar
from connectors.clickhouse.history import ClickHouseHistory
from connectors.kafka.mirror import Mirror
from connectors.redis.cache import Cache
from connectors.strategies import known_strategies
from connectors.ta_lib import rule_of
from streams import clock
from streams.domain.bars.frames import Plans
from streams.domain.breaker import SECOND_NS, Bucket
from streams.domain.capabilities import BROKERS, REST, Capabilities
from streams.domain.controls import ControlSet
from streams.domain.indicators.asked import Asked
from streams.domain.matching.config import VenueConfig
from streams.domain.strategies.config import configs_of, unmade_frame
from streams.errors import UsageError
from streams.models.controls import AnyControl, control_key
from streams.models.market import LastPrice
from streams.models.signals import StrategyState
from streams.partitioner import partition_of
from streams.ports import Agent, AsyncAgent
from streams.settings import Settings
from streams.topics import CONTROLS, MARKET_LAST, STRATEGIES_UPDATES, TopicSpec
from streams.wiring import AgentSpec, Role, agents_of

#: Prices are copied to Redis this often at most.
COPY_EVERY_S = 0.2
#: All controls are copied again this often, in case Redis has lost them.
COPY_ALL_EVERY_S = 30.0

#: Agents that ask for trading sessions.
_BY_CALENDAR = {"validator", "router", "gateway", "bars"}

#: Who keeps Redis's copies current.
COPIES: dict[Role, str] = {"orders": "controls", "market": "prices"}
#: What a role follows for its views and copies, beside what its agents watch.
SHOWN: dict[Role, tuple[TopicSpec, ...]] = {"market": (MARKET_LAST, STRATEGIES_UPDATES)}


class Services:
    """The services of one worker."""

    def __init__(self, settings: Settings, role: Role) -> None:
        self.settings = settings
        self.role = role
        self.controls = ControlSet()
        self.prices: dict[str, LastPrice] = {}
        self.strategies: dict[str, StrategyState] = {}
        self.cache = Cache(settings)
        self.calendar = ExchangeCalendar()
        self.started = False
        self.venue = VenueConfig(seed=settings.virtual_seed)
        self.stopwatch: Callable[[], float] = clock.monotonic
        self._partitions = settings.partitions
        self._fresh_controls: dict[str, AnyControl] = {}
        self._fresh_prices: dict[str, LastPrice] = {}
        self._mirrors = self._followed()

    def _followed(self) -> list[Mirror]:
        watched = {topic.name: topic for spec in agents_of(self.role) for topic in spec.watches}
        watched |= {topic.name: topic for topic in SHOWN.get(self.role, ())}
        followers: dict[str, Callable[[list[Any]], None]] = {
            CONTROLS.name: self._take_controls,
            MARKET_LAST.name: self._take_prices,
            STRATEGIES_UPDATES.name: self._take_strategies,
        }
        return [
            Mirror(self.settings, topic, followers[name]) for name, topic in sorted(watched.items())
        ]

    def _take_controls(self, controls: Iterable[AnyControl]) -> None:
        controls = list(controls)
        self.controls = self.controls.with_records(controls)
        self._fresh_controls |= {control_key(control): control for control in controls}

    def _take_prices(self, prices: Iterable[LastPrice]) -> None:
        for price in prices:
            known = self.prices.get(price.symbol)
            if known is None or price.ts_event_ns >= known.ts_event_ns:
                self.prices[price.symbol] = self._fresh_prices[price.symbol] = price

    def _take_strategies(self, states: Iterable[StrategyState]) -> None:
        for state in states:
            key = f"{state.strategy}|{state.symbol}"
            known = self.strategies.get(key)
            if known is None or state.version >= known.version:
                self.strategies[key] = state

    async def start(self, partitions: int) -> None:
        """Read rules and prices to their ends. `partitions` is what the account topics have."""
        self._partitions = partitions
        if any(spec.name in _BY_CALENDAR for spec in agents_of(self.role)):
            await asyncio.to_thread(self.calendar.load)
        await asyncio.gather(*(mirror.start() for mirror in self._mirrors))
        self.started = True

    async def stop(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(mirror.stop() for mirror in self._mirrors))
        await self.cache.close()

    def partition_of(self, key: str) -> int:
        """Return the partition of an account or symbol."""
        return partition_of(key.encode(), self._partitions)

    def partition_of_symbol(self, symbol: str) -> int:
        """Return the partition of a symbol: live as of an account."""
        return self.partition_of(symbol)

    def copying(self) -> Callable[[], Coroutine[Any, Any, None]] | None:
        """Return the task that keeps Redis's copies current, if it is this role's."""
        return self._copy if self.role in COPIES else None

    async def _copy(self) -> None:
        rounds = round(COPY_ALL_EVERY_S / COPY_EVERY_S)
        count = 0
        while True:
            if COPIES[self.role] == "controls":
                fresh, self._fresh_controls = self._fresh_controls, {}
                records = self.controls.records if count % rounds == 0 else fresh
                await self.cache.put_controls(records.values())
            else:
                prices, self._fresh_prices = self._fresh_prices, {}
                await self.cache.put_prices(
                    (self.prices if count % rounds == 0 else prices).values()
                )
            count += 1
            await asyncio.sleep(COPY_EVERY_S)

    def agent(self, spec: AgentSpec) -> Agent[Any] | AsyncAgent[Any]:
        """Build an agent with what it needs."""
        return _BUILDERS[spec.name](self)


def _controls(services: Services) -> Callable[[], ControlSet]:
    return lambda: services.controls


def _price(services: Services) -> Callable[[str], LastPrice | None]:
    return services.prices.get


def _validator(services: Services) -> Validator:
    return Validator(
        controls=_controls(services),
        price=_price(services),
        calendar=services.calendar,
        partition_of=services.partition_of,
    )


def _router(services: Services) -> Router:
    within_ns = int(services.settings.send_within_s * SECOND_NS)
    brokers = _connected(services.settings)
    return Router(
        RouterDeps(_controls(services), _price(services), services.calendar, brokers, within_ns)
    )


def _connected(settings: Settings) -> dict[str, Capabilities]:
    """Return the brokers that orders may be routed to."""
    absent = set() if settings.rest_broker_url else {REST.broker}
    return {name: caps for name, caps in BROKERS.items() if name not in absent}


def _positions(services: Services) -> Positions:
    return Positions(PositionsDeps(controls=_controls(services), price=_price(services)))


def _allocator(services: Services) -> Allocator:
    return Allocator(_controls(services), services.partition_of)


def _slicer(services: Services) -> Slicer:
    return Slicer(_controls(services), _price(services), services.partition_of)


def _gateway(services: Services) -> Gateway:
    broker = VirtualBroker(services.venue, services.calendar)
    every_ns = _reconcile_every_ns(services.settings)
    return Gateway(broker, _controls(services), services.venue.remember_ns, every_ns)


def _reconcile_every_ns(settings: Settings) -> int:
    return int(settings.reconcile_every_s * SECOND_NS)


def _sender(services: Services) -> Sender:
    settings = services.settings
    lines: dict[str, Line] = {}
    if settings.rest_broker_url:
        lines[REST.broker] = Line(
            lambda: RestBroker(
                settings.rest_broker_url,
                settings.rest_broker_token.get_secret_value(),
                settings.broker_timeout_s,
            ),
            settings.broker_timeout_s,
            Bucket(settings.broker_calls_per_minute),
            settings.reconcile_every_s,
        )
    controls = _controls(services)
    return Sender(
        SenderDeps(
            services.partition_of,
            lambda sender, owned: Desk(sender, owned, lines, controls).run(),
        )
    )


def _bars(services: Services) -> Bars:
    settings = services.settings
    keep_ns = settings.bars_keep_s * SECOND_NS
    return Bars(_plans(settings), keep_ns, services.calendar, _controls(services))


def _plans(settings: Settings) -> Plans:
    try:
        return Plans(settings.bars)
    except ValueError as error:
        raise UsageError(f"the setting `bars` cannot be read: {error}") from None


def _indicators(services: Services) -> Indicators:
    try:
        return Indicators(Asked(services.settings.indicators, rule_of))
    except ValueError as error:
        raise UsageError(f"the setting `indicators` cannot be read: {error}") from None


def _strategies(services: Services) -> Strategies:
    settings, plans, known = services.settings, _plans(services.settings), known_strategies()
    asked = configs_of(settings.strategies, ControlSet())
    if wrong := unmade_frame(asked, known, lambda symbol: plans.of(symbol).names):
        raise UsageError(wrong)
    return Strategies(
        StrategiesDeps(
            settings.strategies,
            _controls(services),
            known,
            services.partition_of_symbol,
            services.stopwatch,
            settings.strategy_budget_ms / 1000,
        )
    )


def _sizer(services: Services) -> Sizer:
    settings = services.settings
    max_age_ns = int(settings.signal_max_age_s * SECOND_NS)
    return Sizer(SizerDeps(settings.strategies, _controls(services), _price(services), max_age_ns))


def _history(services: Services) -> History:
    return History(ClickHouseHistory(services.settings))


_BUILDERS: dict[str, Callable[[Services], Agent[Any] | AsyncAgent[Any]]] = {
    "validator": _validator,
    "router": _router,
    "tracker": lambda services: Tracker(_reconcile_every_ns(services.settings)),
    "positions": _positions,
    "allocator": _allocator,
    "slicer": _slicer,
    "gateway": _gateway,
    "sender": _sender,
    "prices": lambda services: Prices(_price(services)),
    "bars": _bars,
    "indicators": _indicators,
    "strategies": _strategies,
    "sizer": _sizer,
    "history": _history,
}
