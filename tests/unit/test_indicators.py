"""Indicators: equal to TA-Lib's batch functions, when they begin, what they take, how asked for."""

from fractions import Fraction

import pytest

from streams.domain.indicators.asked import Asked, rule_of
from streams.errors import UsageError
from streams.services import Services
from streams.settings import Settings
from streams.wiring import agents_of
from tests.unit.indicators_world import MINUTE, World, at, none_of, said
from tests.unit.talib_golden import golden, sample_bars

GOLDEN = golden()
BARS = sample_bars()
#: The version whose sums are taken in the order that ours are.
CLASSIC, NEWEST = "0.6.8", "0.8.2"
#: That one takes them of squares, and loses half of the digits where prices hardly move.
LOSSY = {"bbands(20,2)", "bbands(5,2.5)"}


def values(name: str) -> list[list[float] | None]:
    """Return the values of an indicator after each bar of the sample."""
    world = World(f"1s: {name}")
    told = [world.take(one) for one in BARS]
    return [list(found[0].values.values()) if found else None for found in told]


@pytest.mark.parametrize("name", GOLDEN[NEWEST])
def test_values_are_those_of_talib(name: str) -> None:
    """Of the newest version, on real bars, but for the last bits; none before the warm-up."""
    wanted = GOLDEN[NEWEST][name]
    for mine, theirs in zip(values(name), wanted, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            assert mine == pytest.approx(theirs, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", sorted(set(GOLDEN[CLASSIC]) - LOSSY))
def test_values_are_those_of_classic_talib_to_the_last_bit(name: str) -> None:
    """Of the last version before it rounded sums and products at once."""
    assert values(name) == GOLDEN[CLASSIC][name]


WARM_UPS = [
    ("sma(20)", 20),
    ("ema(12)", 12),
    ("rsi(14)", 15),  # it needs a bar before the first move
    ("macd(12,26,9)", 34),  # 26, and 8 more for the signal
    ("bbands(20,2)", 20),
    ("atr(14)", 15),  # as rsi
    ("vwap", 1),
    ("obv", 1),
]


@pytest.mark.parametrize(("name", "bars"), WARM_UPS)
def test_there_is_no_value_before_it_holds(name: str, bars: int) -> None:
    """And one after every bar from then on."""
    world = World(f"1m: {name}")
    told = [len(world.take(at(number, str(50 + number % 3)))) for number in range(bars + 2)]
    assert told == [0] * (bars - 1) + [1] * 3


@pytest.mark.parametrize("name", [name for name, _ in WARM_UPS if name != "vwap"])
def test_a_bar_without_a_close_changes_nothing(name: str) -> None:
    """It has no value either; the bars after it go on from those before it."""
    world, wanted = World(f"1m: {name}"), World(f"1m: {name}")
    for number in range(40):
        one = at(number, str(50 + number % 7))
        if number % 3 == 0:
            hole = at(number, None, frame="1m", ts_start_ns=one.ts_start_ns + MINUTE // 2)
            assert world.take(hole) == []
        assert said(world.take(one)) == said(wanted.take(one))


def test_vwap_is_of_the_trading_day_and_exact() -> None:
    """A bar whose prints set no price has volume all the same; the next day begins anew."""
    world = World("1m: vwap")
    day, third = {"session": "2026-11-18"}, {"volume": "0.000000003", "notional": "0.00000001"}
    assert said(world.take(at(0, "50", volume="3", notional="151", **day)))[0][3] == 151 / 3
    exact = Fraction("151.00000001") / Fraction("3.000000003")
    assert said(world.take(at(1, None, **day, **third)))[0][3] == float(exact)
    assert world.take(at(2, None, volume="0", notional="0", vwap=None, trades=0, **day)) == []
    assert said(world.take(at(3, "7", session="2026-11-19", notional="700")))[0][3] == 7


def test_vwap_loses_no_digit_in_any_sum() -> None:
    """A thousand bars of a tenth each make a hundred, over a restart as well."""
    world = World("1m: vwap")
    for number in range(1_000):
        (one,) = world.take(at(number, "10", volume="0.1", notional="1"))
        if number == 500:
            world.restart()
    assert one.values == {"value": 10.0}


def test_bands_of_equal_closes_are_one_line() -> None:
    """Whatever the sums before were rounded to."""
    world = World("1m: bbands(3,2)")
    for number, close in enumerate(("0.1", "0.7", "1234567.89", "0.3", "0.3")):
        world.take(at(number, close))
    (one,) = world.take(at(9, "0.3"))
    assert one.values["upper"] == one.values["middle"] == one.values["lower"]


def test_values_come_back_from_json_as_they_were() -> None:
    """A float is written with as many digits as tell it from every other."""
    world = World("1m: sma(3)")
    for number, close in enumerate(("0.1", "0.2", "0.30000001")):
        world.take(at(number, close))
    (one,) = world.published
    assert one.values["value"] == (0.1 + 0.2 + 0.30000001) / 3 != round(one.values["value"], 15)
    assert type(one).model_validate_json(one.model_dump_json()) == one


def names(text: str, symbol: str, frame: str) -> list[str]:
    """Return the names of what is asked for."""
    return [rule.name for rule in Asked(text, none_of).of(symbol, frame)]


def test_what_names_symbols_holds_in_place_of_what_is_said_of_all() -> None:
    """Of the same frame; parameters that are left out are the usual ones."""
    text = "1m 5m: sma rsi ; AIG BRK.B 5m: sma(50) macd(3, 6,4) ; IBM 1m:"
    assert names(text, "BAC", "5m") == ["sma(20)", "rsi(14)"]
    assert names(text, "BRK.B", "5m") == ["sma(50)", "macd(3,6,4)"]
    assert names(text, "AIG", "1m") == ["sma(20)", "rsi(14)"]
    assert names(text, "IBM", "1m") == []
    assert names(text, "AIG", "1h") == []
    assert names("", "AIG", "1m") == []


def test_what_is_asked_for_twice_is_told_once() -> None:
    """`sma` and `sma(20)` are the same."""
    assert names("1m: sma sma(20) sma(20.0)", "AIG", "1m") == ["sma(20)"]


def test_the_default_can_be_read() -> None:
    """And asks for each kind there is."""
    assert len(names(Settings().indicators, "AIG", "1m")) == 8


UNREADABLE = [
    ("sma(20)", "says not of what"),
    ("AIG: sma(20)", "names no frame"),
    ("1x: sma(20)", "is no frame"),
    ("aig 1m: sma(20)", "is no frame"),
    ("1m: sma(20", "is no indicator"),
    ("1m: average(20)", "there is no indicator 'average'"),
    ("1m: sma(1)", "a period is a whole number from 2 to 500"),
    ("1m: sma(501)", "a period is a whole number"),
    ("1m: rsi(2.5)", "a period is a whole number"),
    ("1m: ema(1,2)", "takes 1 parameters, 2 are given"),
    ("1m: vwap(3)", "takes 0 parameters"),
    ("1m: macd(26,12,9)", "the first period has to be shorter"),
    ("1m: sma(1.2.3)", "parameters are numbers"),
    ("1m: sma(2); 1m: ema(2)", "something was said of 1m before"),
    ("AIG 1m: sma(2); IBM AIG 1m: ema(2)", "something was said of 1m before"),
    ("1m: ta_adx(14)", "ta_adx is not there"),
]


@pytest.mark.parametrize(("text", "why"), UNREADABLE)
def test_what_cannot_be_read_is_refused(text: str, why: str) -> None:
    """With the reason."""
    with pytest.raises(ValueError, match=why):
        Asked(text, none_of)


@pytest.mark.parametrize("text", ["sma(20)", "bbands(20,2.5)", "macd(12,26,9)", "vwap"])
def test_names_are_as_they_are_written(text: str) -> None:
    """So what is published is called as it was asked for."""
    assert rule_of(text, none_of).name == text


def test_a_wrong_setting_is_told_when_a_worker_starts() -> None:
    """Not at the first bar."""
    services = Services(Settings(indicators="1m: nothing"), "market")
    spec = next(one for one in agents_of("market") if one.name == "indicators")
    with pytest.raises(UsageError, match="the setting `indicators` cannot be read: there is no"):
        services.agent(spec)
