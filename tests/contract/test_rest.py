"""The adapter of the broker behind HTTP: what each answer means, and a stream that breaks."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from connectors.brokers import rest as module
from connectors.brokers.rest import RestBroker
from streams.broker import Outcome
from tests.unit.matching_world import venue_order

ORDER: dict[str, Any] = {
    "client_order_id": "A1.o1", "order_id": "o1", "account": "A1", "symbol": "AIG",
    "status": "accepted", "qty": "10", "cum_qty": "4", "avg_px": "50.123456789123",
}  # fmt: skip
EVENT: dict[str, Any] = {
    "event": "accepted", "client_order_id": "A1.o1", "order_id": "o1", "account": "A1",
    "symbol": "AIG", "side": "buy", "ts_event_ns": 5,
}  # fmt: skip
FILL = {"exec_id": "x1", "last_qty": "4", "last_px": "50", "cum_qty": "4", "commission": "0"}


class Answers:
    """A server that answers each call as the test wants, and streams the lines it is given."""

    def __init__(self) -> None:
        self.answer: Any = web.json_response({})
        self.streams: list[list[dict[str, Any] | str]] = []
        self.since: list[str] = []
        self.seen: list[web.Request] = []
        self.bodies: list[Any] = []

    async def call(self, request: web.Request) -> web.StreamResponse:
        """Answer a call."""
        self.seen.append(request)
        self.bodies.append(await request.json() if request.can_read_body else None)
        if request.path == "/events":
            return await self.stream(request)
        if self.answer == "silence":
            await asyncio.sleep(60)
        if self.answer == "cut":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        status, body = self.answer
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Stream the next lines, and cut the connection."""
        self.since.append(request.query["since"])
        answer = web.StreamResponse()
        await answer.prepare(request)
        for line in self.streams.pop(0) if self.streams else []:
            text = line if isinstance(line, str) else json.dumps(line)
            await answer.write(text.encode() + b"\n\n")
        return answer


@pytest.fixture
async def answers() -> AsyncIterator[tuple[Answers, RestBroker]]:
    """Yield a server on a free port, and a broker that calls it."""
    made = Answers()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.call)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    broker = RestBroker(f"http://{host}:{port}/", "secret", timeout_s=0.5, now_ns=lambda: 7)
    yield made, broker
    await broker.stop()
    await runner.cleanup()


ANSWERS: list[tuple[Any, Outcome, str, bool, str]] = [
    ((201, {}), Outcome.ACCEPTED, "", True, "taken"),
    ((202, "ok"), Outcome.ACCEPTED, "", True, "the status says so, whatever the body"),
    ((409, {"code": "DUPLICATE"}), Outcome.DUPLICATE, "", True, "it is there"),
    ((409, {"code": "CONFLICT"}), Outcome.REJECTED, "CONFLICT", True, "a code of ours"),
    ((422, {"code": "NO_FUNDS", "text": "x"}), Outcome.REJECTED, "BROKER_REFUSED", True, "its own"),
    ((422, {}), Outcome.UNKNOWN, "", True, "a refusal says why"),
    ((404, "<html>"), Outcome.UNKNOWN, "", True, "a proxy, perhaps"),
    ((408, {"code": "TIMEOUT"}), Outcome.UNKNOWN, "", True, "somewhere on the way"),
    ((500, {"code": "OOPS"}), Outcome.UNKNOWN, "", True, "it may have been taken"),
    ((504, "<html>"), Outcome.UNKNOWN, "", True, "likewise"),
    ((429, "<html>"), Outcome.UNKNOWN, "", False, "not looked at"),
    ((401, {}), Outcome.UNKNOWN, "", False, "likewise"),
    ("silence", Outcome.UNKNOWN, "", True, "no answer in time"),
    ("cut", Outcome.UNKNOWN, "", True, "no answer at all"),
]


@pytest.mark.parametrize(("answer", "outcome", "code", "sent", "reason"), ANSWERS)
async def test_what_an_answer_means(
    answers: tuple[Answers, RestBroker],
    answer: Any,
    outcome: Outcome,
    code: str,
    *,
    sent: bool,
    reason: str,
) -> None:
    """For an order; nothing is sent twice."""
    server, broker = answers
    server.answer = answer
    ack = await broker.submit(venue_order(broker="rest"))
    assert (ack.outcome, ack.code, ack.sent) == (outcome, code, sent), reason
    assert ack.throttled is (answer[0] == 429)
    assert len(server.seen) == 1


async def test_a_broker_that_is_not_there_got_nothing() -> None:
    """The connection was refused: the call may be made again."""
    broker = RestBroker("http://127.0.0.1:1", "", timeout_s=1)
    ack = await broker.submit(venue_order(broker="rest"))
    assert (ack.outcome, ack.sent) == (Outcome.UNKNOWN, False)
    with pytest.raises(ConnectionError):
        await broker.find(venue_order())
    await broker.stop()


async def test_what_is_sent(answers: tuple[Answers, RestBroker]) -> None:
    """Decimals as strings, the id in the path as it is, the token in the head."""
    server, broker = answers
    server.answer = (202, {})
    order = venue_order(
        "o:1-2", broker="rest", valid_until_ns=9, qty="0.1", client_order_id="A:1/2"
    )
    await broker.submit(order)
    await broker.cancel(order.model_copy(update={"request_id": "c 1"}))
    await broker.replace(order.model_copy(update={"request_id": "r1", "revision": 2}))
    submit, cancel, replace = server.seen
    assert submit.headers["Authorization"] == "Bearer secret"
    assert server.bodies[0]["terms"]["qty"] == "0.1"
    assert server.bodies[0]["valid_until_ns"] == 9
    assert (cancel.method, cancel.raw_path) == ("DELETE", "/orders/A:1%2F2?request_id=c%201")
    assert (replace.method, server.bodies[2]["request_id"], server.bodies[2]["revision"]) == (
        "PATCH", "r1", 2,
    )  # fmt: skip


async def test_find_tells_only_what_is_certain(answers: tuple[Answers, RestBroker]) -> None:
    """None is a definite answer; everything else that is no order is no answer."""
    server, broker = answers
    server.answer = (200, ORDER)
    found = await broker.find(venue_order())
    assert found is not None
    assert (str(found.cum_qty), str(found.avg_px)) == ("4", "50.123456789")
    server.answer = (404, {"code": "UNKNOWN_ORDER"})
    assert await broker.find(venue_order()) is None
    odd: list[dict[str, Any]] = [ORDER | {"cum_qty": value} for value in (4, 4.5, "NaN", "x", None)]
    odd += [ORDER | {"avg_px": value} for value in ("Infinity", "-1", 50.1)]
    odd += [ORDER | {"status": "lost"}]
    for answer in [(404, {}), (404, "<html>"), (500, {}), (200, {}), *((200, one) for one in odd)]:
        server.answer = answer
        with pytest.raises(ConnectionError):
            await broker.find(venue_order())


async def test_lists_are_taken_whole_or_not_at_all(answers: tuple[Answers, RestBroker]) -> None:
    """A broker that says less than it should has not answered."""
    server, broker = answers
    fill = EVENT | {"event": "fill", "fill": FILL}
    server.answer = (200, {"orders": [ORDER], "positions": [], "fills": [fill]})
    assert len(await broker.open_orders()) == 1
    assert await broker.positions() == []
    assert [event.event_id for event in await broker.fills_since(0)] == ["A1.o1:fill:x1"]
    bodies: list[dict[str, Any]] = [{}, {"orders": [{}], "positions": [{}], "fills": [{}]}]
    for body in bodies:
        server.answer = (200, body)
        for question in (broker.open_orders(), broker.positions(), broker.fills_since(0)):
            with pytest.raises(ConnectionError):
                await question


async def test_a_stream_that_breaks_goes_on_where_it_was(
    answers: tuple[Answers, RestBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read is passed over; ids follow from what happened."""
    server, broker = answers
    monkeypatch.setattr(module, "RECONNECT_FIRST_S", 0.01)
    told = EVENT | {"event": "cancel_rejected", "request_id": "c1", "code": "LATE", "text": "no"}
    executed = EVENT | {"event": "fill", "fill": FILL}
    inexact = EVENT | {"event": "fill", "fill": FILL | {"last_px": 50.1}}
    server.streams = [
        [EVENT | {"cursor": 1}, "no json", EVENT | {"event": "odd", "cursor": "2"}],
        [told | {"cursor": "b"}, inexact | {"cursor": "c"}, executed | {"cursor": "d"}],
    ]
    await broker.start("0")
    stream = broker.events()
    found = [await asyncio.wait_for(anext(stream), 5) for _ in range(3)]
    assert [(one.event.event_id, one.cursor) for one in found] == [
        ("A1.o1:accepted", "1"),
        ("A1.o1:cancel_rejected:c1", "b"),
        ("A1.o1:fill:x1", "d"),
    ]
    assert found[1].event.refusal is not None
    assert (found[1].event.refusal.code, found[1].event.refusal.text) == (
        "BROKER_REFUSED",
        "LATE: no",
    )
    assert (found[2].event.broker, found[2].event.ts_init_ns) == ("rest", 7)
    assert server.since[:2] == ["0", "1"]
