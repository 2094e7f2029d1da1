"""A candle chart as SVG: candles, volume below, fills as triangles; `<title>` says what each is.

Colours are CSS variables (`STYLE`), so that the page around it chooses light or dark.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from html import escape

from streams.charts.candles import Candle, Fill, Span, place, span_of, time_label, when

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #24292f; --faint: #d8dee4;
  --up: #1a7f5a; --down: #c4432b; --buy: #0b62c4; --sell: #9a3fb5; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #d5dbe1; --faint: #333b44;
  --up: #3fb68b; --down: #ef6f57; --buy: #6cb0ff; --sell: #d68cf0; } }
.candles { background: var(--paper); font: 11px system-ui, sans-serif; }
.candles text { fill: var(--ink); }
.candles .grid { stroke: var(--faint); }
.candles .up { stroke: var(--up); fill: var(--paper); }
.candles .down { stroke: var(--down); fill: var(--down); }
.candles .volume { opacity: 0.45; }
.candles .volume.up { fill: var(--up); }
.candles .buy { fill: var(--buy); stroke: var(--paper); }
.candles .sell { fill: var(--sell); stroke: var(--paper); }
"""

GUTTER = 70  # for the prices, at the right
FOOT = 20  # for the times
TOP = 10
VOLUME_SHARE = 0.18
STEP = 8  # of a candle, at least
GRID_LINES = 6


def candles_svg(
    candles: Sequence[Candle], fills: Sequence[Fill] = (), *, width: int = 960, height: int = 480
) -> str:
    """Return a chart as one `<svg>` element, wider than `width` if the candles need it.

    Returns an empty text if no candle has a price. A page that holds it needs `STYLE`.
    """
    placed = place(candles, fills)
    shown = [(number, fill) for number, group in placed.on.items() for fill in group]
    span = span_of(candles, [fill for _, fill in shown])
    if span is None:
        return ""
    width = max(width, STEP * len(candles) + GUTTER)
    frame = _Frame(candles, span, width, height)
    parts = [*frame.grid(), *frame.times(), *frame.volume(), *frame.bodies()]
    parts += [frame.triangle(number, fill) for number, fill in shown]
    head = f'<svg class="candles" role="img" viewBox="0 0 {width} {height}" width="{width}"'
    return f'{head} height="{height}">{"".join(parts)}</svg>'


class _Frame:
    """Where what is drawn goes."""

    def __init__(self, candles: Sequence[Candle], span: Span, width: int, height: int) -> None:
        self.candles, self.span = candles, span
        self.right, self.bottom = width - GUTTER, height - FOOT
        self.step = self.right / len(candles)
        self.prices = (self.bottom - TOP) * (1 - VOLUME_SHARE)

    def x(self, number: int) -> float:
        """Return the middle of a candle."""
        return (number + 0.5) * self.step

    def y(self, price: Decimal) -> float:
        """Return the height of a price."""
        return TOP + self.span.share(price) * self.prices

    def grid(self) -> Iterator[str]:
        for number in range(GRID_LINES + 1):
            share = Decimal(number) / GRID_LINES
            price = self.span.high - share * (self.span.high - self.span.low)
            y, label = self.y(price), self.span.label(price, GRID_LINES)
            yield f'<line class="grid" x1="0" x2="{self.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text x="{self.right + 6}" y="{y + 4:.1f}">{label}</text>'

    def times(self) -> Iterator[str]:
        span_ns = self.candles[-1].end_ns - self.candles[0].start_ns
        every = max(1, round(100 / self.step))
        for number in range(0, len(self.candles), every):
            label = time_label(self.candles[number].start_ns, span_ns)
            yield f'<text x="{number * self.step:.1f}" y="{self.bottom + 15}">{label}</text>'

    def volume(self) -> Iterator[str]:
        most = max(candle.volume for candle in self.candles)
        room = (self.bottom - TOP) * VOLUME_SHARE - 6
        for number, candle in enumerate(self.candles):
            if candle.volume:
                tall = float(candle.volume / most) * room
                kind = "down" if candle.falls else "up"
                yield self._rect(f"volume {kind}", number, self.bottom - tall, tall)

    def bodies(self) -> Iterator[str]:
        for number, candle in enumerate(self.candles):
            yield f'<g class="{"down" if candle.falls else "up"}">{_title(_said(candle))}'
            x = self.x(number)
            if candle.high is not None and candle.low is not None:
                ends = f'y1="{self.y(candle.high):.1f}" y2="{self.y(candle.low):.1f}"'
                yield f'<line x1="{x:.1f}" x2="{x:.1f}" {ends}/>'
            if candle.open is not None and candle.close is not None:
                top = self.y(max(candle.open, candle.close))
                tall = self.y(min(candle.open, candle.close)) - top
                yield self._rect("", number, top, max(tall, 1.0))
            yield "</g>"

    def triangle(self, number: int, fill: Fill) -> str:
        """Return the mark of a fill: its tip is at the price."""
        x, y = self.x(number), self.y(fill.px)
        base = y + 9 if fill.side == "buy" else y - 9
        points = f"{x:.1f},{y:.1f} {x - 5:.1f},{base:.1f} {x + 5:.1f},{base:.1f}"
        text = f"{fill.side} {fill.qty:f} at {fill.px:f}  {when(fill.ts_ns)}  {fill.text}".rstrip()
        return f'<polygon class="{fill.side}" points="{points}">{_title(text)}</polygon>'

    def _rect(self, kind: str, number: int, y: float, tall: float) -> str:
        wide = max(1.0, self.step * 0.7)
        named = f' class="{kind}"' if kind else ""
        place_ = f'x="{self.x(number) - wide / 2:.1f}" y="{y:.1f}"'
        return f'<rect{named} {place_} width="{wide:.1f}" height="{tall:.1f}"/>'


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _said(candle: Candle) -> str:
    names = ("open", "high", "low", "close")
    prices = zip(names, candle[2:6], strict=True)
    told = "  ".join(f"{name} {price:f}" for name, price in prices if price is not None)
    return f"{when(candle.start_ns)}  {told}  volume {candle.volume:f}"
