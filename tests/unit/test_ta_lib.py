"""TA-Lib's functions as indicators, where the package is; what is said where it is not."""

import importlib
import importlib.util
import random
import sys
from typing import Any

import pytest

from connectors.ta_lib import MIN_BARS, rule_of
from streams.domain.indicators.asked import Asked
from tests.unit.indicators_world import World, at


def test_what_needs_ta_lib_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the setting is read, with what to install; the others need it not."""
    monkeypatch.setitem(sys.modules, "talib", None)
    with pytest.raises(ValueError, match=r"ta_adx\(14\) needs TA-Lib; install the package TA-Lib"):
        Asked("1m: sma(20) ta_adx(14)", rule_of)
    assert Asked("1m: sma(20)", rule_of).of("AIG", "1m")


# What follows holds only where the package is, and is not collected elsewhere.
if importlib.util.find_spec("talib"):
    talib: Any = importlib.import_module("talib")
    numpy: Any = importlib.import_module("numpy")
    CHANCE = random.Random(7)
    BARS = [
        at(
            number,
            high=str(5_010 + number % 17),
            low=str(4_990 - CHANCE.randrange(9)),
            close=str(5_000 + CHANCE.randrange(-9, 9)),
            open=str(5_000 + CHANCE.randrange(-9, 9)),
            volume=str(CHANCE.randrange(1, 900)),
        )
        for number in range(700)
    ]
    COLUMNS = {
        name: numpy.array([float(getattr(one, name)) for one in BARS])
        for name in ("open", "high", "low", "close", "volume")
    }
    FUNCTIONS = {
        "ta_adx(14)": lambda c: [talib.ADX(c["high"], c["low"], c["close"], 14)],
        "ta_stoch(5,3,0,3,0)": lambda c: talib.STOCH(
            c["high"], c["low"], c["close"], 5, 3, 0, 3, 0
        ),
        "ta_kama(10)": lambda c: [talib.KAMA(c["close"], 10)],
        "ta_mfi(14)": lambda c: [talib.MFI(c["high"], c["low"], c["close"], c["volume"], 14)],
        "ta_cdlengulfing": lambda c: [
            talib.CDLENGULFING(c["open"], c["high"], c["low"], c["close"])
        ],
    }

    def batch(name: str, first: int, last: int) -> list[list[float]]:
        """Return what the batch function says of the bars of a span."""
        cut = {key: column[first:last] for key, column in COLUMNS.items()}
        return [list(map(float, row)) for row in zip(*FUNCTIONS[name](cut), strict=True)]

    #: How many bars pass before the first value.
    WARM_UPS = {
        "ta_adx(14)": 27,
        "ta_stoch(5,3,0,3,0)": 8,
        "ta_kama(10)": 10,
        "ta_mfi(14)": 14,
        "ta_cdlengulfing": 2,
    }

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_values_are_those_of_the_batch_function(name: str) -> None:
        """Of the bars that are kept, to the last bit: the older half goes when they are many."""
        world, warm_up = World(f"1m: {name}", others=rule_of), WARM_UPS[name]
        half = max(10 * warm_up, MIN_BARS)
        for number, one in enumerate(BARS):
            told = world.take(one)
            assert bool(told) == (number >= warm_up)
            first = max(0, (number - half) // half * half)
            if told and (number % 9 == 0 or number % half < 3):
                assert list(told[0].values.values()) == batch(name, first, number + 1)[-1]

    def test_what_is_forgotten_hardly_shows() -> None:
        """ADX of ten warm-ups and more, beside that of all bars."""
        world, wanted = World("1m: ta_adx(14)", others=rule_of), batch("ta_adx(14)", 0, len(BARS))
        told = [world.take(one) for one in BARS]
        for mine, theirs in zip(told[27:], wanted[27:], strict=True):
            assert mine[0].values["value"] == pytest.approx(theirs[0], rel=1e-5)

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_a_restart_changes_no_bit(name: str) -> None:
        """A handle cannot be stored; one that is opened on the stored bars says the same."""
        wanted, world = (World(f"1m: {name}", others=rule_of) for _ in range(2))
        for number, one in enumerate(BARS):
            if number % 7 == 0:
                world.restart()
            told = world.take(one)
            assert [one.values for one in told] == [one.values for one in wanted.take(one)]

    def test_a_restated_bar_restates_what_follows() -> None:
        """As with our own."""
        name = "ta_kama(10)"
        wanted, world = (World(f"1m: {name}", others=rule_of) for _ in range(2))
        changed = BARS[80].model_copy(update={"close": BARS[0].open, "rev": 2})
        for one in BARS[:100]:
            world.take(one)
        assert {one.rev for one in world.take(changed)} == {2}
        for one in [*BARS[:80], changed, *BARS[81:100]]:
            wanted.take(one)
        assert world.newest() == wanted.newest()

    def test_a_bar_without_a_price_is_passed_over() -> None:
        """As by our own: the bars after it go on from those before it."""
        wanted, world = (World("1m: ta_kama(10)", others=rule_of) for _ in range(2))
        for one in BARS[:40]:
            hole = {"ts_start_ns": one.ts_start_ns - 1, "close": None}
            assert world.take(one.model_copy(update=hole)) == []
            assert [x.values for x in world.take(one)] == [x.values for x in wanted.take(one)]

    REFUSED = [
        ("ta_nothing(3)", "TA-Lib has no function NOTHING"),
        ("ta_stream", "TA-Lib has no function STREAM"),
        ("ta_adx(14,2)", "it takes 1 parameters: timeperiod"),
        ("ta_adx(1.5)", "timeperiod is a whole number"),
        ("ta_adx(0)", "ta_adx"),
        ("ta_mavp(2,30,0)", "a bar has no periods"),
        ("ta_sma(500)", "it warms up for 499 bars, at most 100 may be"),
    ]

    @pytest.mark.parametrize(("text", "why"), REFUSED)
    def test_what_ta_lib_does_not_have_is_refused(text: str, why: str) -> None:
        """With the reason."""
        with pytest.raises(ValueError, match=why):
            Asked(f"1m: {text}", rule_of)
