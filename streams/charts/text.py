"""A candle chart in characters: a column per bar, two halves per row.

Bodies that rise are thin, those that fall are full, so they differ without colour as well.
"""

from collections.abc import Sequence
from decimal import Decimal
from math import ceil
from typing import NamedTuple

from streams.charts.candles import Candle, Fill, Span, place, span_of, time_label

#: By (upper half, lower half) of a cell: 0 nothing, 1 wick, 2 body.
_RISING = {
    (0, 0): " ", (1, 1): "│", (2, 2): "┃", (0, 1): "╷", (1, 0): "╵", (0, 2): "╻", (2, 0): "╹",
    (1, 2): "╽", (2, 1): "╿",
}  # fmt: skip
_FALLING = _RISING | {(2, 2): "█", (0, 2): "▄", (2, 0): "▀", (1, 2): "▄", (2, 1): "▀"}
_EIGHTHS = " ▁▂▃▄▅▆▇█"
MARKS = {"buy": "▲", "sell": "▼", "both": "◆"}

LABEL_EVERY = 4
#: Columns between the starts of two time labels at least.
TIME_EVERY = 12


class Cell(NamedTuple):
    """A character and what it belongs to: `up`, `down`, `buy`, `sell`, `both`, or no style."""

    char: str = " "
    style: str = ""


Row = list[Cell]


class Drawing(NamedTuple):
    """The rows of a chart, and how many candles it shows: the newest ones, where not all fit."""

    rows: list[Row]
    candles: int


def chart(
    candles: Sequence[Candle], fills: Sequence[Fill], *, width: int, height: int = 20
) -> Drawing:
    """Return a chart of so many columns, with `height` rows of prices, then volume and times.

    It has no rows if no candle has a price.
    """
    whole = span_of(candles, ())
    if whole is None:
        return Drawing([], 0)
    gutter = max(len(whole.label(price, height)) for price in whole) + 2
    candles = candles[-max(1, width - gutter) :]
    placed = place(candles, fills)
    shown = [fill for group in placed.on.values() for fill in group]
    span = span_of(candles, shown)
    if span is None:
        return Drawing([], 0)
    grid = [[Cell() for _ in candles] for _ in range(height)]
    for column, candle in enumerate(candles):
        _draw(grid, column, candle, span)
    for column, group in placed.on.items():
        _mark(grid, column, group, span)
    labels = [_price_label(row, height, span) for row in range(height)]
    rows = [line + _cells(label) for line, label in zip(grid, labels, strict=True)]
    return Drawing([*rows, *_volume(candles), _times(candles)], len(candles))


def plain(rows: Sequence[Row]) -> list[str]:
    """Return rows as text without styles."""
    return ["".join(cell.char for cell in row).rstrip() for row in rows]


def _cells(text: str, style: str = "") -> Row:
    return [Cell(char, style) for char in text]


def _half(price: Decimal, height: int, span: Span) -> int:
    """Return the number of the half row of a price, from the top."""
    return round(span.share(price) * (2 * height - 1))


def _draw(grid: list[Row], column: int, candle: Candle, span: Span) -> None:
    height = len(grid)
    halves = [0] * (2 * height)
    pairs = ((candle.high, candle.low, 1), (candle.open, candle.close, 2))
    for one, other, kind in pairs:
        ends = [_half(price, height, span) for price in (one, other) if price is not None]
        for number in range(min(ends), max(ends) + 1) if ends else ():
            halves[number] = kind
    chars, style = (_FALLING, "down") if candle.falls else (_RISING, "up")
    for row in range(height):
        char = chars[halves[2 * row], halves[2 * row + 1]]
        if char != " ":
            grid[row][column] = Cell(char, style)


def _mark(grid: list[Row], column: int, fills: Sequence[Fill], span: Span) -> None:
    for fill in fills:
        row = _half(fill.px, len(grid), span) // 2
        before = grid[row][column].style
        style = "both" if before in MARKS and before != fill.side else fill.side
        grid[row][column] = Cell(MARKS[style], style)


def _price_label(row: int, height: int, span: Span) -> str:
    if row % LABEL_EVERY and row != height - 1:
        return ""
    share = Decimal(row) / (height - 1) if height > 1 else Decimal(0)
    return f"  {span.label(span.high - share * (span.high - span.low), height)}"


def _volume(candles: Sequence[Candle], height: int = 3) -> list[Row]:
    most = max(candle.volume for candle in candles)
    if not most:
        return []
    levels = [ceil(candle.volume * 8 * height / most) for candle in candles]
    rows = []
    for row in reversed(range(height)):
        eighths = [min(8, max(0, level - 8 * row)) for level in levels]
        styles = ["down" if candle.falls else "up" for candle in candles]
        rows.append([Cell(_EIGHTHS[n], style) for n, style in zip(eighths, styles, strict=True)])
    rows[0] += _cells(f"  {most.normalize():f}")
    return rows


def _times(candles: Sequence[Candle]) -> Row:
    span_ns = candles[-1].end_ns - candles[0].start_ns
    text = ""
    for column in range(0, len(candles), TIME_EVERY):
        text = text.ljust(column) + time_label(candles[column].start_ns, span_ns)
    return _cells(text)
