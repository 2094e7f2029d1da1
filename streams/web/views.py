"""The views of the orders role, and those that every role has."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel

from streams import clock
from streams.domain.aging import Gone
from streams.domain.exposure_models import RiskAccount
from streams.domain.order_state import OrderState
from streams.domain.order_view import order_of
from streams.domain.positions import AccountState, PositionState
from streams.domain.valuation import account_of, buying_power, equity, marked
from streams.models.orders import TERMINAL, Order
from streams.models.positions import Position
from streams.topology import topology
from streams.transport.table import Table
from streams.web.health import live, ready_report
from streams.web.metrics import CONTENT_TYPE, exposition
from streams.web.owner import answered_by_owner
from streams.web.problems import ProblemError
from tables.orders import ORDERS, order_key
from tables.positions import POSITIONS, position_key
from tables.risk import RISK

MAX_LIMIT = 1_000
DEFAULT_LIMIT = 100


def register(app: Any, role: str) -> None:
    """Add the views of a role to its Faust app."""
    pages: dict[str, Callable[..., Any]] = {
        "/tables": _tables,
        "/topology": _topology,
        "/health/live": _live,
        "/health/ready": _ready,
        "/metrics": _metrics,
    }
    if role == "orders":
        pages |= {
            "/accounts/{account}": _account,
            "/accounts/{account}/orders": _orders,
            "/accounts/{account}/orders/{order_id}": _order,
            "/accounts/{account}/positions": _positions,
            "/accounts/{account}/positions/{symbol}": _position,
        }
    for path, handler in pages.items():
        app.page(path, name=handler.__name__)(handler)


def respond(body: Any, status: int = 200) -> web.Response:
    """Return a JSON response; messages as on the wire."""
    return web.Response(
        body=orjson.dumps(body, default=_plain), status=status, content_type="application/json"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    raise TypeError(type(value).__name__)


def table_of(view: Any, name: str) -> Table:
    """Return a table of the worker."""
    table: Table = view.app.tables[name]
    return table


def _page(request: Any) -> tuple[int, str]:
    """Return how many rows are asked for, and the key after which they begin."""
    raw = request.query.get("limit", str(DEFAULT_LIMIT))
    if not raw.isdigit() or not 1 <= int(raw) <= MAX_LIMIT:
        raise ProblemError(400, f"limit={raw!r}: give a whole number from 1 to {MAX_LIMIT}")
    return int(raw), request.query.get("after", "")


def page_of(rows: Iterable[tuple[str, Any]], request: Any) -> dict[str, Any]:
    """Return one page of rows: `next` is what `after` takes to go on, null at the end."""
    limit, after = _page(request)
    items: list[Any] = []
    last = None
    for key, item in rows:
        if after and key <= after:
            continue
        if len(items) == limit:
            return {"items": items, "next": last}
        items.append(item)
        last = key
    return {"items": items, "next": None}


async def _order(view: Any, request: Any, account: str, order_id: str) -> Any:
    """Answer one order as it stands."""
    table = table_of(view, ORDERS.name)
    if answer := await answered_by_owner(view.app, table, account, request):
        return answer
    state = table.local.get(order_key(account, order_id))
    if isinstance(state, Gone):
        ask = f"./orderflow query orders --param account={account} --param order_id={order_id}"
        text = f"order {order_id} of account {account} was over and left on {state.day}"
        raise ProblemError(404, f"{text}; the history has it: {ask}", left=state.day)
    order = order_of(state) if isinstance(state, OrderState) else None
    if order is None:
        raise ProblemError(404, f"account {account} has no order {order_id}")
    return respond(order)


async def _orders(view: Any, request: Any, account: str) -> Any:
    """Answer an account's orders; `status=open` or a status picks some."""
    table = table_of(view, ORDERS.name)
    if answer := await answered_by_owner(view.app, table, account, request):
        return answer
    wanted = request.query.get("status", "")
    return respond(page_of(_orders_of(table, account, wanted), request))


def _orders_of(table: Table, account: str, wanted: str) -> Iterable[tuple[str, Order]]:
    for _, state in table.local.scan(f"{account}|"):
        order = order_of(state) if isinstance(state, OrderState) else None
        if order is None:
            continue
        is_open = order.status not in TERMINAL
        if not wanted or wanted == order.status or (wanted == "open" and is_open):
            yield order.order_id, order


async def _position(view: Any, request: Any, account: str, symbol: str) -> Any:
    """Answer one position at the newest price."""
    table = table_of(view, POSITIONS.name)
    if answer := await answered_by_owner(view.app, table, account, request):
        return answer
    state = table.local.get(position_key(account, symbol))
    if not isinstance(state, PositionState):
        raise ProblemError(404, f"account {account} has never held {symbol}")
    return respond(_marked(view, state))


async def _positions(view: Any, request: Any, account: str) -> Any:
    """Answer an account's positions at the newest prices."""
    table = table_of(view, POSITIONS.name)
    if answer := await answered_by_owner(view.app, table, account, request):
        return answer
    return respond(page_of(_positions_of(view, table, account), request))


def _positions_of(view: Any, table: Table, account: str) -> Iterable[tuple[str, Any]]:
    for _, state in table.local.scan(f"{account}|"):
        if isinstance(state, PositionState):
            yield state.symbol, _marked(view, state)


def _marked(view: Any, state: PositionState) -> dict[str, Any]:
    """Return a position with the age of its mark."""
    position = marked(state, view.app.services.prices.get(state.symbol))
    body: dict[str, Any] = position.model_dump(mode="json", exclude_none=True)
    if position.ts_mark_ns is not None:
        body["mark_age_s"] = round((clock.now_ns() - position.ts_mark_ns) / 1e9, 3)
    return body


async def _account(view: Any, request: Any, account: str) -> Any:
    """Answer an account's money, its equity and what it may still buy."""
    table = table_of(view, POSITIONS.name)
    if answer := await answered_by_owner(view.app, table, account, request):
        return answer
    state = table.local.get(account)
    risk = table_of(view, RISK.name).local.get(account)
    if state is None and risk is None:
        raise ProblemError(404, f"account {account} has sent no order yet")
    money = state if isinstance(state, AccountState) else AccountState(account=account)
    return respond(_account_body(view, table, account, money, risk))


def _account_body(
    view: Any, table: Table, account: str, money: AccountState, risk: Any
) -> dict[str, Any]:
    controls = view.app.services.controls
    limits = controls.limits(account)
    booked = account_of(money, limits.starting_cash)
    positions = _held(view, table, account)
    known = risk if isinstance(risk, RiskAccount) else None
    reserved = known.reserved if known else Decimal(0)
    free = buying_power(booked, positions, reserved, limits.buying_power_factor)
    return {
        **booked.model_dump(mode="json"),
        "equity": str(equity(booked, positions)),
        "reserved": str(reserved),
        "buying_power": str(free),
        "open_orders": known.open_orders if known else 0,
        "positions": sum(1 for one in positions if one.qty),
        "trading_state": controls.trading_state(account).state,
        "limits_version": limits.version,
    }


def _held(view: Any, table: Table, account: str) -> list[Position]:
    prices = view.app.services.prices
    return [
        marked(state, prices.get(state.symbol))
        for _, state in table.local.scan(f"{account}|")
        if isinstance(state, PositionState)
    ]


async def _tables(view: Any, request: Any) -> Any:
    """Answer what tables this worker keeps, with about how many keys."""
    return respond(
        [
            {
                "name": table.spec.name,
                "key": table.spec.key,
                "doc": table.spec.doc,
                "bound": table.spec.bound,
                "written_by": table.spec.written_by,
                "changelog": table.changelog_topic_name,
                "partitions": sorted(table.local.partitions),
                "keys_about": len(table.local),
            }
            for table in view.app.tables.values()
        ]
    )


async def _topology(view: Any, request: Any) -> Any:
    """Answer the graph of agents, topics and tables."""
    return respond(topology())


async def _live(view: Any, request: Any) -> Any:
    """Answer that the event loop runs, and how late it is."""
    return respond(await live())


async def _ready(view: Any, request: Any) -> Any:
    """Answer whether this worker does its work: 200, or 503 with what it waits for."""
    report = ready_report(view.app)
    if not report["ready"]:
        raise ProblemError(503, "not ready: " + ", ".join(report["waiting_for"]), **report)
    return respond(report)


async def _metrics(view: Any, request: Any) -> Any:
    """Answer what this worker measures of itself, in Prometheus's text format."""
    return web.Response(body=await exposition(view.app), headers={"Content-Type": CONTENT_TYPE})
