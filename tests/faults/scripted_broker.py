"""A broker for tests: the HTTP protocol of docs/brokers.md, a seeded market, faults on demand.

    python -m tests.faults.scripted_broker --port P --seed S --journal FILE

It is a process of its own, so its orders outlive every worker that is killed. Each call that it
receives is a line of JSON in the journal before anything is done: `n`, `ts_ns`, `method`, `path`,
`client_order_id`, `body`; calls to the knobs below are not. Its memory starts empty each time.

The market: every symbol stands at 49.99 to 50.01 and fills what is marketable without limit, each
order in one to three executions 10 to 60 ms apart, cut by the seed and the order's id; so does a
market order. About one order in five is filled in part at first, the rest a second later.
`POST /market {"symbol", "bid", "ask", "size"}` sets a symbol's market; with a `size` so many shares
trade at once, and no more until the next such call. Stops trigger at the ask (buy) or bid (sell);
trailing stops, `opg` and `cls` orders rest. `ioc` and `fok` that do not fill expire.

`POST /faults {"fault": …, "count": 1, "method": "POST"}` arms a fault for the next calls of a
method (`POST`, `DELETE`, `PATCH`, `GET`; left out: POST, DELETE or PATCH of /orders):

    timeout_before   never answers, does nothing           timeout_after   does it, never answers
    error_before     503, does nothing                     error_after     does it, 503
    throttle         429, does nothing                     reset_after     does it, cuts the line
    slow             answers `seconds` late                lost            404 without a code

Or it does at once, or to the next `count` events of the stream:

    drop_stream      cuts all streams                      duplicate       events come twice
    reorder          `count` events come in reverse order  mute            events are not streamed
    bust             takes back `client_order_id`'s newest execution; `correct` gives it the price
                     `last_px`
    orphan           an execution of an order that nobody sent
    forget_open      `client_order_id` is canceled without a word on the stream
    down, up         every call is answered by 503, or again as it should
    disarm           no fault is armed any more

`GET /state` returns {"orders": {client_order_id: order}, "fills": […], "calls": n, "armed": […]};
`orders[…].submits` counts the POSTs of that id. SIGTERM ends it.
"""

import argparse
import asyncio
import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web

HOUR_S = 3_600.0
HEARTBEAT_S = 2.0
BEFORE = {"timeout_before", "error_before", "throttle", "lost"}
CALLS = BEFORE | {"timeout_after", "error_after", "reset_after", "slow"}
OVER = {"filled", "canceled", "expired", "rejected"}
RESTS = {"opg", "cls"}


@dataclass
class Market:
    """What a symbol trades at; `size` None: any quantity."""

    bid: Decimal = Decimal("49.99")
    ask: Decimal = Decimal("50.01")
    size: Decimal | None = None


@dataclass
class Held:
    """An order."""

    body: dict[str, Any]
    status: str = "accepted"
    cum: Decimal = Decimal(0)
    value: Decimal = Decimal(0)
    execs: list[dict[str, Any]] = field(default_factory=list)
    requests: set[str] = field(default_factory=set)
    triggered: bool = False
    submits: int = 1
    filling: bool = False

    @property
    def terms(self) -> dict[str, Any]:
        """Return what is ordered."""
        return dict(self.body["terms"])

    @property
    def leaves(self) -> Decimal:
        """Return what is not filled."""
        return Decimal(self.terms["qty"]) - self.cum

    def shown(self) -> dict[str, Any]:
        """Return the order as the protocol shows it."""
        status = self.status
        if status == "accepted" and self.cum:
            status = "partially_filled"
        shown = {name: self.body[name] for name in ("client_order_id", "order_id", "account")}
        shown |= {"symbol": self.terms["symbol"], "status": status, "qty": self.terms["qty"]}
        shown |= {"cum_qty": str(self.cum), "submits": self.submits}
        if self.cum:
            shown["avg_px"] = str(self.value / self.cum)
        return shown


class Venue:
    """Orders, fills and the log of events; the place in the log is the cursor."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.orders: dict[str, Held] = {}
        self.markets: dict[str, Market] = {}
        self.log: list[dict[str, Any]] = []
        self.fills: list[dict[str, Any]] = []
        self.news = asyncio.Condition()
        self.twice = self.muted = self.turn = 0
        self.turned: list[dict[str, Any]] = []
        self.tasks: set[asyncio.Task[None]] = set()

    # What happens.

    def tell(self, order: Held, event: str, **blocks: Any) -> None:
        """Write an event down, and to the stream as the armed faults will have it."""
        told = {name: order.body[name] for name in ("client_order_id", "order_id", "account")}
        told |= {"leg": order.body.get("leg", ""), "strategy": order.body.get("strategy", "")}
        told |= {"symbol": order.terms["symbol"], "side": order.terms["side"], "event": event}
        told |= {"revision": order.body.get("revision", 0), "ts_event_ns": time.time_ns(), **blocks}
        if event == "fill":
            self.fills.append(told)
        self.stream(told)

    def stream(self, told: dict[str, Any]) -> None:
        """Put an event on the stream."""
        if self.muted:
            self.muted -= 1
            return
        if self.turn:
            self.turn -= 1
            self.turned.insert(0, told)
            if self.turn:
                return
            self.log += self.turned
            self.turned = []
        else:
            self.log.append(told)
        if self.twice:
            self.twice -= 1
            self.log.append(told)
        self.later(self.wake())

    def later(self, work: Any) -> None:
        """Do something beside."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def wake(self) -> None:
        """Wake the streams."""
        async with self.news:
            self.news.notify_all()

    def execute(self, order: Held, qty: Decimal, px: Decimal) -> None:
        """Fill a part of an order."""
        order.cum += qty
        order.value += qty * px
        exec_id = f"x-{order.body['client_order_id']}-{len(order.execs) + 1}"
        fill = {
            "exec_id": exec_id,
            "last_qty": str(qty),
            "last_px": str(px),
            "cum_qty": str(order.cum),
            "commission": "0",
        }
        order.execs.append(fill)
        if order.leaves <= 0:
            order.status = "filled"
        self.tell(order, "fill", fill=fill)

    def price(self, order: Held) -> Decimal | None:
        """Return what an order trades at now, or None."""
        terms, market = order.terms, self.markets.get(order.terms["symbol"], Market())
        buys = terms["side"] == "buy"
        px = market.ask if buys else market.bid
        if terms["type"] == "trailing_stop" or terms["time_in_force"] in RESTS:
            return None
        if terms["type"].startswith("stop") and not order.triggered:
            stop = Decimal(terms["stop_price"])
            if not (px >= stop if buys else px <= stop):
                return None
            order.triggered = True
            self.tell(order, "triggered")
        limit = terms.get("limit_price")
        if limit is not None and (Decimal(limit) < px if buys else Decimal(limit) > px):
            return None
        return px

    def match(self, order: Held) -> None:
        """Fill what is marketable."""
        if order.status in OVER or order.filling:
            return
        px = self.price(order)
        symbol = order.terms["symbol"]
        market = self.markets.get(symbol, Market())
        if px is None or market.size == 0:
            if order.terms["time_in_force"] in ("ioc", "fok"):
                order.status = "expired"
                self.tell(order, "expired")
            return
        if market.size is not None:
            qty = min(market.size, order.leaves)
            market.size -= qty
            self.execute(order, qty, px)
            return
        order.filling = True
        self.later(self.fill_in_parts(order, px))

    async def fill_in_parts(self, order: Held, px: Decimal) -> None:
        """Fill an order as the seed will have it."""
        chance = random.Random(f"{self.seed}:{order.body['client_order_id']}")
        parts = chance.randint(1, 3)
        late = chance.random() < 0.2
        whole = order.leaves
        try:
            for number in range(parts):
                await asyncio.sleep(chance.uniform(0.01, 0.06))
                if late and number == parts - 1 and parts > 1:
                    await asyncio.sleep(1)
                if order.status in OVER:
                    return
                last = number == parts - 1
                qty = (
                    order.leaves
                    if last
                    else min(order.leaves, (whole / parts).quantize(Decimal(1)))
                )
                if qty > 0:
                    self.execute(order, qty, px)
        finally:
            order.filling = False

    # Calls.

    def submit(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Take an order, once."""
        name = body["client_order_id"]
        known = self.orders.get(name)
        if known is not None:
            known.submits += 1
            asked = ("account", "order_id", "terms")
            if all(known.body[one] == body[one] for one in asked):
                return 409, {"code": "DUPLICATE", "text": "the order is here"}
            return 409, {"code": "CONFLICT", "text": "the id is that of another order"}
        order = self.orders[name] = Held(body)
        terms, until = order.terms, body.get("valid_until_ns")
        why = {}
        if terms["time_in_force"] in RESTS and terms["type"] not in ("market", "limit"):
            why = {"code": "TIME_IN_FORCE_NOT_ALLOWED", "text": "no stops in auctions"}
        elif until is not None and until < time.time_ns():
            why = {"code": "EXPIRED_UNSENT", "text": "it came after its time"}
        if why:
            order.status = "rejected"
            self.tell(order, "rejected", **why)
            return 422, why
        self.tell(order, "accepted")
        self.match(order)
        return 201, order.shown()

    def change(self, name: str, request: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        """Cancel an order, or with a body replace it."""
        order = self.orders.get(name)
        if order is None:
            return 404, {"code": "UNKNOWN_ORDER", "text": f"no order {name}"}
        if request in order.requests:
            return 409, {"code": "DUPLICATE", "text": f"{request} was here"}
        order.requests.add(request)
        word = "cancel" if body is None else "replace"
        if order.status in OVER:
            why = {"code": "TOO_LATE", "text": f"the order is {order.status}"}
            self.tell(order, f"{word}_rejected", request_id=request, **why)
            return 422, why
        self.tell(order, f"pending_{word}", request_id=request)
        if body is None:
            order.status = "canceled"
            self.tell(order, "canceled", request_id=request)
        else:
            order.body = {**order.body, "terms": body["terms"], "revision": body["revision"]}
            self.tell(order, "replaced", request_id=request, terms=body["terms"])
            self.match(order)
        return 202, order.shown()

    def positions(self) -> list[dict[str, str]]:
        """Return what the accounts hold."""
        sums: dict[tuple[str, str], Decimal] = {}
        for order in self.orders.values():
            key = order.body["account"], order.terms["symbol"]
            sign = 1 if order.terms["side"] == "buy" else -1
            sums[key] = sums.get(key, Decimal(0)) + sign * order.cum
        return [{"account": a, "symbol": s, "qty": str(qty)} for (a, s), qty in sums.items()]

    # Faults that happen at once.

    def bust(self, name: str) -> None:
        """Take the newest execution back."""
        order = self.orders[name]
        fill = order.execs[-1]
        order.cum -= Decimal(fill["last_qty"])
        order.value -= Decimal(fill["last_qty"]) * Decimal(fill["last_px"])
        if order.status == "filled":
            order.status = "accepted"
        taken = fill | {"exec_id": f"b-{fill['exec_id']}", "ref_exec_id": fill["exec_id"]}
        self.tell(order, "fill_busted", fill=taken | {"cum_qty": str(order.cum)})

    def correct(self, name: str, px: str) -> None:
        """Give the newest execution another price."""
        order = self.orders[name]
        fill = order.execs[-1]
        order.value += Decimal(fill["last_qty"]) * (Decimal(px) - Decimal(fill["last_px"]))
        new = fill | {"exec_id": f"c-{fill['exec_id']}", "ref_exec_id": fill["exec_id"]}
        self.tell(order, "fill_corrected", fill=new | {"last_px": px})

    def orphan(self) -> None:
        """Report an execution of an order that nobody sent."""
        terms = {"symbol": "AIG", "side": "buy", "qty": "1"}
        body = {"client_order_id": "A1.orphan", "order_id": "orphan", "account": "A1"}
        fill = {"exec_id": "x-orphan", "last_qty": "1", "last_px": "50", "cum_qty": "1"}
        self.tell(Held(body | {"terms": terms}), "fill", fill=fill | {"commission": "0"})


class Server:
    """The venue behind HTTP."""

    def __init__(self, venue: Venue, journal: Path | None) -> None:
        self.venue = venue
        self.journal = journal
        self.calls = 0
        self.down = False
        self.armed: list[dict[str, Any]] = []
        self.streams: set[web.StreamResponse] = set()
        self.dropped = 0

    def app(self) -> web.Application:
        """Return the web application."""
        app = web.Application()
        routes = [
            web.post("/orders", self.orders),
            web.get("/orders", self.open_orders),
            web.get("/orders/{name}", self.order),
            web.delete("/orders/{name}", self.order),
            web.patch("/orders/{name}", self.order),
            web.get("/positions", self.positions),
            web.get("/fills", self.fills),
            web.get("/events", self.events),
            web.post("/faults", self.faults),
            web.post("/market", self.market),
            web.get("/state", self.state),
        ]
        app.add_routes(routes)
        return app

    async def call(self, request: web.Request, act: Any) -> web.StreamResponse:
        """Answer one call, with a fault if one is armed for it."""
        body = await request.json() if request.can_read_body else None
        name = request.match_info.get("name") or (body or {}).get("client_order_id", "")
        self.note(request, name, body)
        if self.down:
            return web.json_response({}, status=503)
        fault = self.armed_for(request.method)
        kind = fault.get("fault", "")
        if kind == "slow":
            await asyncio.sleep(float(fault.get("seconds", 1)))
        if kind == "timeout_before":
            await asyncio.sleep(HOUR_S)
        if kind in BEFORE:
            status = {"error_before": 503, "throttle": 429, "lost": 404}[kind]
            return web.json_response({}, status=status)
        status, answer = act(name, body)
        if kind == "timeout_after":
            await asyncio.sleep(HOUR_S)
        if kind == "reset_after" and request.transport is not None:
            request.transport.close()
        if kind == "error_after":
            return web.json_response({}, status=503)
        return web.json_response(answer, status=status)

    def note(self, request: web.Request, name: str, body: Any) -> None:
        """Write a call to the journal."""
        self.calls += 1
        line = {"n": self.calls, "ts_ns": time.time_ns(), "method": request.method}
        line |= {"path": request.path_qs, "client_order_id": name, "body": body}
        if self.journal is not None:
            with self.journal.open("a") as file:
                file.write(json.dumps(line) + "\n")

    def armed_for(self, method: str) -> dict[str, Any]:
        """Return the fault that this call gets, and use it up."""
        for one in self.armed:
            wanted = one.get("method")
            if method == wanted or (wanted is None and method != "GET"):
                one["count"] -= 1
                if one["count"] <= 0:
                    self.armed.remove(one)
                return one
        return {}

    async def orders(self, request: web.Request) -> web.StreamResponse:
        """POST /orders."""
        return await self.call(request, lambda _, body: self.venue.submit(body))

    async def order(self, request: web.Request) -> web.StreamResponse:
        """GET, DELETE or PATCH /orders/{client_order_id}."""
        if request.method == "GET":
            return await self.call(request, lambda name, _: self.shown(name))
        asked = request.query.get("request_id", "")
        return await self.call(
            request,
            lambda name, body: self.venue.change(name, asked or body["request_id"], body),
        )

    def shown(self, name: str) -> tuple[int, dict[str, Any]]:
        """Return an order, or that there is none."""
        found = self.venue.orders.get(name)
        return (200, found.shown()) if found else (404, {"code": "UNKNOWN_ORDER", "text": name})

    async def open_orders(self, request: web.Request) -> web.StreamResponse:
        """GET /orders?open=true."""
        found = [one.shown() for one in self.venue.orders.values() if one.status not in OVER]
        return await self.call(request, lambda *_: (200, {"orders": found}))

    async def positions(self, request: web.Request) -> web.StreamResponse:
        """GET /positions."""
        return await self.call(request, lambda *_: (200, {"positions": self.venue.positions()}))

    async def fills(self, request: web.Request) -> web.StreamResponse:
        """GET /fills?since=NS."""
        since = int(request.query.get("since", "0"))
        found = [one for one in self.venue.fills if one["ts_event_ns"] >= since]
        return await self.call(request, lambda *_: (200, {"fills": found}))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """GET /events?since=CURSOR: the log from there on, and what comes."""
        if self.down:
            return web.json_response({}, status=503)
        place, drops = int(request.query.get("since") or 0), self.dropped
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await answer.prepare(request)
        with suppress(ConnectionResetError):  # whoever listened is gone
            while drops == self.dropped:
                lines = self.venue.log[place:]
                for told in lines:
                    place += 1
                    await answer.write(json.dumps({**told, "cursor": str(place)}).encode() + b"\n")
                if not lines:
                    await answer.write(b"\n")
                await self.until_news(place, drops)
        return answer

    async def until_news(self, place: int, drops: int) -> None:
        """Return when the log goes beyond a place, the stream is to be cut, or a while is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_S), self.venue.news:
                await self.venue.news.wait_for(
                    lambda: len(self.venue.log) > place or drops != self.dropped
                )

    async def faults(self, request: web.Request) -> web.StreamResponse:
        """POST /faults."""
        asked = await request.json()
        kind, count = asked["fault"], int(asked.get("count", 1))
        if kind in CALLS:
            self.armed.append({**asked, "count": count})
        elif kind == "disarm":
            self.armed.clear()
        elif kind in ("drop_stream", "down", "up"):
            self.down = kind == "down" or (self.down and kind == "drop_stream")
            self.dropped += kind != "up"
            await self.venue.wake()
        elif not self.happens(kind, count, asked):
            return web.json_response({"error": f"no fault {kind}"}, status=400)
        return web.json_response({"armed": len(self.armed)})

    def happens(self, kind: str, count: int, asked: dict[str, Any]) -> bool:
        """Let a fault of the venue happen; say whether there is such a one."""
        venue = self.venue
        if kind == "duplicate":
            venue.twice += count
        elif kind == "reorder":
            venue.turn = count
        elif kind == "mute":
            venue.muted = count
        elif kind == "bust":
            venue.bust(asked["client_order_id"])
        elif kind == "correct":
            venue.correct(asked["client_order_id"], asked["last_px"])
        elif kind == "orphan":
            venue.orphan()
        elif kind == "forget_open":
            venue.orders[asked["client_order_id"]].status = "canceled"
        else:
            return False
        return True

    async def market(self, request: web.Request) -> web.StreamResponse:
        """POST /market."""
        asked = await request.json()
        size = asked.get("size")
        self.venue.markets[asked["symbol"]] = Market(
            Decimal(asked["bid"]), Decimal(asked["ask"]), None if size is None else Decimal(size)
        )
        for order in self.venue.orders.values():
            if order.terms["symbol"] == asked["symbol"]:
                self.venue.match(order)
        return web.json_response({})

    async def state(self, _: web.Request) -> web.StreamResponse:
        """GET /state."""
        orders = {name: one.shown() for name, one in self.venue.orders.items()}
        return web.json_response(
            {"orders": orders, "fills": self.venue.fills, "calls": self.calls, "armed": self.armed}
        )


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--journal", type=Path)
    given = parser.parse_args()

    async def app() -> web.Application:
        return Server(Venue(given.seed), given.journal).app()

    web.run_app(
        app(), host="127.0.0.1", port=given.port, print=None, access_log=None, shutdown_timeout=0.2
    )


if __name__ == "__main__":
    main()
