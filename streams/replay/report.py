"""The report of a replay: figures out of what was observed, as plain JSON values.

Money and prices are text, as on the wire; ratios are numbers. Nothing in it depends on the machine
or on when it ran: that stands in `run.json` beside it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from itertools import groupby
from typing import Any

from streams.domain.decimals import EXACT, ZERO, shown
from streams.domain.performance import (
    DAYS_A_YEAR,
    MINUTES_A_YEAR,
    Traded,
    max_drawdown,
    returns_of,
    sharpe,
    slippage,
    sortino,
    trip_figures,
)
from streams.models.orders import Order, OrderStatus
from streams.replay.observer import Observer

#: With so many trading days or more, ratios are of daily returns.
DAYS_FOR_DAILY = 20


def report_of(
    observer: Observer, starting_cash: Decimal, span: tuple[int, int], ticks: int
) -> dict[str, Any]:
    """Return the report. `starting_cash` is that of all accounts that traded."""
    with localcontext(EXACT):
        equity = equity_of(observer, starting_cash)
        money = _money(observer, starting_cash, equity)
        return {
            "span": {"from": iso(span[0]), "to": iso(span[1]), "ticks": ticks},
            **money,
            "risk": _risk(observer, starting_cash, equity),
            "orders": _orders(observer),
            "slippage": _plain(asdict(slippage(observer.fills))),
            "round_trips": _plain(asdict(trip_figures(observer.book.trips))),
            "trades": [_trade(fill) for fill in observer.fills],
            "by_symbol": _by(observer.fills),
            "strategies": _strategies(observer),
            "dead_letters": dict(sorted(observer.letters.items())),
            "records": dict(sorted(observer.records.items())),
        }


def equity_of(observer: Observer, starting_cash: Decimal) -> list[tuple[int, Decimal]]:
    """Return the equity at each sample and at the end."""
    samples = [(ts, profit) for ts, _, profit, _ in observer.samples]
    return [(ts, starting_cash + profit) for ts, profit in (*samples, observer.ended)]


def iso(ts_ns: int) -> str:
    """Return a moment as ISO text with nanoseconds."""
    seconds, nanos = divmod(ts_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


def _money(
    observer: Observer, starting_cash: Decimal, equity: Sequence[tuple[int, Decimal]]
) -> dict[str, Any]:
    book, last = observer.book, equity[-1][1]
    return _plain(
        {
            "starting_cash": starting_cash,
            "equity": last,
            "pnl": last - starting_cash,
            "commission": book.commission,
            "traded_value": book.traded,
            "turnover": float(book.traded / starting_cash) if starting_cash else None,
            "positions": {one: qty for one, qty in sorted(book.positions().items()) if qty},
        }
    )


def _risk(
    observer: Observer, starting_cash: Decimal, equity: Sequence[tuple[int, Decimal]]
) -> dict[str, Any]:
    """Return the ratios: of daily returns where there are enough days, else of minutes."""
    days = [list(group)[-1] for _, group in groupby(observer.samples, key=lambda one: one[1])]
    daily = len(days) >= DAYS_FOR_DAILY
    steps = [profit for _, _, profit, _ in (days if daily else observer.samples)]
    returns = returns_of([starting_cash, *(starting_cash + profit for profit in steps)])
    a_year = DAYS_A_YEAR if daily else MINUTES_A_YEAR
    worst = max_drawdown([(equity[0][0], starting_cash), *equity])
    held = [gross for _, _, _, gross in observer.samples]
    return _plain(
        {
            "period": "day" if daily else "minute of regular hours",
            "returns": len(returns),
            "sharpe": sharpe(returns, a_year),
            "sortino": sortino(returns, a_year),
            "max_drawdown": worst.money,
            "max_drawdown_share": worst.share,
            "drawdown_from": iso(worst.peak_ns) if worst.peak_ns is not None else None,
            "drawdown_to": iso(worst.trough_ns) if worst.trough_ns is not None else None,
            "largest_exposure": max(held, default=ZERO),
            "by_day": {day: starting_cash + profit for _, day, profit, _ in days},
        }
    )


def _orders(observer: Observer) -> dict[str, Any]:
    """Return how many orders there were and what became of them.

    The fill ratio is of quantities: filled of asked, over the orders that were not rejected.
    """
    orders = list(observer.orders.values())
    status = Counter(order.status.value for order in orders)
    taken = [one for one in orders if one.status is not OrderStatus.REJECTED]
    asked = sum((_asked(one) for one in taken), ZERO)
    filled = sum((one.cum_qty for one in taken), ZERO)
    return {
        "orders": len(orders),
        "fills": len(observer.fills),
        "by_status": dict(sorted(status.items())),
        "refusals": dict(sorted(observer.refusals.items())),
        "fill_ratio": float(filled / asked) if asked else None,
    }


def _strategies(observer: Observer) -> dict[str, Any]:
    """Return how each strategy stood on each symbol at last."""
    return {
        key: {"status": one.status, "text": one.text, "signals": one.signals, "errors": one.errors}
        for key, one in sorted(observer.strategies.items())
    }


def _asked(order: Order) -> Decimal:
    return order.cum_qty + order.leaves_qty if order.terms is None else order.terms.qty or ZERO


def _trade(fill: Traded) -> dict[str, Any]:
    kept = {
        "time": iso(fill.ts_ns),
        "account": fill.account,
        "symbol": fill.symbol,
        "order_id": fill.order_id,
        "strategy": fill.strategy or None,
        "qty": fill.qty,
        "price": fill.px,
        "commission": fill.commission,
        "decided_at": iso(fill.ts_decided_ns) if fill.ts_decided_ns is not None else None,
        "decided_price": fill.decided_px,
    }
    return _plain({name: value for name, value in kept.items() if value is not None})


def _by(fills: Iterable[Traded]) -> dict[str, Any]:
    found: dict[str, list[Traded]] = {}
    for fill in fills:
        found.setdefault(fill.symbol, []).append(fill)
    return {
        symbol: _plain(
            {
                "fills": len(mine),
                "traded_value": sum((abs(one.qty) * one.px for one in mine), ZERO),
                "slippage_bps": slippage(mine).bps,
            }
        )
        for symbol, mine in sorted(found.items())
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return values as JSON has them: money as text at nine places at most."""
    return {name: _plain_one(value) for name, value in values.items()}


def _plain_one(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(shown(value))
    return _plain(value) if isinstance(value, dict) else value
