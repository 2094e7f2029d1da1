"""Charts of a few bars, drawn in full, and what the command makes of the history's rows."""

import re
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from streams.charts.candles import Candle, Fill, Span, place, span_of, time_label, when
from streams.charts.page import page
from streams.charts.svg import candles_svg
from streams.charts.text import chart, plain
from streams.cli.chart import _none_there, _page, _summary, candles_of, fills_of
from streams.errors import NotFoundError
from tests.builders import NOW_NS, SECOND

D = Decimal
MINUTE = 60 * SECOND


def candle(number: int, prices: str = "", volume: str = "100") -> Candle:
    """Return the bar of a minute; `prices` are open, high, low and close, `-` for none."""
    start = NOW_NS + number * MINUTE
    found = [None if one == "-" else D(one) for one in (prices or "- - - -").split()]
    return Candle(start, start + MINUTE, *found, D(volume))


def fill(number: int, px: str, side: Any = "buy", text: str = "") -> Fill:
    """Return a fill of 10 one second after a minute began."""
    return Fill(NOW_NS + number * MINUTE + SECOND, side, D(10), D(px), text)


def drawn(*candles: Candle, fills: tuple[Fill, ...] = (), width: int = 40) -> list[str]:
    """Return a chart of four rows of prices."""
    return plain(chart(candles, fills, width=width, height=4).rows)


RISES = candle(0, "10 17 10 15", "800")
FALLS = candle(1, "15 16 11 12", "400")
STANDS = candle(2, "12 12 12 12", "0")
NO_OPEN = candle(3, "- 15 12 -", "50")
NONE = candle(4)


def test_a_chart_of_all_kinds_of_bars() -> None:
    """Rising thin, falling full, one price, a wick alone, volume alone; half rows count."""
    assert drawn(RISES, FALLS, STANDS, NO_OPEN, NONE) == [
        "│╷     17.00",
        "┃█ │",
        "┃█╻│",
        "┃╵     10.00",
        "█      800",
        "█▄",
        "██ ▂▃",  # no volume leaves nothing; the least there is shows
        "15:30:00",
    ]


def test_fills_stand_at_their_price() -> None:
    """On the bar of their time; a purchase and a sale at one place are one mark."""
    fills = (fill(0, "17"), fill(1, "10", "sell"), fill(2, "17"), fill(2, "17", "sell"))
    rows = drawn(RISES, FALLS, STANDS, fills=fills)
    assert [row[:3].rstrip() for row in rows[:4]] == ["▲╷◆", "┃█", "┃█╻", "┃▼"]


def test_a_chart_shows_the_newest_that_fit() -> None:
    """The scale is theirs: what is left out does not press them together."""
    spike = candle(0, "90 90 90 90")
    many = [spike, *(candle(number, "10 11 10 11") for number in range(1, 60))]
    drawing = chart(many, [fill(0, "90")], width=27, height=4)
    assert drawing.candles == 20
    rows = plain(drawing.rows)
    assert rows[0] == "┃" * 20 + "  11.00"
    assert rows[-1] == "16:10       16:22"


@pytest.mark.parametrize("candles", [[], [NONE], [NONE, candle(5)]])
def test_bars_without_prices_are_no_chart(candles: list[Candle]) -> None:
    """There is nothing to scale by."""
    assert chart(candles, [], width=40) == ([], 0)
    assert candles_svg(candles) == ""


def test_colours_say_the_same_as_shapes() -> None:
    """Each cell has the style of what it belongs to."""
    grid = chart([RISES, FALLS], [fill(1, "10", "sell")], width=40, height=4).rows
    assert [[cell.style for cell in row[:2]] for row in grid[:4]] == [
        ["up", "down"], ["up", "down"], ["up", "down"], ["up", "sell"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("at_s", "number"),
    [
        (-1, None),  # before the first
        (0, 0),
        (59, 0),
        (60, 1),  # right-open
        (150, 1),  # in the gap: on the bar before it
        (300, 2),
        (360, None),  # the last one is over
    ],
)
def test_where_a_fill_is_drawn(at_s: int, number: int | None) -> None:
    """On the bar of its time, in a gap on the one before."""
    one = Fill(NOW_NS + at_s * SECOND, "buy", D(1), D(10))
    placed = place([candle(0), candle(1), candle(5)], [one])
    assert placed == (({}, [one]) if number is None else ({number: [one]}, []))


def test_a_span_has_room() -> None:
    """One price alone has a margin; fills outside of the bars' prices are inside."""
    assert span_of([STANDS], []) == Span(D("11.88"), D("12.12"))
    assert span_of([candle(0, "0 0 0 0")], []) == Span(D(-1), D(1))
    assert span_of([STANDS], [fill(2, "20")]) == Span(D(12), D(20))


@pytest.mark.parametrize(
    ("low", "high", "label"),
    [("10", "20", "12.50"), ("10", "10.01", "12.500"), ("0.00001", "0.00002", "12.500000")],
)
def test_labels_tell_steps_apart(low: str, high: str, label: str) -> None:
    """Two places at least, more where the steps are smaller."""
    assert Span(D(low), D(high)).label(D("12.5"), 4) == label


@pytest.mark.parametrize(
    ("span_s", "label"),
    [(599, "15:30:00"), (600, "15:30"), (3 * 86_400, "11-18"), (301 * 86_400, "2026-11")],
)
def test_times_are_as_exact_as_needed(span_s: int, label: str) -> None:
    """In UTC."""
    assert time_label(NOW_NS, span_s * SECOND) == label
    assert when(NOW_NS) == "2026-11-18 15:30:00"


def test_the_picture_holds_what_was_given() -> None:
    """Well-formed, all of it inside; what is shown says what it is."""
    bars = [RISES, FALLS, STANDS, NO_OPEN, NONE]
    sold = fill(1, "16", "sell", 'A1 <o&"1">')
    root = ET.fromstring(candles_svg(bars, [fill(0, "9.5"), sold, fill(9, "99")]))  # noqa: S314
    kinds = [child.get("class") for child in root]
    assert [kinds.count(kind) for kind in ("up", "down", "buy", "sell")] == [4, 1, 1, 1]
    assert [kinds.count(kind) for kind in ("volume up", "volume down")] == [3, 1]
    titles = [title.text for title in root.iter("title")]
    assert titles[0] == "2026-11-18 15:30:00  open 10  high 17  low 10  close 15  volume 800"
    assert titles[-1] == 'sell 10 at 16  2026-11-18 15:31:01  A1 <o&"1">'
    width, height = (float(root.get(name, "")) for name in ("width", "height"))
    for element in root.iter():
        for name, bound in (("x", width), ("x1", width), ("x2", width)):
            assert 0 <= float(element.get(name, "0")) <= bound
        for name in ("y", "y1", "y2"):
            assert 0 <= float(element.get(name, "0")) <= height


def test_higher_prices_are_higher_up() -> None:
    """And a candle's body is between its open and its close."""
    root = ET.fromstring(candles_svg([RISES, FALLS]))  # noqa: S314
    tops = [float(group.find("line").get("y1", "")) for group in root.iter("g")]  # type: ignore[union-attr]
    assert tops[0] < tops[1]  # 17 above 16
    first = next(root.iter("g"))
    wick, body = first.find("line"), first.find("rect")
    assert wick is not None
    assert body is not None
    low = float(wick.get("y2", ""))
    assert float(body.get("y", "")) + float(body.get("height", "")) == pytest.approx(low, abs=0.2)


def test_the_page_needs_nothing_else() -> None:
    """No address, no script; light and dark; what comes from outside is text."""
    text = page("A<I>G", "n & m", candles_svg([RISES]), [("head",), ("<b>",)])
    assert not re.search(r"https?:|src=|href=|<script|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert "<h1>A&lt;I&gt;G</h1><p>n &amp; m</p>" in text
    assert "<th>head</th>" in text
    assert "<td>&lt;b&gt;</td>" in text


BAR_ROW = {
    "ts_start": "2026-11-18 15:30:00.000000000", "ts_end": "2026-11-18 15:31:00.000000001",
    "open": "10", "high": "17", "low": "10", "close": None, "volume": "800.5",
}  # fmt: skip
FILL_ROW = {
    "ts_event": "2026-11-18 15:30:10.5", "account": "A1", "order_id": "o1", "side": "sell",
    "qty": "10", "px": "12.5",
}  # fmt: skip


def test_rows_of_the_history_are_exact() -> None:
    """To the nanosecond and the last digit; fills come newest first and go in order."""
    (one,) = candles_of([BAR_ROW])
    assert one == Candle(NOW_NS, NOW_NS + MINUTE + 1, D(10), D(17), D(10), None, D("800.5"))
    older = FILL_ROW | {"ts_event": "2026-11-18 15:30:00", "side": "buy", "order_id": "o0"}
    assert fills_of([FILL_ROW, older]) == [
        Fill(NOW_NS, "buy", D(10), D("12.5"), "A1 o0"),
        Fill(NOW_NS + SECOND * 21 // 2, "sell", D(10), D("12.5"), "A1 o1"),
    ]


def test_the_line_above_the_chart() -> None:
    """How many bars of when, and what was bought and sold on them."""
    fills = [fill(0, "10"), fill(1, "11"), fill(1, "12", "sell"), fill(9, "12")]
    assert _summary([RISES, FALLS], fills) == (
        "2 bars from 2026-11-18 15:30:00 to 2026-11-18 15:32:00 UTC; ▲ bought 20 in 2 fills;"
        " ▼ sold 10 in 1 fill; 1 fill outside of the bars"
    )


def test_the_page_of_the_command() -> None:
    """The chart, and the fills as a table."""
    text = _page("AIG", "1m", [BAR_ROW], [FILL_ROW])
    assert "<td>2026-11-18 15:30:10</td><td>sell</td><td>10</td><td>12.5</td>" in text
    assert "<title>AIG 1m</title>" in text
    assert text.count("<polygon") == 1


SPANS = [
    {
        "symbol": "AIG", "frame": "5m", "bars": 7, "oldest_start": "2026-11-18 15:30:00.0",
        "newest_end": "2026-11-18 16:05:00.0",
    },
    {"symbol": "BAC", "frame": "1m"},
    {"symbol": "BAC", "frame": "5m"},
]  # fmt: skip


SEVEN = "5m: 7 bars from 2026-11-18 15:30 to 2026-11-18 16:05"


@pytest.mark.parametrize(
    ("symbol", "known", "text"),
    [
        (
            "AIG", SPANS,
            f"no 1m bars of AIG in that span; there are {SEVEN}",
        ),
        ("IBM", SPANS, "the history has no bars of IBM; it has those of AIG, BAC"),
        (
            "IBM", [],
            "the history has no bars; they are made of trades: ./orderflow import, or the demo",
        ),
    ],
)  # fmt: skip
def test_what_there_is_instead(symbol: str, known: list[dict[str, Any]], text: str) -> None:
    """The error names frames and spans, or symbols."""
    error = _none_there(symbol, "1m", known)
    assert isinstance(error, NotFoundError)
    assert str(error) == text
