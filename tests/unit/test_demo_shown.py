"""What the demo shows and sums up, apart from the services it asks."""

from decimal import Decimal

from rich.console import Console

from streams.cli.demo import next_steps, sample_ticks, with_seconds
from streams.demo.accounting import Tally
from streams.demo.follow import behind
from streams.demo.screen import RATE_OVER_S, Board, Meter, line, picture
from streams.demo.strategy import NAME, Traded
from streams.demo.summary import Summary
from streams.models.positions import Position
from streams.models.signals import Signal
from streams.settings import Settings
from tests.builders import NOW_NS, event, fill, last_price


def board() -> Board:
    """Return a board with some of everything on it."""
    found = Board("demo-261118-153000", 2_000, Tally(), Traded("strategy-demo"), phase="trading")
    found.prices = {symbol: last_price(symbol, bid="49.99") for symbol in ("AIG", "BAC", "IBM")}
    for number in range(20):
        found.fills.append(event("fill", account=f"{found.run}-0{number}", fill=fill(f"e{number}")))
    return found


def test_the_screen_fits_a_terminal() -> None:
    """24 lines of 80 columns hold all of it, nothing cut off, the newest fill first."""
    console = Console(width=80)
    with console.capture() as captured:
        console.print(picture(board(), board().tick(1.0)))
    lines = captured.get().splitlines()
    assert len(lines) <= 23
    assert "…" not in captured.get()
    assert "trading" in lines[0]
    text = captured.get()
    assert text.index("019") < text.index("018")


def test_a_line_says_the_same_in_short() -> None:
    """Where there is no terminal, the counts come as a line."""
    found = board()
    found.tally.saw_event(event("fill", fill=fill("e1")))
    assert line(found, found.tick(12.0)).split(": ") == [
        "  12.0 s  trading",
        "0/2000 orders sent, 0 filled, 0 canceled, 0 rejected, 0 open, 0 on the way, 1 fills",
    ]


def test_what_a_strategy_did_counts_once() -> None:
    """However often it is told; what another strategy says is not its own."""
    traded = Traded("strategy-demo")
    times = {"ts_event_ns": NOW_NS, "ts_init_ns": NOW_NS}
    for name in (NAME, NAME, "other"):
        one = {"signal_id": f"{name}:1", "strategy": name, "symbol": "AIG", "strength": "1"}
        traded.saw_signal(Signal.model_validate(one | times))
        traded.saw_event(event("fill", fill=fill("e1")))
    for version, realized in ((2, "3.50"), (1, "9.00")):
        held = {"account": "strategy-demo", "symbol": "AIG", "qty": "0", "avg_entry_px": "0"}
        held |= {"realized_pl": realized, "commission": "0", "buy_qty": "9", "sell_qty": "9"}
        held |= {"version": version, "fills": 2, "ts_updated_ns": NOW_NS}
        traded.saw_position(Position.model_validate(held))
    found = traded.as_json()
    assert (found["signals"], found["orders"], found["fills"]) == (1, 1, 1)
    assert (found["profit"], found["refused"]) == ("3.50", {})


def test_ones_own_bars_are_left_alone() -> None:
    """The demo adds bars of a second to the default alone."""
    assert with_seconds(Settings()).bars.startswith("1s ")
    assert with_seconds(Settings(bars="5m 1d")).bars == "5m 1d"


def test_a_meter_forgets_what_is_long_ago() -> None:
    """A burst is gone from the rate once its time is over."""
    meter = Meter()
    assert meter.rate(0.0, 0) == 0.0
    assert meter.rate(1.0, 100) == 100.0
    for step in range(1, 20):
        last = meter.rate(1.0 + step * RATE_OVER_S / 4, 100)
    assert last == 0.0


def test_behind_counts_what_is_left() -> None:
    """Partitions that were never reached count whole, places beyond an end nothing."""
    ends = {"a": [10, 5], "b": [3], "c": [0]}
    cases = (
        ({}, 18),
        ({"a": [10, 5], "b": [3]}, 0),
        ({"a": [-1, 4], "b": [9]}, 11),
    )
    for reached, left in cases:
        assert behind(reached, ends) == left


def test_the_counts_of_a_summary_add_up() -> None:
    """Expired orders are among the canceled, whatever has not ended is open."""
    statuses = {"filled": 5, "canceled": 2, "expired": 1, "rejected": 3, "held": 1, "accepted": 4}
    latency: dict[str, float | None] = {"p50": 9.5, "p99": 23.0}
    found = Summary(statuses, 7, 1, {"MIN_QTY": 3}, True, {"orders_log": 9}, latency, ()).as_json()
    parts = [found[name] for name in ("filled", "canceled", "rejected", "open")]
    assert (found["orders"], parts) == (16, [5, 3, 3, 5])


def test_the_sample_is_in_time_order_and_has_its_symbols() -> None:
    """The demo plays it as it comes."""
    ticks = [tick for tick, _ in zip(sample_ticks(), range(2_000), strict=False)]
    times = [tick.ts_event_ns for tick in ticks]
    assert times == sorted(times)
    assert {tick.symbol for tick in ticks} == {"AIG", "BAC", "IBM"}
    assert all(getattr(tick, "price", Decimal(1)) > 0 for tick in ticks)


def test_what_to_try_next_works_as_it_stands() -> None:
    """A pipeline that has ended is started first; addresses are those of the settings."""
    settings = Settings(web_port=7000)
    after, kept = (next_steps(settings, "a-1", runs=runs) for runs in (False, True))
    assert [line.strip() for line in after if line not in kept] == [
        "The pipeline stops now, its data stays. Next:",
        "./orderflow up",
    ]
    assert any("http://127.0.0.1:7000/accounts/a-1/positions" in line for line in kept)
