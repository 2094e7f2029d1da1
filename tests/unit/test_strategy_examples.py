"""The strategies that come with Orderflow, against their definitions computed in a plain way."""

import math
import random
from collections.abc import Iterable, Sequence
from decimal import Decimal
from statistics import mean, pstdev
from typing import Any

import pytest
from pydantic import ValidationError

from streams.domain.bars.frames import Plans
from streams.domain.controls import ControlSet
from streams.domain.strategies.config import configs_of, unmade_frame
from streams.domain.strategies.ma_cross import MaCrossParams
from streams.domain.strategies.mean_reversion import MeanReversionParams
from streams.domain.strategies.protocol import AnyStrategy, Context
from streams.domain.strategies.registry import BUILT_IN
from tests.builders import bar

Held = list[tuple[int, int]]


def run(name: str, closes: Iterable[str | None], **params: Any) -> Held:
    """Return what a strategy decides on bars with these closes: number of the bar, strength."""
    strategy: AnyStrategy = BUILT_IN[name]
    context = Context("AIG", strategy.params.model_validate(params), 0)
    state: Any = strategy.state()
    found: Held = []
    for number, close in enumerate(closes):
        state, decisions = strategy.on_bar(state, bar(close=close), context)
        state = strategy.state.model_validate_json(state.model_dump_json())
        for one in decisions:
            found.append((number, int(one.strength)))
            context = context._replace(strength=one.strength)
        assert all(str(one.price) == close and one.reason for one in decisions)
    return found


def walk(seed: int, many: int = 300) -> list[str]:
    """Return prices of a random walk in cents."""
    chance = random.Random(seed)
    price, found = 5_000, []
    for _ in range(many):
        price += chance.randint(-40, 40)
        found.append(str(Decimal(price).scaleb(-2)))
    return found


def crosses(closes: Sequence[str], fast: int, slow: int, flat: int) -> Held:
    """Return where the averages cross, from exact fractions of cents."""
    cents = [round(float(one) * 100) for one in closes]
    above, found = None, []
    for end in range(slow, len(cents) + 1):
        quick, calm = cents[end - fast : end], cents[end - slow : end]
        gap = sum(quick) * slow - sum(calm) * fast
        if gap and above is not None and above != (gap > 0):
            found.append((end - 1, 1 if gap > 0 else flat))
        above = above if not gap else gap > 0
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("short", [False, True])
def test_a_crossover_is_where_the_averages_cross(seed: int, short: bool) -> None:
    """Long above; below flat, or short if it may be."""
    closes = walk(seed)
    found = run("ma_cross", closes, fast=5, slow=20, short=short)
    assert found == crosses(closes, 5, 20, -1 if short else 0)
    assert len(found) > 5


@pytest.mark.parametrize(
    ("closes", "found"),
    [
        ("50 49 51", [(2, 1)]),
        ("50 51 52", []),  # above from the first: no cross
        ("50 49 48 47", []),
        ("50 49 49 51", [(3, 1)]),  # equal averages are no side
        ("50 51 51 49", [(3, 0)]),
        ("50 49 - 51", [(3, 1)]),  # a bar without a price
        ("50", []),
    ],
)
def test_what_is_a_cross(closes: str, found: Held) -> None:
    """A change of the side, nothing else."""
    words = [None if word == "-" else word for word in closes.split()]
    assert run("ma_cross", words, fast=1, slow=2) == found


def reversions(closes: Sequence[str], length: int, short: bool) -> Held:
    """Return what to hold after each bar, from floats."""
    prices = [float(one) for one in closes]
    held, found = 0, []
    for end in range(length, len(prices) + 1):
        span = prices[end - length : end]
        score = (span[-1] - mean(span)) / pstdev(span)
        assert not any(math.isclose(abs(score), one) for one in (0.5, 1.5))
        wish = held
        if score < -1.5:
            wish = 1
        elif score > 1.5 and short:
            wish = -1
        elif (held == 1 and score > -0.5) or (held == -1 and score < 0.5):
            wish = 0
        if wish != held:
            found.append((end - 1, wish))
        held = wish
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("short", [False, True])
def test_reversion_enters_far_from_the_mean_and_leaves_near_it(seed: int, short: bool) -> None:
    """Long far below; short far above if it may be."""
    closes = walk(seed)
    found = run("mean_reversion", closes, length=20, enter="1.5", short=short)
    assert found == reversions(closes, 20, short)
    assert len(found) > 5


def test_what_was_entered_before_it_began_anew_is_left() -> None:
    """Other parameters, say: it knows what it wanted to hold, not the closes of before."""
    strategy: AnyStrategy = BUILT_IN["mean_reversion"]
    params, state = strategy.params.model_validate({"length": 3}), strategy.state()
    context = Context("AIG", params, 0, Decimal(1))
    found: list[Any] = []
    for close in ("50", "49", "50.10"):
        state, decisions = strategy.on_bar(state, bar(close=close), context)
        found += decisions
    assert [one.strength for one in found] == [0]


def test_no_spread_is_no_distance() -> None:
    """Equal closes decide nothing, and stop nothing."""
    assert run("mean_reversion", ["50"] * 30, length=5) == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_other_frames_are_passed_over(name: str) -> None:
    """Bars of all frames of a symbol come; one frame is meant."""
    strategy: AnyStrategy = BUILT_IN[name]
    state, context = strategy.state(), Context("AIG", strategy.params(), 0)
    assert strategy.on_bar(state, bar("5m"), context) == (state, ())
    assert strategy.on_bar(state, bar("1m"), context) != (state, ())


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (MaCrossParams, {"fast": 30}),
        (MaCrossParams, {"fast": 0}),
        (MaCrossParams, {"slow": 501}),
        (MaCrossParams, {"frame": "1x"}),
        (MeanReversionParams, {"leave": "2"}),
        (MeanReversionParams, {"enter": "0"}),
        (MeanReversionParams, {"length": 1}),
    ],
)
def test_parameters_that_mean_nothing_are_refused(model: Any, fields: dict[str, Any]) -> None:
    """Before anything is decided by them."""
    with pytest.raises(ValidationError):
        model.model_validate(fields)


@pytest.mark.parametrize(
    ("words", "flaw"),
    [
        ({"frame": "5m"}, None),
        ({}, None),
        ({"frame": "1s"}, "strategy x looks at bars of 1s; the setting `bars` makes 1m 5m"),
        ({"frame": "1s", "symbols": "IBM"}, None),
        ({"frame": "1s", "symbols": "IBM AIG"}, "strategy x looks at bars of 1s; the setting"),
        ({"implementation": "nobody's", "frame": "1s"}, None),
    ],
)
def test_a_frame_that_nobody_makes_is_named(words: dict[str, str], flaw: str | None) -> None:
    """It would wait for its first bar for ever."""
    plans = Plans("1m 5m; IBM: 1s 1m")
    asked = configs_of({"x": {"implementation": "ma_cross", **words}}, ControlSet())
    found = unmade_frame(asked, BUILT_IN, lambda symbol: plans.of(symbol).names)
    assert (found or "").startswith(flaw or "")
    assert bool(found) is bool(flaw)
