"""What the demo shows while it runs: a live screen on a terminal, else a line now and then.

Everything goes to standard error; standard output is for the summary.
"""

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.demo.accounting import Counts, Tally
from streams.demo.strategy import Traded
from streams.models.market import LastPrice
from streams.models.orders import OrderEvent
from streams.models.positions import Position

SHOWN_FILLS = 6
SHOWN_POSITIONS = 6
RATE_OVER_S = 3.0
LINE_EVERY_S = 2.0
REFRESH_PER_S = 4


@dataclass(slots=True)
class Meter:
    """How fast a count has grown within the last `RATE_OVER_S` seconds."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def rate(self, at_s: float, count: int) -> float:
        """Return how much the count grew per second, and remember it."""
        self._seen.append((at_s, count))
        while len(self._seen) > 2 and self._seen[1][0] <= at_s - RATE_OVER_S:
            self._seen.popleft()
        since, before = self._seen[0]
        return (count - before) / (at_s - since) if at_s > since else 0.0


@dataclass(slots=True)
class Board:
    """What there is to show of a run."""

    run: str
    wanted: int
    tally: Tally
    traded: Traded
    phase: str = "preparing"
    detail: str = ""
    elapsed_s: float = 0.0
    records: int = 0
    ticks: int = 0
    fills: deque[OrderEvent] = field(default_factory=lambda: deque(maxlen=SHOWN_FILLS))
    prices: dict[str, LastPrice] = field(default_factory=dict)
    meters: tuple[Meter, Meter, Meter] = field(default_factory=lambda: (Meter(), Meter(), Meter()))
    rates: tuple[float, float, float] = (0.0, 0.0, 0.0)  # orders, fills, ticks per second

    def tick(self, elapsed_s: float) -> Counts:
        """Bring time and rates up to date; return how the orders stand."""
        self.elapsed_s = elapsed_s
        counts = self.tally.counts()
        orders, fills, ticks = (
            meter.rate(elapsed_s, count)
            for meter, count in zip(
                self.meters, (counts.sent, counts.fills, self.ticks), strict=True
            )
        )
        self.rates = (orders, fills, ticks)
        return counts


class Show(Protocol):
    """Where a board is shown."""

    def __call__(self, board: Board, counts: Counts) -> None:
        """Show how things stand now."""


@contextmanager
def screen() -> Iterator[Show]:
    """Yield what shows the board: the live screen, or lines where there is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    with Live(console=console, refresh_per_second=REFRESH_PER_S, transient=True) as live:
        yield lambda board, counts: live.update(picture(board, counts))


class _Lines:
    """One line when the phase changes and every `LINE_EVERY_S` seconds."""

    def __init__(self) -> None:
        self._phase = ""
        self._at_s = 0.0

    def __call__(self, board: Board, counts: Counts) -> None:
        if board.phase == self._phase and board.elapsed_s - self._at_s < LINE_EVERY_S:
            return
        self._phase, self._at_s = board.phase, board.elapsed_s
        print(line(board, counts), file=sys.stderr, flush=True)


def line(board: Board, counts: Counts) -> str:
    """Return the board as one line."""
    phase = f"{board.phase}, {board.detail}" if board.detail else board.phase
    return (
        f"{board.elapsed_s:6.1f} s  {phase}: {counts.sent}/{board.wanted} orders sent, "
        f"{counts.filled} filled, {counts.canceled + counts.expired} canceled, "
        f"{counts.rejected} rejected, {counts.open} open, "
        f"{counts.pending + counts.unknown} on the way, {counts.fills} fills"
    )


def picture(board: Board, counts: Counts) -> Group:
    """Return the board as a screen of at most 24 lines."""
    orders_s, fills_s, ticks_s = board.rates
    head = Text.assemble(
        ("Orderflow demo ", "bold"),
        f"{board.run}  {board.elapsed_s:.0f} s  ",
        (board.phase, "cyan"),
        f"  {board.detail}",
    )
    rates = Text(
        f"{orders_s:,.0f} orders/s   {fills_s:,.0f} fills/s   {ticks_s:,.0f} ticks/s", "dim"
    )
    lower = Table.grid(padding=(0, 3))
    lower.add_row(_fills(board), _positions(board))
    traded = Text(board.traded.line(), "dim")
    return Group(head, rates, Text(), _orders(board, counts), traded, _prices(board), lower)


def _orders(board: Board, counts: Counts) -> Table:
    cells = {
        "sent": f"{counts.sent:,} of {board.wanted:,}",
        "filled": f"{counts.filled:,}",
        "canceled": f"{counts.canceled + counts.expired:,}",
        "rejected": f"{counts.rejected:,}",
        "open": f"{counts.open:,}",
        "on the way": f"{counts.pending + counts.unknown:,}",
        "fills": f"{counts.fills:,}",
        "dead letters": f"{counts.dead_letters:,}",
    }
    return _table(list(cells), [list(cells.values())])


def _prices(board: Board) -> Table:
    rows = [
        [price.symbol, _text(price.bid), _text(price.ask), _text(price.last)]
        for _, price in sorted(board.prices.items())
    ]
    return _table(["symbol", "bid", "ask", "last"], rows)


def _fills(board: Board) -> Table:
    rows = [
        [
            _number(event.account),
            f"{event.side} {event.fill.last_qty} {event.symbol}",
            f"{event.fill.last_px}",
        ]
        for event in reversed(board.fills)
        if event.fill is not None
    ]
    return _table(["account", "newest fills", "price"], rows)


def _positions(board: Board) -> Table:
    def value(position: Position) -> Decimal:
        return abs(position.qty * (position.mark_px or position.avg_entry_px))

    largest = sorted(board.tally.positions.values(), key=value, reverse=True)
    rows = [
        [_number(one.account), one.symbol, f"{one.qty:f}", f"{one.avg_entry_px:.4f}", _money(one)]
        for one in largest[:SHOWN_POSITIONS]
        if one.qty
    ]
    return _table(["account", "held", "shares", "entry", "profit"], rows)


def _number(account: str) -> str:
    """Return what tells an account from the others of the run."""
    return account.rpartition("-")[2]


def _money(position: Position) -> str:
    return f"{position.realized_pl + (position.unrealized_pl or 0):,.2f}"


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _table(columns: list[str], rows: list[list[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
