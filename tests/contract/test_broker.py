"""The conformance cards of the broker port: what holds for every adapter.

A card plays a market and commands against a `Case`: a broker, a way to set the market it trades
on, and a way to wait for its events. An adapter joins by adding its case to `CASES`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any, Protocol

import aiohttp
import pytest
from aiohttp import web

from connectors.brokers.rest import RestBroker
from connectors.brokers.virtual import VirtualBroker
from streams.broker import Broker, BrokerEvent, Outcome
from streams.models.orders import OrderEvent, OrderStatus, OrderType, TimeInForce
from tests.builders import NOW_NS
from tests.faults.scripted_broker import Server, Venue
from tests.unit.matching_world import EveryDay, asks, bids, config, venue_order


class Case(Protocol):
    """One adapter under test, connected to a venue whose market the test sets."""

    broker: Broker

    async def open(self) -> None:
        """Start the venue and connect."""

    async def close(self) -> None:
        """Disconnect and end the venue."""

    async def market(self, bid: str, ask: str, size: str = "100") -> None:
        """Quote this market, of this size on both sides."""

    async def events(self, count: int) -> list[OrderEvent]:
        """Return the next `count` events."""

    async def silence(self) -> list[OrderEvent]:
        """Return the events that come although none should."""


class VirtualCase:
    """The virtual broker over a dict as its table."""

    def __init__(self) -> None:
        self.virtual = VirtualBroker(config(), EveryDay())
        self.broker: Broker = self.virtual
        self._state: dict[str, object] = {}
        self._ticks = 0
        self._stream: AsyncIterator[BrokerEvent] = self.virtual.events()
        self.virtual.bind(self._lookup, NOW_NS, 0)

    async def open(self) -> None:
        """Start the broker."""
        await self.broker.start(None)

    async def close(self) -> None:
        """Stop the broker."""
        await self.broker.stop()

    async def market(self, bid: str, ask: str, size: str = "100") -> None:
        """Quote this market."""
        for quote in (bids(bid, size), asks(ask, size)):
            self._ticks += 1
            self.virtual.tick(quote.model_copy(update={"seq": self._ticks}))

    async def events(self, count: int) -> list[OrderEvent]:
        """Return the next events."""
        return [(await asyncio.wait_for(anext(self._stream), 5)).event for _ in range(count)]

    async def silence(self) -> list[OrderEvent]:
        """Return what came and should not have."""
        return self.virtual.take_events()

    def _lookup(self, key: str) -> object:
        self._state.update(self.virtual.take_orders())
        return self._state.get(key)


class RestCase:
    """The broker behind HTTP, and the scripted broker as what is behind it."""

    def __init__(self) -> None:
        self.server = Server(Venue(seed=1), journal=None)
        self._runner = web.AppRunner(self.server.app(), shutdown_timeout=0.1)
        self._url = ""

    async def open(self) -> None:
        """Serve on a free port and connect to it."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._url = f"http://{host}:{port}"
        self.rest = RestBroker(self._url, "secret", timeout_s=5)
        self.broker: Broker = self.rest
        await self.broker.start(None)
        self._stream: AsyncIterator[BrokerEvent] = self.rest.events()

    async def close(self) -> None:
        """Disconnect and serve no more."""
        await self.broker.stop()
        await self._runner.cleanup()

    async def market(self, bid: str, ask: str, size: str = "100") -> None:
        """Quote this market."""
        asked = {"symbol": "AIG", "bid": bid, "ask": ask, "size": size}
        async with aiohttp.ClientSession() as session:
            await (await session.post(f"{self._url}/market", json=asked)).read()

    async def events(self, count: int) -> list[OrderEvent]:
        """Return the next events."""
        return [(await asyncio.wait_for(anext(self._stream), 5)).event for _ in range(count)]

    async def silence(self) -> list[OrderEvent]:
        """Return what came and should not have, within a quarter of a second."""
        await asyncio.sleep(0.25)
        told = self.rest._told
        return [told.get_nowait().event for _ in range(told.qsize())]


CASES: dict[str, Callable[[], Case]] = {"virtual": VirtualCase, "rest": RestCase}


@pytest.fixture(params=sorted(CASES))
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    """Give one adapter, started, on a market of 49.99 to 50.01."""
    made = CASES[request.param]()
    await made.open()
    await made.market("49.99", "50.01")
    yield made
    await made.close()


def kinds(events: list[OrderEvent]) -> list[str]:
    """Return the events' kinds."""
    return [event.event.value for event in events]


async def test_card_1_the_same_order_twice_executes_once(case: Case) -> None:
    """The second call is a duplicate, as long as the order is open and when it is filled."""
    order = venue_order(limit_price="50.00")
    first, second = await case.broker.submit(order), await case.broker.submit(order)
    assert (first.outcome, second.outcome) == (Outcome.ACCEPTED, Outcome.DUPLICATE)
    assert kinds(await case.events(1)) == ["accepted"]
    await case.market("49.90", "49.95")
    assert kinds(await case.events(1)) == ["fill"]
    third = await case.broker.submit(order)
    assert third.outcome is Outcome.DUPLICATE
    assert await case.silence() == []


async def test_card_1_an_id_with_other_content_is_refused(case: Case) -> None:
    """And the order of that id goes on as it was."""
    await case.broker.submit(venue_order(limit_price="50.00"))
    await case.events(1)
    ack = await case.broker.submit(venue_order(limit_price="49.00"))
    assert (ack.outcome, ack.code) == (Outcome.REJECTED, "CONFLICT")
    assert await case.silence() == []
    assert [order.qty for order in await case.broker.open_orders()] == [10]


async def test_card_2_find_tells_what_is_there(case: Case) -> None:
    """An order is found by its id while it works and when it is over; None: never there."""
    order = venue_order(limit_price="50.00")
    assert await case.broker.find(order) is None
    await case.broker.submit(order)
    await case.events(1)
    working = await case.broker.find(order)
    assert working is not None
    assert (working.status, working.cum_qty) == (OrderStatus.ACCEPTED, Decimal(0))
    await case.market("49.90", "49.95", "4")
    await case.events(1)
    partly = await case.broker.find(order)
    assert partly is not None
    assert (partly.status, partly.cum_qty) == (OrderStatus.PARTIALLY_FILLED, Decimal(4))
    await case.market("49.90", "49.94", "6")
    await case.events(1)
    filled = await case.broker.find(order)
    assert filled is not None
    assert (filled.status, filled.cum_qty) == (OrderStatus.FILLED, Decimal(10))
    assert await case.broker.open_orders() == []


async def test_card_3_executions_have_their_own_ids(case: Case) -> None:
    """Each execution of an order has another id; cumulative quantities grow to the quantity."""
    await case.broker.submit(venue_order(limit_price="50.00"))
    await case.market("49.90", "49.95", "4")
    await case.market("49.90", "49.94", "6")
    fills = [event.fill for event in await case.events(3) if event.fill is not None]
    assert len({fill.exec_id for fill in fills}) == 2
    quantities = [(str(fill.last_qty), str(fill.cum_qty)) for fill in fills]
    assert quantities == [("4", "4"), ("6", "10")]


async def test_card_4_events_say_whose_order_it_is(case: Case) -> None:
    """Every event carries the order's ids, symbol, side and broker, and an id of its own."""
    await case.broker.submit(venue_order(limit_price="50.01"))
    events = await case.events(2)
    assert kinds(events) == ["accepted", "fill"]
    told = {(e.order_id, e.client_order_id, e.account, e.symbol, e.side) for e in events}
    assert told == {("o1", "A1.o1", "A1", "AIG", "buy")}
    assert {event.broker for event in events} == {case.broker.caps.broker}
    assert len({event.event_id for event in events}) == 2


async def test_card_5_terminal_is_terminal(case: Case) -> None:
    """Nothing comes for an order after it was canceled, whatever the market does."""
    await case.broker.submit(venue_order(limit_price="50.00"))
    ack = await case.broker.cancel(venue_order(command="cancel", request_id="c1"))
    assert ack.outcome is Outcome.ACCEPTED
    assert kinds(await case.events(3)) == ["accepted", "pending_cancel", "canceled"]
    await case.market("48.00", "48.01")
    assert await case.silence() == []


@pytest.mark.parametrize("command", ["cancel", "replace"])
async def test_card_6_too_late_is_refused(case: Case, command: str) -> None:
    """A cancel or replace of a filled order is refused by an event that names the request."""
    await case.broker.submit(venue_order(limit_price="50.01"))
    await case.events(2)
    change = venue_order(command=command, request_id="r1")
    call = case.broker.cancel if command == "cancel" else case.broker.replace
    await call(change)
    (event,) = await case.events(1)
    assert event.event.value == f"{command}_rejected"
    assert event.request_id == "r1"
    assert event.refusal is not None
    assert event.refusal.code == "TOO_LATE"


async def test_card_6_a_replace_changes_what_it_names(case: Case) -> None:
    """The new terms come back in the event, with a higher revision, and the order follows them."""
    await case.broker.submit(venue_order(limit_price="49.00"))
    change = venue_order(command="replace", request_id="r1", limit_price="50.01", revision=1)
    await case.broker.replace(change)
    events = await case.events(4)
    assert kinds(events) == ["accepted", "pending_replace", "replaced", "fill"]
    assert events[2].terms is not None
    assert (events[2].revision, str(events[2].terms.limit_price)) == (1, "50.01")


SAMPLES: dict[OrderType, dict[str, Any]] = {
    OrderType.MARKET: {},
    OrderType.LIMIT: {"limit_price": "50.00"},
    OrderType.STOP: {"stop_price": "51.00"},
    OrderType.STOP_LIMIT: {"stop_price": "51.00", "limit_price": "51.50"},
    OrderType.TRAILING_STOP: {"trail_price": "1.00"},
}


@pytest.mark.parametrize("kind", list(OrderType))
@pytest.mark.parametrize("tif", list(TimeInForce))
async def test_card_7_what_the_capabilities_name_is_taken(
    case: Case, kind: OrderType, tif: TimeInForce
) -> None:
    """Each order type and time in force of the capabilities is accepted (auctions: no stops)."""
    plain = kind in (OrderType.MARKET, OrderType.LIMIT)
    auction = tif in (TimeInForce.OPG, TimeInForce.CLS)
    order = venue_order(type=kind, time_in_force=tif, **SAMPLES[kind])
    ack = await case.broker.submit(order)
    able = kind in case.broker.caps.types and tif in case.broker.caps.times_in_force
    expected = able and (plain or not auction)
    assert (ack.outcome is Outcome.ACCEPTED) == expected
    assert kinds(await case.events(1)) == ["accepted" if expected else "rejected"]
