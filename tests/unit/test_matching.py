"""The virtual venue's rules, one row each: what comes in, what comes out."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from streams.domain.matching.contingent import child_id
from tests.builders import NOW_NS, SECOND, trade
from tests.unit.matching_world import DAY, HOUR, World, venue_order

#: EveryDay's session around NOW_NS (15:30 UTC).
OPEN_NS = NOW_NS - HOUR
CLOSE_NS = NOW_NS + 5 * HOUR + HOUR // 2

Play = Callable[[World], World]
Row = tuple[Play, list[str], str]

BRACKET: dict[str, Any] = {
    "order_class": "bracket",
    "take_profit": {"limit_price": "55"},
    "stop_loss": {"stop_price": "45"},
}
OCO = BRACKET | {"order_class": "oco", "limit_price": None}

ARRIVALS: list[Row] = [
    (
        lambda w: w.ask("50.01").send(type="market"),
        ["accepted", "fill 10 @ 50.01"],
        "a market order pays the offer",
    ),
    (
        lambda w: w.bid("49.99").send(type="market", side="sell"),
        ["accepted", "fill 10 @ 49.99"],
        "a market sell gets the bid",
    ),
    (
        lambda w: w.ask("49.90").send(limit_price="50.00"),
        ["accepted", "fill 10 @ 49.90"],
        "an arriving limit pays the better offer",
    ),
    (lambda w: w.ask("50.01").send(), ["accepted"], "a limit below the offer rests"),
    (
        lambda w: w.ask("50.01", "4").send(type="market").ask("50.05", "100"),
        ["accepted", "fill 4 @ 50.01", "fill 6 @ 50.05"],
        "a market order takes what is displayed; the rest takes the next quote",
    ),
    (
        lambda w: w.ask("50.01", "4").send(type="market").ask("50.01", "4").ask("50.01", "5"),
        ["accepted", "fill 4 @ 50.01", "fill 5 @ 50.01"],
        "a quote that repeats itself brings no new shares, one with a new size does",
    ),
    (
        lambda w: w.send(type="market").ask("50.01"),
        ["accepted", "fill 10 @ 50.01"],
        "without a market a market order waits for one",
    ),
    (
        lambda w: w.print("50.02", "7").send(type="market").print("50.03", "7"),
        ["accepted", "fill 7 @ 50.02", "fill 3 @ 50.03"],
        "where only prints exist, market orders take their price and size",
    ),
    (
        lambda w: w.print("49.95").send(),
        ["accepted", "fill 10 @ 49.95"],
        "where only prints exist, an arriving limit takes the last one within its limit",
    ),
    (
        lambda w: w.ask("50.01").at(NOW_NS + 31 * SECOND).print("50.20").send(type="market"),
        ["accepted", "fill 10 @ 50.20"],
        "a quote that prints ran ahead of by more than 30 s is outdated",
    ),
    (
        lambda w: w.ask("50.01").at(NOW_NS + 901 * SECOND).send(type="market"),
        ["accepted"],
        "a quote older than 15 minutes is no market",
    ),
    (
        lambda w: w.ask("50.00").bid("50.01").send(type="market"),
        ["accepted"],
        "a bid that crosses the offer proves the offer outdated",
    ),
    (
        lambda w: w.ask("50.00").bid("50.00").send(type="market"),
        ["accepted", "fill 10 @ 50.00"],
        "a locked market stands",
    ),
    (
        lambda w: w.ask("50.00").at(NOW_NS - SECOND).ask("40.00").at(NOW_NS).send(type="market"),
        ["accepted", "fill 10 @ 50.00"],
        "a quote older than the newest does not move the book",
    ),
    (
        lambda w: w.ask("30.00").send(type="market", qty=None, notional="100"),
        ["accepted", "replaced to 3.333333333", "fill 3.333333333 @ 30.00"],
        "a notional order becomes shares at its first price, floored to nine places",
    ),
]

RESTING: list[Row] = [
    (
        lambda w: w.ask("50.01").send().ask("49.98"),
        ["accepted", "fill 10 @ 50.00"],
        "a resting limit that the offer comes down to fills at its limit",
    ),
    (
        lambda w: w.send().print("49.99", "6").print("49.99", "6"),
        ["accepted", "fill 6 @ 50.00", "fill 4 @ 50.00"],
        "prints through the limit fill it at the limit, up to their size",
    ),
    (lambda w: w.send().print("50.00"), ["accepted"], "a print at the limit does not fill it"),
    (
        lambda w: w.send(side="sell").print("50.01"),
        ["accepted", "fill 10 @ 50.00"],
        "a print above a resting sell fills it",
    ),
    (
        lambda w: w.send("low", limit_price="49.99").send("high").print("49.90", "12"),
        ["low accepted", "high accepted", "high fill 10 @ 50.00", "low fill 2 @ 49.99"],
        "the better limit goes first",
    ),
    (
        lambda w: w.send("a").send("b").print("49.90", "12"),
        ["a accepted", "b accepted", "a fill 10 @ 50.00", "b fill 2 @ 50.00"],
        "among equal limits the first to arrive goes first",
    ),
    (
        lambda w: w.send("a").send("b").replace("a", limit_price="50.00").print("49.90", "10"),
        [
            "a accepted",
            "b accepted",
            "a pending_replace",
            "a replaced to 10",
            "b fill 10 @ 50.00",
        ],
        "a replaced order goes behind",
    ),
    (
        lambda w: w.send("m", type="market").send("l", limit_price="51.00").ask("50.50", "15"),
        ["m accepted", "l accepted", "m fill 10 @ 50.50", "l fill 5 @ 51.00"],
        "market orders go before limits",
    ),
]

TIMES_IN_FORCE: list[Row] = [
    (
        lambda w: w.ask("50.00", "4").send(time_in_force="ioc"),
        ["accepted", "fill 4 @ 50.00", "canceled"],
        "ioc takes what is there and cancels the rest",
    ),
    (lambda w: w.send(time_in_force="ioc"), ["accepted", "canceled"], "ioc without a market"),
    (
        lambda w: w.ask("50.00", "9").send(time_in_force="fok"),
        ["accepted", "canceled"],
        "fok takes nothing if one share is missing",
    ),
    (
        lambda w: w.ask("50.00", "10").send(time_in_force="fok"),
        ["accepted", "fill 10 @ 50.00"],
        "fok takes all",
    ),
    (
        lambda w: w.send().at(CLOSE_NS).print("49.00"),
        ["accepted", "expired"],
        "day expires at the close, before what the close brings",
    ),
    (
        lambda w: (
            w.send(extended_hours=True)
            .at(CLOSE_NS)
            .print("49.00", "4")
            .at(CLOSE_NS + 4 * HOUR)
            .print("49.00")
        ),
        ["accepted", "fill 4 @ 50.00", "expired"],
        "with extended hours a day order works on, and expires at the end of post-market",
    ),
    (
        lambda w: (
            w.send(time_in_force="gtc")
            .at(CLOSE_NS + HOUR)
            .print("49.00")
            .at(NOW_NS + DAY)
            .print("49.50")
        ),
        ["accepted", "fill 10 @ 49.50"],
        "gtc rests overnight, and arrives anew when its hours begin",
    ),
    (
        lambda w: (
            w.at(OPEN_NS - HOUR)
            .ask("49.90")
            .send(type="market")
            .print("50.30")
            .at(OPEN_NS)
            .print("50.10")
        ),
        ["accepted", "fill 10 @ 50.10"],
        "an order before the open waits for it, and for the first market after it",
    ),
    (
        lambda w: w.at(OPEN_NS - HOUR).send(time_in_force="ioc"),
        ["accepted", "canceled"],
        "ioc outside of its hours is canceled",
    ),
    (
        lambda w: (
            w.at(OPEN_NS - HOUR)
            .send(type="market", time_in_force="opg")
            .at(OPEN_NS)
            .ask("49.00")
            .print("50.10", "8")
        ),
        ["accepted", "fill 8 @ 50.10", "canceled"],
        "opg takes part in the first print after the open, and in nothing else",
    ),
    (
        lambda w: w.at(OPEN_NS - HOUR).send(time_in_force="opg").at(OPEN_NS).print("50.10"),
        ["accepted", "canceled"],
        "opg with a limit that the opening print does not meet",
    ),
    (
        lambda w: (
            w.send(type="market", time_in_force="cls")
            .print("50.10", "8")
            .at(CLOSE_NS)
            .print("51.00")
        ),
        ["accepted", "fill 8 @ 50.10", "expired"],
        "cls takes the last print of the session; the rest expires",
    ),
    (
        lambda w: w.send(time_in_force="gtc").at(NOW_NS + 91 * DAY).print("49.00"),
        ["accepted", "expired"],
        "gtc expires after 90 days",
    ),
]

STOPS: list[Row] = [
    (
        lambda w: w.bid("50.00").send(type="stop", side="sell", stop_price="49.50").bid("49.20"),
        ["accepted", "triggered", "fill 10 @ 49.20"],
        "a stop fills at the market, not at its stop price",
    ),
    (
        lambda w: w.ask("50.00").send(type="stop", stop_price="50.50").print("50.50"),
        ["accepted", "triggered", "fill 10 @ 50.00"],
        "a print at the stop triggers a buy, which pays the offer",
    ),
    (
        lambda w: w.ask("50.60").send(type="stop", stop_price="50.50"),
        ["accepted", "triggered", "fill 10 @ 50.60"],
        "a stop that is reached already triggers on arrival",
    ),
    (
        lambda w: (
            w.send(type="stop_limit", stop_price="50.50", limit_price="50.55")
            .print("50.70")
            .print("50.54")
        ),
        ["accepted", "triggered", "fill 10 @ 50.55"],
        "a triggered stop-limit is a limit order, also across a gap",
    ),
    (
        lambda w: (
            w.print("50")
            .send(type="trailing_stop", side="sell", trail_price="1")
            .print("52")
            .print("51.5")
            .print("51.00")
        ),
        ["accepted", "triggered", "fill 10 @ 51.00"],
        "a trailing stop follows the best price, and does not loosen",
    ),
    (
        lambda w: (
            w.print("50")
            .send(type="trailing_stop", trail_percent="10")
            .print("46")
            .print("42")
            .print("40")
            .print("43.9")
            .print("44")
        ),
        ["accepted", "triggered", "fill 10 @ 44"],
        "a buy trails the lowest price by a percentage",
    ),
    (
        lambda w: (
            w.print("50")
            .send(type="stop", stop_price="51")
            .print("60")
            .print("50")
            .print("60")
            .print("60.5")
        ),
        ["accepted"],
        "a far-off print triggers nothing, nor do two",
    ),
    (
        lambda w: (
            w.print("50").send(type="stop", stop_price="51").print("60").print("60.5").print("61")
        ),
        ["accepted", "triggered", "fill 10 @ 61"],
        "three that agree say that the price did move",
    ),
    (
        lambda w: (
            w.send("s", type="stop", stop_price="51")
            .send("t", type="stop", stop_price="50.5")
            .print("51", "15")
        ),
        [
            "s accepted",
            "t accepted",
            "s triggered",
            "s fill 10 @ 51",
            "t triggered",
            "t fill 5 @ 51",
        ],
        "stops that one print triggers come in order of arrival",
    ),
]

CHANGES: list[Row] = [
    (lambda w: w.send().cancel(), ["accepted", "pending_cancel", "canceled"], "a cancel"),
    (
        lambda w: w.send().cancel().cancel(request="c2"),
        ["accepted", "pending_cancel", "canceled", "cancel_rejected TOO_LATE"],
        "a second cancel comes too late",
    ),
    (
        lambda w: w.send().print("49.90", "4").replace(qty="3"),
        ["accepted", "fill 4 @ 50.00", "pending_replace", "replaced to 4"],
        "a quantity below what is filled becomes that, and the order is filled",
    ),
    (
        lambda w: w.ask("50.20").send().replace(limit_price="50.20"),
        ["accepted", "pending_replace", "replaced to 10", "fill 10 @ 50.20"],
        "a replaced order arrives anew",
    ),
    (
        lambda w: w.send().replace(side="sell"),
        ["accepted", "pending_replace", "replace_rejected REPLACE_NOT_ALLOWED"],
        "a replace does not change the side",
    ),
    (
        lambda w: w.send(qty="0"),
        ["rejected INVALID_TERMS"],
        "nonsense is rejected",
    ),
]


HANGING_TOGETHER: list[Row] = [
    (
        lambda w: w.ask("50.00").send(**BRACKET).print("55.01", "20"),
        [
            "o1 accepted",
            "o1 fill 10 @ 50.00",
            "o1-TP accepted",
            "o1-SL accepted",
            "o1-TP fill 10 @ 55",
            "o1-SL canceled",
        ],
        "a filled bracket brings both legs to life; one filled cancels the other",
    ),
    (
        lambda w: w.ask("50.00").send(**BRACKET).print("55.01", "4").bid("44.90"),
        [
            "o1 accepted",
            "o1 fill 10 @ 50.00",
            "o1-TP accepted",
            "o1-SL accepted",
            "o1-TP fill 4 @ 55",
            "o1-SL replaced to 6",
            "o1-SL triggered",
            "o1-SL fill 6 @ 44.90",
            "o1-TP canceled",
        ],
        "a partly filled leg reduces the other; together they never fill more than the entry",
    ),
    (
        lambda w: w.ask("50.00", "4").send(**BRACKET).cancel(),
        [
            "o1 accepted",
            "o1 fill 4 @ 50.00",
            "o1 pending_cancel",
            "o1 canceled",
            "o1-TP accepted",
            "o1-SL accepted",
        ],
        "a bracket canceled after a part protects that part",
    ),
    (
        lambda w: w.send(**BRACKET).cancel().print("55.01"),
        ["accepted", "pending_cancel", "canceled"],
        "a bracket canceled before any fill leaves nothing behind",
    ),
    (
        lambda w: w.ask("50.00").send(**BRACKET).cancel("o1-SL"),
        [
            "o1 accepted",
            "o1 fill 10 @ 50.00",
            "o1-TP accepted",
            "o1-SL accepted",
            "o1-SL pending_cancel",
            "o1-SL canceled",
            "o1-TP canceled",
        ],
        "canceling one leg cancels the other",
    ),
    (
        lambda w: w.ask("50.00").send(order_class="oto", stop_loss={"stop_price": "45"}),
        ["o1 accepted", "o1 fill 10 @ 50.00", "o1-SL accepted"],
        "oto brings its one leg to life",
    ),
    (
        lambda w: w.bid("50.00").send(side="sell", **OCO).bid("44.50", "6").bid("44.50", "7"),
        [
            "o1 accepted",
            "o1-SL accepted",
            "o1-SL triggered",
            "o1-SL fill 6 @ 44.50",
            "o1 replaced to 4",
            "o1-SL fill 4 @ 44.50",
            "o1 canceled",
        ],
        "an oco order is its own take-profit leg, its stop lives from the start",
    ),
    (
        lambda w: w.bid("55.50").send(side="sell", **OCO),
        ["accepted", "fill 10 @ 55.50"],
        "an oco order that fills on arrival needs no stop",
    ),
    (
        lambda w: w.ask("50.00").send(**BRACKET).at(CLOSE_NS).print("60"),
        [
            "o1 accepted",
            "o1 fill 10 @ 50.00",
            "o1-TP accepted",
            "o1-SL accepted",
            "o1-TP expired",
            "o1-SL expired",
        ],
        "the legs of a day bracket expire with the day",
    ),
]


@pytest.mark.parametrize(
    ("play", "expected"),
    [
        pytest.param(*row[:2], id=row[2])
        for row in (*ARRIVALS, *RESTING, *TIMES_IN_FORCE, *STOPS, *CHANGES, *HANGING_TOGETHER)
    ],
)
def test_rule(play: Play, expected: list[str]) -> None:
    """Each input leads to these events, in this order."""
    assert play(World()).story() == expected


def test_a_child_tells_what_it_is() -> None:
    """The `accepted` event of a leg carries its terms, side, ids and parent."""
    world = World().ask("50.00").send(**BRACKET)
    stop = next(event for event in world.events if event.order_id == "o1-SL")
    assert stop.terms is not None
    told = (stop.client_order_id, stop.parent_order_id, stop.leg, stop.side, stop.terms.type)
    assert told == ("A1.o1-SL", "o1", "stop_loss", "sell", "stop")
    assert (stop.terms.qty, stop.terms.stop_price) == (Decimal(10), Decimal(45))


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ("o1", "o1-TP"),
        ("x" * 61, "x" * 61 + "-TP"),
        ("x" * 62, "x" * 44 + "-a1eec8cc67768aa8-TP"),
    ],
)
def test_ids_of_children_fit(parent: str, expected: str) -> None:
    """A child's id has at most 64 characters, and two long parents never share one."""
    assert child_id(parent, "TP") == expected
    assert len(expected) <= 64


def test_a_fill_wins_against_a_cancel_on_its_way() -> None:
    """What the market does before a cancel takes effect counts; the cancel is then too late."""
    world = World(cancel_latency_ns=5 * SECOND).send().cancel().print("49.90")
    assert world.story() == [
        "accepted",
        "pending_cancel",
        "fill 10 @ 50.00",
        "cancel_rejected TOO_LATE",
    ]


def test_a_cancel_does_not_overtake_its_order() -> None:
    """Commands of one order take effect in the order they came, whatever their latencies."""
    world = World(latency_ns=5 * SECOND).send().cancel().at(NOW_NS + 6 * SECOND).print("49.90")
    assert world.story() == ["pending_cancel", "accepted", "canceled"]


def test_an_order_meets_the_first_market_after_its_latency() -> None:
    """With latency the offer that was there when an order was sent is gone when it arrives."""
    world = World(latency_ns=SECOND).ask("50.00").send(type="market").ask("50.30")
    world.at(NOW_NS + 2 * SECOND).print("50.30")
    assert world.story() == ["accepted", "fill 10 @ 50.30"]


def test_jitter_is_a_function_of_the_order() -> None:
    """Two engines draw the same latency for an order, and different ones for different orders."""
    times = []
    for _ in range(2):
        world = World(latency_jitter_ns=SECOND)
        for name in ("a", "b", "c"):
            world.at(NOW_NS).send(name)
        world.at(NOW_NS + 2 * SECOND).print("60")
        times.append([event.ts_event_ns - NOW_NS for event in world.events])
    assert times[0] == times[1]
    assert len(set(times[0])) == 3
    assert all(0 <= each < SECOND for each in times[0])


def test_our_time_moves_the_venue_only_where_it_follows_the_clock() -> None:
    """A day order in a market without ticks expires by the clock; in a replay it waits."""
    live = World(follow_clock=True).send().clock(CLOSE_NS)
    replay = World(follow_clock=False).send().clock(CLOSE_NS)
    assert live.story() == ["accepted", "expired"]
    assert replay.story() == ["accepted"]
    assert live.events[-1].ts_event_ns == CLOSE_NS


def test_a_tick_from_a_broken_clock_is_ignored() -> None:
    """A tick more than a day ahead of everything expires nothing."""
    far = trade(price="49", ts_event_ns=NOW_NS + 40 * DAY)
    assert World().send().put(far).story() == ["accepted"]
    first = World(follow_clock=True).put(far).ask("50.00").send()
    assert first.story() == ["accepted", "fill 10 @ 50.00"]


def test_an_order_that_lay_too_long_is_rejected() -> None:
    """It may have been executed and forgotten, so it must not execute."""
    world = World(follow_clock=True)
    old = venue_order(at=NOW_NS)
    world.at(NOW_NS + 601 * SECOND).put(old)
    assert world.story() == ["rejected ORDER_TOO_OLD"]


def test_sessions_move_with_the_shift() -> None:
    """With a session shift of a day and a half, orders work when the shifted session is open."""
    world = World()
    world.engine.set_shift(12 * HOUR)
    world.ask("50.00").send()
    assert world.story() == ["accepted"]
    world.at(OPEN_NS + 12 * HOUR).ask("49.99")
    assert world.story() == ["accepted", "fill 10 @ 49.99"]


FEES = [
    ({"commission_per_share": "0.005", "commission_min": "1"}, "buy", ["1", "0"], "minimum once"),
    ({"commission_per_share": "0.2", "commission_min": "1"}, "buy", ["1", "1.0"], "per share"),
    ({"commission_percent": "0.1"}, "buy", ["0.2000", "0.3060"], "of the value"),
    ({"sec_fee_percent": "0.1", "taf_per_share": "0.01"}, "buy", ["0", "0"], "buys pay no fees"),
    ({"sec_fee_percent": "0.1", "taf_per_share": "0.01"}, "sell", ["0.24", "0.366"], "sells do"),
]


@pytest.mark.parametrize(
    ("tariff", "side", "expected"), [pytest.param(*row[:3], id=row[3]) for row in FEES]
)
def test_commission(tariff: dict[str, str], side: str, expected: list[str]) -> None:
    """Fills of 4 and 6 shares at 50 and 51 are charged these amounts."""
    world = World(**{name: Decimal(value) for name, value in tariff.items()})
    world.print("50", "4").send(type="market", side=side).print("51", "6")
    charged = [event.fill.commission for event in world.events if event.fill is not None]
    assert charged == [Decimal(each) for each in expected]


@pytest.mark.parametrize(
    ("side", "bps", "expected"),
    [
        ("buy", "0", "50.01"),
        ("buy", "10", "50.0601"),  # 50.06001, rounded against the order
        ("sell", "10", "49.9400"),  # 49.94001
    ],
)
def test_slippage(side: str, bps: str, expected: str) -> None:
    """Market orders pay a part of the price, rounded to four places against them."""
    world = World(slippage_bps=Decimal(bps)).ask("50.01").bid("49.99")
    world.send(type="market", side=side)
    assert world.story()[1] == f"fill 10 @ {expected}"


@pytest.mark.parametrize(("chance", "least", "most"), [("0", 0, 0), ("1", 40, 40), ("0.5", 8, 32)])
def test_prints_at_the_limit_fill_by_chance(chance: str, least: int, most: int) -> None:
    """Of 40 limits that a print touches, none, all, or a drawn part is filled."""
    world = World(touch_probability=Decimal(chance))
    for number in range(40):
        world.send(f"o{number}")
    world.print("50.00", "1000")
    assert least <= sum(event.fill is not None for event in world.events) <= most


def test_participation_bounds_what_is_taken() -> None:
    """With a participation of a quarter, 10 displayed shares give 2.5."""
    world = World(participation=Decimal("0.25")).ask("50.00", "10").send()
    assert world.story() == ["accepted", "fill 2.50 @ 50.00"]


@pytest.mark.parametrize(
    "bad",
    [
        {"qty": None},
        {"notional": "5", "qty": "5"},
        {"notional": "5"},  # a limit order
        {"limit_price": None},
        {"limit_price": "-1"},
        {"type": "stop"},
        {"type": "trailing_stop"},
        {"type": "trailing_stop", "trail_price": "1", "trail_percent": "1"},
        {"type": "stop", "stop_price": "1", "time_in_force": "opg"},
        {"order_class": "bracket", "take_profit": {"limit_price": "1"}},
        {"order_class": "oto"},
        {"order_class": "oto", "take_profit": {"limit_price": "1"}, "time_in_force": "ioc"},
        {"qty": "1000000000"},
    ],
    ids=str,
)
def test_nonsense_is_rejected(bad: dict[str, Any]) -> None:
    """The venue never crashes on an order that the validator should have stopped."""
    assert World().send(**bad).story() == ["rejected INVALID_TERMS"]
