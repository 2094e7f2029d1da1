"""The page of a replay: one HTML file with its charts as SVG inside, without any address."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from typing import Any

from streams.domain.performance import Traded
from streams.replay.observer import Observer
from streams.replay.report import equity_of

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 960, 220, 90, 24, 10
#: A line is drawn with at most so many points: lows and highs of each stretch stay.
MOST_POINTS = 1_500
MOST_TRADES = 500
Point = tuple[int, float]

_STYLE = """
body{font:14px/1.5 system-ui,sans-serif;max-width:1020px;margin:2em auto;padding:0 1em;color:#222}
h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em}table{border-collapse:collapse}
td,th{padding:.15em .9em .15em 0;text-align:left;font-variant-numeric:tabular-nums}
svg{background:#fafafa;border:1px solid #ddd;width:100%;height:auto}
.axis{fill:#666;font-size:11px}.grid{stroke:#e4e4e4}.line{fill:none;stroke:#1f6feb;stroke-width:1.3}
.fall{fill:#d1242f;fill-opacity:.25;stroke:#d1242f}.buy{fill:#1a7f37}.sell{fill:#d1242f}
code{font-size:.85em}
"""


@dataclass(frozen=True, slots=True)
class _Scale:
    """Turns times and values into places of a chart."""

    first: int
    last: int
    low: float
    high: float

    def x(self, ts: int) -> float:
        """Return how far right a moment is."""
        return LEFT + (ts - self.first) / max(1, self.last - self.first) * (WIDTH - LEFT - 10)

    def y(self, value: float) -> float:
        """Return how far down a value is."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)


def page_of(report: dict[str, Any], observer: Observer) -> str:
    """Return the page."""
    start, span = Decimal(report["starting_cash"]), report["span"]
    equity = [(ts, float(value)) for ts, value in equity_of(observer, start)]
    parts = [
        f"<h1>Replay: {escape(str(report['run'].get('source', '')))}</h1>",
        f"<p>{escape(span['from'])} to {escape(span['to'])}, {span['ticks']:,} ticks</p>",
        _table(_figures(report)),
        "<h2>Equity</h2>",
        _chart(equity),
        "<h2>Drawdown</h2>",
        _chart(_drawdown(equity), filled=True),
    ]
    for symbol, prices in sorted(observer.prices.items()):
        fills = [one for one in observer.fills if one.symbol == symbol]
        points = [(ts, float(price)) for ts, price in prices]
        parts += [f"<h2>{escape(symbol)}</h2>", _chart(points, fills=fills)]
    parts += ["<h2>Trades</h2>", _trades(report["trades"])]
    parts.append(f"<p>Run <code>{escape(str(report['run']))}</code></p>")
    parts.append(f"<p>Result <code>{escape(report['result_hash'])}</code></p>")
    head = f'<meta charset="utf-8"><title>Replay</title><style>{_STYLE}</style>'
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _figures(report: dict[str, Any]) -> dict[str, Any]:
    risk, orders, trips = report["risk"], report["orders"], report["round_trips"]
    return {
        "Profit": report["pnl"],
        "Equity": report["equity"],
        "Commission": report["commission"],
        f"Sharpe, per year, of each {risk['period']}": risk["sharpe"],
        f"Sortino, per year, of each {risk['period']}": risk["sortino"],
        "Largest drawdown": f"{risk['max_drawdown']} ({risk['max_drawdown_share']:.3%})",
        "Turnover": report["turnover"],
        "Orders, fills": f"{orders['orders']}, {orders['fills']}",
        "Fill ratio": orders["fill_ratio"],
        "Slippage, basis points": report["slippage"]["bps"],
        "Round trips, win rate": f"{trips['count']}, {_shown(trips['win_rate'])}",
    }


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(rows: dict[str, Any]) -> str:
    cells = (f"<tr><th>{escape(k)}</th><td>{escape(_shown(v))}</td></tr>" for k, v in rows.items())
    return f"<table>{''.join(cells)}</table>"


def _trades(trades: Sequence[dict[str, Any]]) -> str:
    """Return the first trades as a table; the report has all of them."""
    if not trades:
        return "<p>None.</p>"
    names = ("time", "account", "symbol", "qty", "price", "commission", "order_id", "strategy")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(str(one.get(name, '')))}</td>" for name in names) + "</tr>"
        for one in trades[:MOST_TRADES]
    )
    left = len(trades) - MOST_TRADES
    more = f"<p>{left:,} more stand in report.json.</p>" if left > 0 else ""
    return f"<table><tr>{head}</tr>{rows}</table>{more}"


def _drawdown(equity: Sequence[Point]) -> list[Point]:
    found, peak = [], float("-inf")
    for ts, value in equity:
        peak = max(peak, value)
        found.append((ts, value - peak))
    return found


def _chart(points: Sequence[Point], *, filled: bool = False, fills: Sequence[Traded] = ()) -> str:
    """Return a line over time; fills are marks on it, up for buys and down for sales."""
    if not points:
        return "<p>No samples: no minute of regular hours was in the run.</p>"
    values = [value for _, value in points] + [float(one.px) for one in fills]
    times = [points[0][0], points[-1][0], *(one.ts_ns for one in fills)]
    scale = _Scale(min(times), max(times), min(values), max(values))
    line = " ".join(f"{scale.x(ts):.1f},{scale.y(value):.1f}" for ts, value in _fewer(points))
    shape = f'<polyline class="line" points="{line}"/>'
    if filled:
        left, right, zero = scale.x(points[0][0]), scale.x(points[-1][0]), scale.y(scale.high)
        edge = f"{left:.1f},{zero:.1f} {line} {right:.1f},{zero:.1f}"
        shape = f'<polygon class="fall" points="{edge}"/>'
    marks = "".join(_mark(scale, one) for one in fills[:MOST_POINTS])
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}">{_axes(scale)}{shape}{marks}</svg>'


def _mark(scale: _Scale, fill: Traded) -> str:
    x, y, up = scale.x(fill.ts_ns), scale.y(float(fill.px)), fill.qty > 0
    tip = 5 if up else -5
    kind = "buy" if up else "sell"
    return f'<path class="{kind}" d="M{x:.1f} {y:.1f}l-4 {2 * tip}h8z"/>'


def _axes(scale: _Scale) -> str:
    parts = []
    for step in range(5):
        value = scale.low + (scale.high - scale.low) * step / 4
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis" x="4" y="{y + 4:.1f}">{value:,.2f}</text>')
        ts = scale.first + (scale.last - scale.first) * step // 4
        moment = datetime.fromtimestamp(ts // 10**9, UTC)
        place = f'x="{scale.x(ts) - (60 if step == 4 else 0):.1f}" y="{HEIGHT - 6}"'
        parts.append(f'<text class="axis" {place}>{moment:%m-%d %H:%M}</text>')
    return "".join(parts)


def _fewer(points: Sequence[Point]) -> Sequence[Point]:
    """Return at most `MOST_POINTS` points: of each stretch its lowest and its highest."""
    if len(points) <= MOST_POINTS:
        return points
    size = -(-len(points) // (MOST_POINTS // 2))
    found: list[Point] = []
    for first in range(0, len(points), size):
        stretch = points[first : first + size]
        ends = {min(stretch, key=_value), max(stretch, key=_value)}
        found += sorted(ends)
    return found


def _value(point: Point) -> float:
    return point[1]
