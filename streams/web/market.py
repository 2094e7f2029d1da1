"""The views of the market: last prices with their age, recent bars, how strategies stand."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from streams import clock
from streams.domain.bars.frames import frame_of
from streams.domain.bars.rows import BarRow, SymbolRow
from streams.domain.controls import DEFAULT
from streams.domain.prices import fresh, last_ns, mark_ns, mark_of, mid, quote_ns, seconds
from streams.models.market import Bar, LastPrice
from streams.web.owner import answered_by_owner
from streams.web.pages import limit_of, page_of, respond, table_of
from streams.web.problems import ProblemError
from tables.bars import BARS

#: So many symbols are named in a problem.
MAX_NAMED = 100

Page = Callable[..., Any]


def price_pages() -> dict[str, Page]:
    """Return the views of every role that follows the last prices."""
    return {"/symbols": _symbols, "/symbols/{symbol}/last": _last}


def market_pages() -> dict[str, Page]:
    """Return the views of the market role."""
    return {"/symbols/{symbol}/bars/{frame}": _bars, "/strategies": _strategies}


def price_body(price: LastPrice, now_ns: int, max_age_s: Decimal) -> dict[str, Any]:
    """Return a symbol's prices with their age in seconds, and whether they are stale.

    `price` is what the gate goes by: the last print if it is young enough, else the middle of
    bid and ask if that is. `stale`: neither is; `price` is then what there was.
    """
    young = fresh(price, now_ns, max_age_s)
    used = young or price
    body: dict[str, Any] = price.model_dump(mode="json", exclude_none=True)
    if (mark := mark_of(used)) is not None:
        body |= {"price": f"{mark:f}", "age_s": seconds(now_ns - mark_ns(used))}
    body |= {"stale": young is None, "max_price_age_s": str(max_age_s)}
    if price.last is not None:
        body["last_age_s"] = seconds(now_ns - last_ns(price))
    if price.bid is not None or price.ask is not None:
        body["quote_age_s"] = seconds(now_ns - quote_ns(price))
    if (middle := mid(price)) is not None:
        body["mid"] = f"{middle:f}"
    return body


def newest_first(rows: Iterable[tuple[str, Any]], limit: int) -> list[Bar]:
    """Return the newest bars of rows in the order of their start."""
    bars = [row.bar for _, row in rows if isinstance(row, BarRow) and row.bar is not None]
    return bars[::-1][:limit]


def _services(view: Any) -> Any:
    services = view.app.services
    if not services.started:
        raise ProblemError(503, "the worker still reads rules and prices; ask again in a second")
    return services


def _prices(view: Any) -> Mapping[str, LastPrice]:
    prices: Mapping[str, LastPrice] = _services(view).prices
    return prices


def _max_age_s(view: Any) -> Decimal:
    """Return the default limits' bound; an account's own holds for its orders and positions."""
    max_age_s: Decimal = _services(view).controls.limits(DEFAULT).max_price_age_s
    return max_age_s


async def _symbols(view: Any, request: Any) -> Any:
    """Answer the newest prices of all symbols."""
    now_ns, max_age_s = clock.now_ns(), _max_age_s(view)
    page = page_of(_sorted(_prices(view)), request)
    page["items"] = [price_body(price, now_ns, max_age_s) for price in page["items"]]
    return respond(page)


def _sorted(mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return sorted(mapping.items(), key=lambda pair: pair[0])


async def _last(view: Any, request: Any, symbol: str) -> Any:
    """Answer the newest prices of a symbol."""
    price = _prices(view).get(symbol)
    if price is None:
        raise _unknown(view, f"no price of {symbol} has come")
    return respond(price_body(price, clock.now_ns(), _max_age_s(view)))


def _unknown(view: Any, text: str) -> ProblemError:
    known = sorted(_prices(view))
    named = ", ".join(known[:MAX_NAMED]) or "none"
    more = f" and {len(known) - MAX_NAMED} more (GET /symbols)" if len(known) > MAX_NAMED else ""
    return ProblemError(404, f"{text}; symbols with prices: {named}{more}")


async def _bars(view: Any, request: Any, symbol: str, frame: str) -> Any:
    """Answer a symbol's closed bars that the table keeps, newest first."""
    table = table_of(view, BARS.name)
    _check_frame(frame)
    limit = limit_of(request)
    if answer := await answered_by_owner(view.app, table, symbol, request):
        return answer
    known = table.local.get(symbol)
    if not isinstance(known, SymbolRow):
        raise _unknown(view, f"no trade of {symbol} has come, so there are no bars")
    frames = known.frames.split()
    if frame not in frames:
        text = f"no bars of {frame} are made of {symbol}; there are {', '.join(frames)}"
        raise ProblemError(404, f"{text} (the setting is ORDERFLOW_BARS)", frames=frames)
    older = f"./orderflow query bars_as_of -p symbol={symbol} -p frame={frame}"
    items = newest_first(table.local.scan(f"{symbol}|b|{frame}|"), limit)
    return respond({"symbol": symbol, "frame": frame, "items": items, "older": older})


def _check_frame(frame: str) -> None:
    try:
        frame_of(frame)
    except ValueError as error:
        raise ProblemError(400, str(error)) from None


async def _strategies(view: Any, request: Any) -> Any:
    """Answer how the strategies stand; `symbol=` and `strategy=` pick some."""
    symbol, strategy = request.query.get("symbol", ""), request.query.get("strategy", "")
    rows = (
        (key, state)
        for key, state in _sorted(_services(view).strategies)
        if symbol in ("", state.symbol) and strategy in ("", state.strategy)
    )
    return respond(page_of(rows, request))
