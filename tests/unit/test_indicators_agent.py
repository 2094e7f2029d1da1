"""The indicators agent: restated and late bars, what comes twice, restarts, what is asked anew."""

import pytest

from streams.domain.indicators.series import KEEP
from streams.models.market import Bar
from streams.models.signals import Indicator
from tests.unit.indicators_world import World, at, newest, said

ALL = (
    "1m: sma(5) ema(4) rsi(4) macd(3,6,4) bbands(5,2) atr(4) vwap obv; "
    "5m: sma(5) ema(4) rsi(4) macd(3,6,4) bbands(5,2) atr(4) vwap obv"
)


def closes(count: int, **changed: str) -> list[Bar]:
    """Return bars with closes that go up and down; `m3="60"` changes the one of minute 3."""
    found = [at(number, str(50 + number * 7 % 11)) for number in range(count)]
    for name, close in changed.items():
        found[int(name[1:])] = at(int(name[1:]), close)
    return found


def test_a_restated_bar_restates_what_follows_from_it() -> None:
    """With the next revision, where it says something else, and only there."""
    world = World("1m: sma(2)")
    world.take(at(0, "50"), at(1, "52"), at(2, "54"), at(3, "56"))
    assert said(world.published) == [("sma(2)", n, 1, 49 + 2 * n) for n in (1, 2, 3)]
    told = world.take(at(1, "62", rev=2))
    assert said(told) == [("sma(2)", 1, 2, 56), ("sma(2)", 2, 2, 58)]
    assert said(world.take(at(1, "60", rev=3))) == [("sma(2)", 1, 3, 55), ("sma(2)", 2, 3, 57)]
    assert said(world.take(at(4, "58"))) == [("sma(2)", 4, 1, 57)]


def test_a_revision_that_says_the_same_restates_nothing() -> None:
    """The volume of a bar is nothing to an average."""
    world = World("1m: sma(2)")
    world.take(at(0, "50"), at(1, "52"))
    assert world.take(at(1, "52", rev=2, volume="700")) == []
    assert said(world.take(at(1, "54", rev=3))) == [("sma(2)", 1, 2, 52)]


def test_a_bar_out_of_order_takes_its_place() -> None:
    """It has its first value, the ones after it their next."""
    world = World("1m: sma(2)")
    world.take(at(0, "50"), at(1, "52"), at(3, "56"))
    assert said(world.take(at(2, "58"))) == [("sma(2)", 2, 1, 55), ("sma(2)", 3, 2, 57)]
    assert said(world.take(at(-1, "40"))) == [("sma(2)", 0, 2, 45)]


def test_a_value_that_no_longer_holds_is_withdrawn() -> None:
    """A cancel left a bar without a price: the bar after it has too few now."""
    world = World("1m: sma(2)")
    world.take(at(0, "50"), at(1, "52"))
    assert said(world.take(at(0, None, rev=2))) == [("sma(2)", 1, 2)]
    again = world.take(at(0, None, rev=2), redelivered=True)
    assert ("sma(2)", 1, 2) in said(again)
    assert world.newest() == {}
    assert said(world.take(at(0, "54", rev=3))) == [("sma(2)", 1, 3, 53)]


def test_the_same_revision_again_changes_nothing() -> None:
    """The bars agent publishes the last minute again when it starts."""
    world = World(ALL)
    bars = [*closes(5), at(2, "70", rev=2)]
    world.take(*bars)
    before = dict(world.state)
    assert world.take(*bars) == []
    assert world.state == before


def test_what_is_published_again_is_never_late() -> None:
    """Not even bars of so long ago that nothing is known of them: they were made before."""
    world = World("1m: obv")
    bars = closes(3 * KEEP)
    for one in bars:
        world.take(one)
    assert world.take(*bars) == []
    assert world.dead == []


@pytest.mark.parametrize("newer", [KEEP - 1, KEEP])
def test_the_oldest_bar_that_can_be_restated(newer: int) -> None:
    """The last 32 of a series: one restated after that is a dead letter, and nothing changes."""
    world, restated = World("1m: obv"), at(9, "1", rev=2, ts_init_ns=2**62)
    for one in closes(10 + newer):
        world.take(one)
    told = world.take(restated)
    assert bool(told) == (newer < KEEP)
    assert [letter.code for letter in world.dead] == ["LATE_BAR"] * (newer >= KEEP)


@pytest.mark.parametrize("newer", [KEEP - 1, KEEP])
def test_the_oldest_bar_that_can_come_late(newer: int) -> None:
    """The same holds for a bar that was not there before."""
    world = World("1m: obv")
    for one in closes(10 + newer):
        if one != closes(10)[9]:
            world.take(one)
    told = world.take(at(9, "1", ts_init_ns=2**62))
    assert bool(told) == (newer < KEEP)
    assert len(world.dead) == (newer >= KEEP)


def test_which_bars_are_too_late_does_not_depend_on_batches() -> None:
    """Bars are kept longer while their outputs may be lost, but not restated longer."""
    world = World("1m: obv")
    world.take(*closes(10 + KEEP), at(9, "1", rev=2, ts_init_ns=2**62))
    assert [letter.code for letter in world.dead] == ["LATE_BAR"]


def test_a_late_bar_that_is_published_again_is_one_letter() -> None:
    """The bars agent publishes what it restated last once more when it starts."""
    world, late = World("1m: obv"), at(0, "1", rev=2, ts_init_ns=2**62)
    world.take(*closes(10 + KEEP), late)
    world.take(late)
    assert len(world.dead) == 1


def test_a_late_bar_is_told_again_when_it_is_redelivered() -> None:
    """Its letter may be lost; that of a bar of long ago has arrived."""
    world, late = World("1m: obv"), at(0, "1", rev=2, ts_init_ns=2**62)
    world.take(*closes(10 + KEEP), late, at(90))
    world.restart()
    world.take(late, redelivered=True)
    assert [letter.code for letter in world.dead] == ["LATE_BAR"] * 2
    for number in range(5):
        world.take(at(100 + number))
    world.take(late, redelivered=True)
    assert len(world.dead) == 2


def test_a_redelivered_bar_tells_the_same_again() -> None:
    """And changes nothing; what was restated since is told as it stands."""
    world = World("1m: sma(2) obv")
    told = world.take(*closes(4))
    before = dict(world.state)
    world.restart()
    assert world.take(*closes(4), redelivered=True) == told
    assert {key: row.model_dump() for key, row in world.state.items()} == {
        key: row.model_dump() for key, row in before.items()
    }
    told, holds = world.take(at(1, "99", rev=2)), world.newest()
    again = world.take(at(1, "99", rev=2), redelivered=True)
    assert [one for one in again if one in told] == told
    assert world.newest() == holds
    assert says_one_thing(world.published)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_outputs_that_were_lost_are_all_told_again(lost: int) -> None:
    """A crash loses those of three units at most; however many bars of one series they had."""
    world, wanted = World(ALL), World(ALL)
    batches = [closes(1_000)[first : first + 100] for first in range(0, 600, 100)]
    batches[4].append(at(495, "99", rev=2, ts_init_ns=2**62))
    arrived: list[Indicator] = []
    for number, batch in enumerate(batches):
        told = world.take(*batch)
        wanted.take(*batch)
        arrived += told if number < len(batches) - lost else []
    world.restart()
    again = world.take(*(one for batch in batches[-lost:] for one in batch), redelivered=True)
    assert newest([*arrived, *again]) == wanted.newest()
    assert says_one_thing([*arrived, *again, *world.published])


def says_one_thing(told: list[Indicator]) -> bool:
    """Return whether a revision of a value that was told twice said the same both times."""
    first: dict[tuple[str, str, int, int], dict[str, float]] = {}
    return all(
        first.setdefault((one.name, one.frame, one.ts_start_ns, one.rev), one.values) == one.values
        for one in told
        if one.values
    )


def test_a_restart_anywhere_changes_no_bit() -> None:
    """The state comes back from JSON; values are equal, not nearly so."""
    bars = [at(n, str(50 + n * 7 % 11 / 100), high=str(51 + n * 3 % 7 / 10)) for n in range(120)]
    wanted = World(ALL)
    for one in bars:
        wanted.take(one)
    for cut in range(1, 119, 5):
        world = World(ALL)
        world.state = {}
        for one in bars[:cut]:
            world.take(one)
        world.restart()
        world.take(*bars[cut : cut + 3])
        assert world.newest() == {
            key: values
            for key, values in wanted.newest().items()
            if key[3] <= bars[min(cut + 2, 119)].ts_start_ns
        }


def test_series_do_not_touch_each_other() -> None:
    """Symbols and frames have rows of their own."""
    world = World("1m 5m: sma(2)")
    world.take(at(0, "50"), at(0, "10", symbol="IBM"), at(0, "20", frame="5m"))
    told = world.take(at(5, "52"), at(5, "12", symbol="IBM"), at(5, "22", frame="5m"))
    assert [(one.symbol, one.frame, one.values["value"]) for one in told] == [
        ("AIG", "1m", 51),
        ("IBM", "1m", 11),
        ("AIG", "5m", 21),
    ]
    assert sorted(world.state) == ["AIG|1m", "AIG|5m", "IBM|1m"]


def test_an_indicator_that_is_new_begins_with_the_bars_that_are_kept() -> None:
    """One that is no longer asked for is told no more; the others go on."""
    world = World("1m: sma(2) ema(2)")
    world.take(at(0, "50"), at(1, "52"))
    world.asked = "1m: sma(2) sma(3)"
    world.restart()
    assert said(world.take(at(2, "54"))) == [("sma(2)", 2, 1, 53), ("sma(3)", 2, 1, 52)]
    for number in range(3, 3 + KEEP):
        world.take(at(number))
    assert set(world.state["AIG|1m"].base) == {"sma(2)", "sma(3)"}


def test_what_is_asked_of_no_frame_leaves_no_row() -> None:
    """When it is asked for again, it begins anew."""
    world = World("1m: sma(2)")
    world.take(at(0, "50"))
    world.asked = ""
    world.restart()
    assert world.take(at(1, "52")) == []
    assert world.state == {}


def test_what_is_at_hand_is_not_needed() -> None:
    """An agent whose partition was taken and given back goes on from the rows."""
    world, wanted = World(ALL), World(ALL)
    for one in closes(50):
        world.agent.on_revoked(0)
        assert world.take(one) == wanted.take(one)


def test_what_is_taken_back_leaves_nothing() -> None:
    """The row of before a batch that failed is there again: what is at hand is not believed."""
    world = World("1m: sma(2) ema(2)")
    world.take(at(0, "50"), at(1, "52"))
    before = dict(world.state)
    told = world.take(at(2, "54"))
    world.state.update(before)
    assert said(world.take(at(2, "54"))) == said(told)


def test_rows_stay_small() -> None:
    """32 bars are kept, and the units that brought the last of them."""
    world = World(ALL)
    for one in closes(100):
        world.take(one)
    row = world.state["AIG|1m"]
    assert (len(row.bars), len(row.units), len(row.late)) == (KEEP, 4, 0)
    assert len(row.model_dump_json()) < 7_000
