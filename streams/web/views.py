"""The views of the orders role, and those that every role has."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from aiohttp import web

from streams import clock
from streams.domain.aging import Gone
from streams.domain.exposure_models import RiskAccount
from streams.domain.order_state import OrderState
from streams.domain.order_view import order_of
from streams.domain.positions import AccountState, PositionState
from streams.domain.prices import is_stale, mid, seconds
from streams.domain.valuation import account_of, buying_power, equity, marked
from streams.models.market import LastPrice
from streams.models.orders import TERMINAL, Order
from streams.models.positions import Position
from streams.topology import topology
from streams.transport.table import Table
from streams.web.health import live, ready_report
from streams.web.market import market_pages, price_pages
from streams.web.metrics import CONTENT_TYPE, exposition
from streams.web.owner import answered_by_owner
from streams.web.pages import page_of, respond, table_of
from streams.web.problems import ProblemError
from tables.orders import ORDERS, order_key
from tables.positions import POSITIONS, position_key
from tables.risk import RISK


def register(app: Any, role: str) -> None:
    """Add the views of a role to its Faust app."""
    pages: dict[str, Callable[..., Any]] = {
        "/tables": _tables,
        "/topology": _topology,
        "/health/live": _live,
        "/health/ready": _ready,
        "/metrics": _metrics,
    }
    if role in ("orders", "market"):
        pages |= price_pages()
    if role == "market":
        pages |= market_pages()
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
    services = view.app.services
    max_age_s = services.controls.limits(state.account).max_price_age_s
    price = services.prices.get(state.symbol)
    return position_body(state, price, clock.now_ns(), max_age_s)


def position_body(
    state: PositionState, price: LastPrice | None, now_ns: int, max_age_s: Decimal
) -> dict[str, Any]:
    """Return a position at a price, with its middle, the mark's age and whether that is stale."""
    position = marked(state, price)
    body: dict[str, Any] = position.model_dump(mode="json", exclude_none=True)
    if price is not None and (middle := mid(price)) is not None:
        body["mid"] = f"{middle:f}"
    if position.ts_mark_ns is not None:
        body["mark_age_s"] = seconds(now_ns - position.ts_mark_ns)
        body["stale"] = is_stale(position.ts_mark_ns, now_ns, max_age_s)
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
    now_ns, max_age_s = clock.now_ns(), limits.max_price_age_s
    marks = [one.ts_mark_ns for one in positions if one.ts_mark_ns is not None]
    return {
        **booked.model_dump(mode="json"),
        "equity": str(equity(booked, positions)),
        "reserved": str(reserved),
        "buying_power": str(free),
        "open_orders": known.open_orders if known else 0,
        "positions": sum(1 for one in positions if one.qty),
        "stale_marks": sum(is_stale(ts_ns, now_ns, max_age_s) for ts_ns in marks),
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
