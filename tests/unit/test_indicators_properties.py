"""Properties of indicators: whatever happens to the bars on the way, the values are theirs."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.models.market import Bar
from tests.unit.indicators_world import World, at, plain
from tests.unit.test_indicators_agent import ALL, says_one_thing

#: All of one frame, with short periods.
NAMES = ALL.partition(";")[0].removeprefix("1m: ").split()

#: How many bars, and the seed of what they are.
tapes = st.tuples(st.integers(1, 70), st.integers(0, 2**32))


def tape(count: int, chance: random.Random, *, holes: bool = False) -> list[Bar]:
    """Return bars in order; `holes`: some have no prices, some of these no volume."""
    found = []
    for number in range(count):
        low, close, high = sorted(chance.randrange(4_900, 5_100) for _ in range(3))
        size = chance.choice((chance.randrange(1, 10_000), 100))
        prices: dict[str, str | None] = dict.fromkeys(("open", "high", "low", "close"))
        if holes and chance.random() < 0.1:
            size = chance.choice((0, size))
        else:
            cents = {"open": close, "high": high, "low": low, "close": close}
            prices = {name: str(one / 100) for name, one in cents.items()}
        money = {"volume": str(size), "notional": str(size * close / 100)}
        found.append(at(number, **{"session": f"day {number // 40}", **prices, **money}))
    return found


@settings(deadline=None, max_examples=30)
@given(tapes)
def test_values_are_those_of_the_plainest_way(drawn: tuple[int, int]) -> None:
    """Computed over the whole list for each, with none of our code."""
    bars = tape(drawn[0], random.Random(drawn[1]))
    world = World(ALL)
    told = [{one.name: list(one.values.values()) for one in world.take(bar)} for bar in bars]
    for name in NAMES:
        for mine, theirs in zip(told, plain(name, bars), strict=True):
            assert (name in mine) == (theirs is not None)
            if theirs is not None:
                assert mine[name] == pytest.approx(list(theirs), rel=1e-9, abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(tapes)
def test_any_order_any_revision_any_restart_comes_to_the_same(drawn: tuple[int, int]) -> None:
    """Bars late by up to ten, restated, told twice, redelivered, in any batches, over restarts.

    What holds in the end is, to the last bit, what one pass over the bars as they stand says.
    """
    chance = random.Random(drawn[1])
    bars = tape(drawn[0], chance, holes=True)
    events: list[tuple[float, Bar]] = []
    for number, one in enumerate(bars):
        when = number + chance.choice((0, 0, 0, chance.uniform(0, 10)))
        before = chance.choice(bars)
        revisions = chance.choice((0, 0, 1, 2))
        for rev in range(1, revisions + 1):
            said = {name: getattr(before, name) for name in ("open", "high", "low", "close")}
            early = one.model_copy(update={**said, "rev": rev, "volume": before.volume})
            events.append((when + rev - 1, early))
        last = one.model_copy(update={"rev": revisions + 1})
        events.append((when + revisions, last))
        if chance.random() < 0.1:
            events.append((when + revisions + chance.uniform(0, 5), last))
    world, wanted = World(ALL), World(ALL)
    given_ones = [one for _, one in sorted(events, key=lambda event: event[0])]
    while given_ones:
        cut = chance.choice((1, 2, 7))
        world.take(*given_ones[:cut])
        if chance.random() < 0.3:
            world.restart()
            again = given_ones[: chance.randrange(cut + 1)]
            world.take(*again, redelivered=True)
        given_ones = given_ones[cut:]
    for one in bars:
        wanted.take(one)
    assert world.newest() == wanted.newest()
    assert says_one_thing(world.published)
    assert world.dead == []
