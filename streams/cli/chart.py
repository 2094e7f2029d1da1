"""`chart`: candles with volume and fills, out of the history, in the terminal or as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from streams.charts.candles import Candle, Fill
    from streams.charts.text import Row
    from streams.settings import Settings

#: Bars of a page or of JSON: the newest ones, and at most so many of a span that is given.
NEWEST_BARS = 300
MAX_BARS = 5_000
#: Columns where there is no terminal.
PIPE_WIDTH = 100

STYLES = {
    "up": "green", "down": "red", "buy": "bold cyan", "sell": "bold magenta", "both": "bold yellow",
}  # fmt: skip

JsonOpt = Annotated[bool, typer.Option("--json", help="Print the bars and fills as JSON.")]


def chart(
    symbol: Annotated[str, typer.Argument(help="The symbol.")],
    frame: Annotated[str, typer.Option(help="1s, 5m, 1h, 1d, 100t …: one that is made.")] = "1m",
    since: Annotated[
        str | None, typer.Option("--from", help="First start of a bar, ISO 8601; UTC unless said.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Bars start before this.")] = None,
    account: Annotated[str, typer.Option(help="Fills of this account; all without it.")] = "",
    html: Annotated[
        Path | None, typer.Option(help="Write a page to this file; it needs nothing else.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=20, help="Columns of the chart.")] = None,
    as_json: JsonOpt = False,
) -> None:
    """Draw a symbol's bars with the fills of its orders. Exit code 3: there are no such bars.

    The newest bars are drawn that fit the width; on a page and as JSON 300, of a span up to 5,000.
    ▲ is a purchase, ▼ a sale, ◆ both at one place. Bodies of bars that fall are full, those that
    rise are thin. Times are UTC.
    """
    from streams.cli.output import emit
    from streams.settings import Settings

    columns = width or _terminal_width()
    many = columns
    if html is not None or as_json:
        many = MAX_BARS if since or until else NEWEST_BARS
    found = _asked(Settings(), symbol, frame, (since, until), account, many)
    if html is not None:
        _write(html, _page(symbol, frame, *found))
    if as_json:
        emit({"symbol": symbol, "frame": frame, "bars": found[0], "fills": found[1]}, as_json)
    elif html is not None:
        print(f"{html}: {len(found[0])} bars, {_fills(len(found[1]))}")
    else:
        _print(symbol, frame, *found, columns)


def _write(path: Path, text: str) -> None:
    from streams.errors import UsageError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--html {path} cannot be written: {error.strerror}") from error


def _terminal_width() -> int:
    import shutil
    import sys

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH


Rows = list[dict[str, Any]]


def _asked(
    settings: "Settings",
    symbol: str,
    frame: str,
    span: tuple[str | None, str | None],
    account: str,
    many: int,
) -> tuple[Rows, Rows]:
    """Return the newest bars of a span, oldest first, and the fills from the first one on."""
    import asyncio

    from streams.cli.query import fetch_named, rows_of
    from streams.domain.bars.frames import frame_of
    from streams.errors import UsageError

    try:
        frame_of(frame)
    except ValueError as error:
        raise UsageError(f"--frame: {error}") from None
    since, until = (_time(*pair) for pair in zip(("--from", "--to"), span, strict=True))
    times = {name: time for name, time in (("since", since), ("until", until)) if time}

    async def ask() -> tuple[Rows, Rows]:
        params = {"symbol": symbol, "frame": frame, "newest": str(many), **times}
        bars = rows_of(await fetch_named(settings, "bars_as_of", params))
        if not bars:
            known = rows_of(await fetch_named(settings, "bar_spans", {}))
            raise _none_there(symbol, frame, known)
        fills_of = {"symbol": symbol, "account": account, **times, "since": bars[0]["ts_start"]}
        return bars, rows_of(await fetch_named(settings, "fills", fills_of))

    return asyncio.run(ask())


def _time(option: str, text: str | None) -> str | None:
    from streams.charts.candles import when
    from streams.cli.tail import parse_time

    return None if text is None else when(parse_time(option, text) * 1_000_000)


def _none_there(symbol: str, frame: str, known: Rows) -> Exception:
    """Return the error that says which bars there are."""
    from streams.errors import NotFoundError

    own = [row for row in known if row["symbol"] == symbol]
    if own:
        spans = "; ".join(
            f"{row['frame']}: {row['bars']} bars from {_minute(row['oldest_start'])}"
            f" to {_minute(row['newest_end'])}"
            for row in own
        )
        return NotFoundError(f"no {frame} bars of {symbol} in that span; there are {spans}")
    symbols = ", ".join(dict.fromkeys(row["symbol"] for row in known))
    if symbols:
        return NotFoundError(f"the history has no bars of {symbol}; it has those of {symbols}")
    return NotFoundError(
        "the history has no bars; they are made of trades: ./orderflow import, or the demo"
    )


def _minute(text: str) -> str:
    return text[:16]


def candles_of(rows: Sequence[dict[str, Any]]) -> "list[Candle]":
    """Return rows of the query `bars_as_of` as candles."""
    from decimal import Decimal

    from streams.charts.candles import Candle

    def price(text: str | None) -> Decimal | None:
        return None if text is None else Decimal(text)

    return [
        Candle(
            _ns(row["ts_start"]),
            _ns(row["ts_end"]),
            price(row["open"]),
            price(row["high"]),
            price(row["low"]),
            price(row["close"]),
            Decimal(row["volume"] or 0),
        )
        for row in rows
    ]


def fills_of(rows: Sequence[dict[str, Any]]) -> "list[Fill]":
    """Return rows of the query `fills`, which come newest first, as fills in order."""
    from decimal import Decimal

    from streams.charts.candles import Fill

    return [
        Fill(
            _ns(row["ts_event"]),
            "sell" if row["side"] == "sell" else "buy",
            Decimal(row["qty"]),
            Decimal(row["px"]),
            f"{row['account']} {row['order_id']}",
        )
        for row in reversed(rows)
    ]


def _ns(text: str) -> int:
    """Return ClickHouse's text of a UTC time as nanoseconds."""
    from datetime import UTC, datetime

    whole, _, fraction = text.partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0"))


def _summary(candles: "Sequence[Candle]", fills: "Sequence[Fill]") -> str:
    """Return what is drawn in one line."""
    from streams.charts.candles import place, when

    first, last = candles[0], candles[-1]
    parts = [f"{len(candles)} bars from {when(first.start_ns)} to {when(last.end_ns)} UTC"]
    placed = place(candles, fills)
    shown = [fill for group in placed.on.values() for fill in group]
    for side, word in (("buy", "▲ bought"), ("sell", "▼ sold")):
        qtys = [fill.qty for fill in shown if fill.side == side]
        if qtys:
            parts.append(f"{word} {sum(qtys):f} in {_fills(len(qtys))}")
    if placed.off:
        parts.append(f"{_fills(len(placed.off))} outside of the bars")
    return "; ".join(parts)


def _fills(number: int) -> str:
    return "1 fill" if number == 1 else f"{number} fills"


def _print(symbol: str, frame: str, bars: Rows, fills: Rows, columns: int) -> None:
    """Print the chart: in colours on a terminal, else as plain text."""
    from rich.console import Console
    from rich.text import Text

    from streams.charts.text import chart as drawn

    drawing = drawn(candles_of(bars), fills_of(fills), width=columns)
    shown = candles_of(bars)[-drawing.candles :] if drawing.candles else candles_of(bars)
    console = Console(width=max(columns, 80), highlight=False)
    title = Text(f"{symbol} {frame}: {_summary(shown, fills_of(fills))}")
    console.print(title, soft_wrap=True)
    for row in drawing.rows:
        console.print(_styled(row), no_wrap=True, overflow="crop")
    if not drawing.rows:
        console.print("none of these bars has a price")


def _styled(row: "Row") -> Any:
    from rich.text import Text

    text = Text.assemble(*((cell.char, STYLES.get(cell.style, "")) for cell in row))
    text.rstrip()
    return text


def _page(symbol: str, frame: str, bars: Rows, fills: Rows) -> str:
    from streams.charts.candles import when
    from streams.charts.page import page
    from streams.charts.svg import candles_svg

    candles, executed = candles_of(bars), fills_of(fills)
    table = [("time (UTC)", "side", "quantity", "price", "order")]
    table += [(when(f.ts_ns), f.side, f"{f.qty:f}", f"{f.px:f}", f.text) for f in executed]
    drawing = candles_svg(candles, executed) or "none of these bars has a price"
    rows = table if executed else ()
    return page(f"{symbol} {frame}", _summary(candles, executed), drawing, rows)
