"""The strategies agent: what it tells strategies, and how it keeps them apart."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from streams.domain.strategies import pair
from streams.domain.strategies.host import KEEP_NS
from streams.domain.strategies.protocol import Callback, Context, Decision
from streams.domain.strategies.rows import SignalsRow
from tests.builders import NOW_NS, SECOND, bar, event, fill, indicator, quote, trade
from tests.unit.strategies_world import Count, Probe, World, long, probes

FILL = event("fill", strategy="a", fill=fill())
EVENTS: dict[Callback, Any] = {
    "trade": trade(),
    "quote": quote(),
    "bar": bar(),
    "indicator": indicator(),
    "fill": FILL,
}
TIMES = {"bar": NOW_NS + 60 * SECOND, "indicator": NOW_NS + 60 * SECOND}


@pytest.mark.parametrize("callback", EVENTS)
def test_a_strategy_is_told_of_what_it_wants_and_of_nothing_else(callback: Callback) -> None:
    """With the market time of the event; a decision is a signal that names its record."""
    heard: list[tuple[str, Any, int, str]] = []

    def act(name: str, event: Any, context: Context[Any]) -> Sequence[Decision]:
        heard.append((name, event, context.now_ns, context.params.word))
        return long()

    world = probes("a", act=act, wants=[callback], word="hello")
    for name, one in EVENTS.items():
        world.tell(name, one, offset=7)
    world.wait()
    at_ns = TIMES.get(callback, NOW_NS)
    assert heard == [(callback, EVENTS[callback], at_ns, "hello")]
    (made,) = world.signals
    assert (made.strategy, made.symbol, made.strength, made.price) == ("a", "AIG", 1, 50)
    assert (made.cause_offset, made.ts_event_ns, made.reason) == (7, at_ns, "because")
    assert made.signal_id == f"a:AIG:{made.cause_topic}:0:7:0"
    assert world.events() == 1


def test_a_fill_is_told_to_its_strategy_alone_and_once() -> None:
    """Also when it comes again as another record."""
    world = probes("a", "b", wants=["fill"])
    world.tell("fill", FILL, FILL)
    assert world.events("a") == 1
    assert world.events("b") == 0


def test_ticks_that_nobody_wants_are_not_looked_at() -> None:
    """They change nothing, and many of them come at once."""
    world = probes("a")
    world.wait()
    assert world.agent.at_once("market.trades.v1") == 2_000
    assert world.agent.at_once("market.bars.v1") == 100
    before = dict(world.state)
    world.tell("trade", trade(), trade())
    assert world.state == before
    ticks = probes("a", wants=["trade"])
    ticks.wait()
    assert ticks.agent.at_once("market.trades.v1") == 100
    ticks.control("a", enabled=False)
    ticks.wait()
    assert ticks.agent.at_once("market.trades.v1") == 2_000


def test_strategies_run_beside_each_other_with_parameters_of_their_own() -> None:
    """Two of one implementation and one of another, on the symbols that they are for."""
    world = World(
        {
            "quick": {"implementation": "ma_cross", "symbols": "AIG IBM", "fast": 1, "slow": 2},
            "calm": {"implementation": "ma_cross", "symbols": "AIG", "fast": 1, "slow": 3},
            "back": {"implementation": "mean_reversion", "length": 5, "enter": "1.5"},
        }
    )
    world.bars("50", "49", "48", "52")
    world.bars("50", "49", "51", symbol="IBM")
    world.bars("50", symbol="BAC")
    assert [(one.strategy, one.symbol) for one in world.signals] == [
        ("calm", "AIG"), ("quick", "AIG"), ("quick", "IBM"),
    ]  # fmt: skip
    assert {f"{one.strategy} {one.symbol}" for one in world.told} == {
        "quick AIG", "quick IBM", "calm AIG", "back AIG", "back IBM", "back BAC",
    }  # fmt: skip
    row = world.row("quick")
    assert (row.signals, row.strength, row.params) == (1, 1, {"fast": "1", "slow": "2"})


def test_what_one_raises_stops_it_alone() -> None:
    """It says what and where; the others, and itself on other symbols, go on."""

    def act(name: str, event: Any, context: Context[Any]) -> Sequence[Decision]:
        if context.params.word == "bad" and event.symbol == "AIG":
            raise ZeroDivisionError("oh")
        return long()

    world = World(
        {
            "a": {"implementation": "probe", "word": "bad"},
            "b": {"implementation": "probe"},
        },
        {"probe": Probe(act)},
    )
    world.bars("50", "51")
    world.bars("50", symbol="IBM")
    assert [(one.strategy, one.symbol) for one in world.signals] == [
        ("b", "AIG"), ("b", "AIG"), ("a", "IBM"), ("b", "IBM"),
    ]  # fmt: skip
    row = world.row("a")
    assert (row.status, row.errors) == ("failed", 1)
    assert row.text.startswith("on_bar: ZeroDivisionError: oh at test_strategies.py:")
    assert world.row("b").status == world.row("a", "IBM").status == "running"


class Huge(Count):
    """A state that is too large to be stored."""

    text: str = "x" * (pair.MAX_STATE_BYTES + 1)


class Returns(Probe):
    """Returns whatever a test wants."""

    def __init__(self, answer: Any) -> None:
        super().__init__(lambda *_: ())
        self.answer = answer

    def on_bar(self, *_: Any) -> Any:
        """Return it, or raise it."""
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "on_bar: TypeError"),
        ((None, ()), "on_bar: TypeError: it returned NoneType as its state"),
        ((Count(), None), "on_bar: TypeError"),
        ((Count(), [Decision(Decimal(2))]), "its decision: strength"),
        ((Count(), [Decision(0.5)]), "its decision: strength"),  # type: ignore[arg-type]
        ((Count(), [Decision(Decimal(1), Decimal(-1))]), "its decision: price"),
        ((Count(), ["buy"]), "its decision: AttributeError"),
        ((Count(), iter(long() * 11)), "on_bar: ValueError: more than 10 decisions"),
        ((Huge(), ()), "its state: ValueError: it is larger than 200000 bytes"),
        (SystemExit(3), "on_bar: SystemExit: 3"),
        (ValueError("\ud800 is no text"), "on_bar: ValueError: ? is no text"),
        (RecursionError("deep"), "on_bar: RecursionError: deep"),
    ],
)
def test_what_is_no_answer_stops_it_too(answer: Any, text: str) -> None:
    """Nothing that a function returns or raises gets out of its strategy."""
    world = World(
        {"a": {"implementation": "returns"}, "b": {"implementation": "probe"}},
        {"returns": Returns(answer), "probe": Probe(lambda *_: long())},
    )
    made = world.bars("50")
    assert [one.strategy for one in made] == ["b"]
    assert (world.row("a").status, world.row("a").errors) == ("failed", 1)
    assert world.row("a").text.startswith(text)


def test_a_failed_strategy_runs_again_when_its_control_is_set_anew() -> None:
    """From the start; a restart alone changes nothing."""
    fails = [True]

    def act(name: str, event: Any, context: Context[Any]) -> Sequence[Decision]:
        if fails and event.close == 51:
            raise ValueError("no")
        return ()

    world = probes("a", act=act)
    world.bars("50", "51", "52")
    fails.clear()
    world.restart()
    world.bars("53")
    assert (world.row().status, world.row().controls_version) == ("failed", 0)
    world.control("a")
    world.wait()
    world.bars("54", "55")
    row = world.row()
    assert (row.status, row.text, row.errors, row.controls_version) == ("running", "", 1, 1)
    assert world.events() == 2


def slowly(world_of: list[World], seconds: float, told: list[Any]) -> Any:
    """Return what a probe does that takes so long, and notes that it was told of something."""

    def act(name: str, event: Any, context: Context[Any]) -> Sequence[Decision]:
        if context.params.word == "slow":
            world_of[0].seconds += seconds
            told.append(event)
        return ()

    return act


@pytest.mark.parametrize(
    ("seconds", "calls", "is_stopped"),
    [
        (0.0101, 10, True),
        (0.0101, 9, False),
        (0.0099, 150, False),  # as long as it may
        (1.1, 1, True),  # once is enough: everybody else waited
        (0.9, 1, False),
        (0.6, 2, True),
    ],
)
def test_a_slow_strategy_is_stopped(seconds: float, calls: int, is_stopped: bool) -> None:
    """Ten calls over the budget of 10 ms, or a second in such calls; the others go on."""
    found: list[World] = []
    told: list[Any] = []
    world = World(
        {"a": {"implementation": "probe", "word": "slow"}, "b": {"implementation": "probe"}},
        {"probe": Probe(slowly(found, seconds, told))},
    )
    found.append(world)
    for _ in range(calls):
        world.bars("50")
    row = world.row("a")
    assert row.status == ("stopped" if is_stopped else "running")
    assert row.text.startswith("too slow: ") == is_stopped
    assert world.events("b") == calls
    if is_stopped:
        world.bars("50")
        assert len(told) == calls  # it is not called any more
        assert "longer than 10 ms, the last one, on_bar" in row.text


def test_seldom_slow_is_not_slow() -> None:
    """Nine of each hundred calls may be."""
    count = [0]
    found: list[World] = []

    def act(name: str, event: Any, context: Context[Any]) -> Sequence[Decision]:
        count[0] += 1
        found[0].seconds += 0.02 if count[0] % 100 < 9 else 0
        return ()

    found.append(probes("a", act=act))
    for _ in range(5):
        found[0].bars(*["50"] * 100)
    assert found[0].row().status == "running"


def test_a_redelivered_record_says_the_same_again_and_changes_nothing() -> None:
    """The same signals with the same ids, also after a restart, and though controls changed."""
    world = probes("a", "b", act=lambda *_: long() * 2)
    first = world.bars("50")
    second = world.bars("51")
    state = dict(world.state)
    assert len({one.signal_id for one in first + second}) == 8
    one, two = bar(close="50"), bar(close="51")
    world.restart()
    world.wait(0)
    assert world.tell("bar", one, offset=0, again=True) == first
    assert world.tell("bar", two, offset=1, again=True) == second
    assert world.state == state
    world.control("a", enabled=False)
    world.control("b", enabled=False)
    assert world.tell("bar", one, offset=0, again=True) == first


def test_a_restart_goes_on_where_it_was() -> None:
    """With the state that was stored; how each stands is published again."""
    world = World({"ma": {"implementation": "ma_cross", "symbols": "AIG", "fast": 1, "slow": 3}})
    world.bars("50", "49", "48")
    world.restart()
    told = len(world.told)
    (made,) = world.bars("52")
    assert made.strength == 1
    assert [one.status for one in world.told[told:]] == ["running", "running"]
    versions = [one.version for one in world.told]
    assert versions == sorted(versions)


def test_a_bar_counts_once_and_as_it_first_was() -> None:
    """A repetition, a revision and a bar of before are not handed over; other frames are."""
    world = probes("a")
    one = world.bar("50")
    world.tell("bar", one, one, one.model_copy(update={"rev": 2, "status": "revised"}))
    assert world.events() == 1
    later, earlier = world.bar("51"), bar(ts_start_ns=NOW_NS - 1)
    world.tell("bar", later, earlier, one.model_copy(update={"frame": "5m"}))
    assert world.events() == 3
    world.restart()
    world.tell("bar", one, later, world.bar("52", rev=2, status="revised"))
    assert world.events() == 3


def test_indicators_count_once_by_name() -> None:
    """As bars do."""
    world = probes("a", wants=["indicator"])
    one = indicator()
    world.tell("indicator", one, one, indicator(rev=2), indicator("ema(5)"), indicator(frame="5m"))
    assert world.events() == 3


def test_the_timer_decides_too_and_says_it_again_after_a_restart() -> None:
    """Its signals have ids of their own, no record, and our time."""
    world = probes("a", act=lambda *_: long(), wants=["timer"])
    first, second = world.wait(), world.wait()
    assert [one.ts_event_ns for one in first + second] == [NOW_NS + SECOND, NOW_NS + 2 * SECOND]
    assert len({one.signal_id for one in first + second}) == 2
    assert {one.cause_topic for one in first + second} == {""}
    world.restart()
    assert world.wait(0)[:2] == first + second


def test_the_timer_is_for_those_that_want_it() -> None:
    """Others beside them are not told."""
    known = {
        "timed": Probe(lambda *_: (), "timer"),
        "deaf": Probe(lambda *_: long(), "bar"),
    }
    world = World({name: {"implementation": name, "symbols": "AIG"} for name in known}, known)
    assert world.wait() == []
    assert (world.events("timed"), world.events("deaf")) == (1, 0)


def test_signals_are_let_go_after_a_while() -> None:
    """But not right after a restart: their records may be yet to come again."""
    world = probes("a", act=lambda *_: long())
    world.bars("50")

    def kept() -> int:
        return sum(isinstance(row, SignalsRow) for row in world.state.values())

    world.wait(KEEP_NS / SECOND - 1)
    assert kept() == 1
    world.restart()
    world.wait(KEEP_NS / SECOND + 10)
    assert kept() == 1
    world.wait(KEEP_NS / SECOND + 1)
    assert kept() == 0


def test_other_parameters_start_it_anew() -> None:
    """While everything runs; what it said before goes on counting, what was heard is not again."""
    world = probes("a", act=lambda *_: long())
    one = world.bar("50")
    world.tell("bar", one)
    world.control("a", params={"word": "other"})
    world.tell("bar", one)
    world.bars("51")
    row = world.row()
    assert (world.events(), row.params, row.controls_version) == (1, {"word": "other"}, 1)
    assert row.signals == 2


def test_what_is_no_parameter_changes_nothing_of_its_state() -> None:
    """Another size, or the control of another strategy; the version is noted."""
    world = probes("a")
    world.bars("50")
    world.control("a", qty=Decimal(5))
    world.control("b", implementation="probe", symbols=("IBM",))
    world.bars("51")
    assert (world.events(), world.row().controls_version) == (2, 1)
    assert world.row("b", "IBM").status == "running"


def test_disabled_and_enabled_again() -> None:
    """It begins anew: of what was before it knows its last decision alone."""
    heard: list[Decimal] = []

    def act(name: str, event: Any, context: Context[Any]) -> Sequence[Decision]:
        heard.append(context.strength)
        return long() if event.close == 50 else ()

    world = probes("a", act=act)
    world.bars("50")
    world.control("a", enabled=False)
    world.wait()
    row = world.row()
    assert (row.status, row.text, row.controls_version) == ("stopped", "it is disabled", 1)
    world.bars("51")
    world.control("a", enabled=True)
    world.bars("52")
    assert (world.row().status, world.events()) == ("running", 1)
    assert (heard, world.row().strength) == ([0, 1], 1)


def test_a_strategy_that_is_not_configured_any_more_is_stopped() -> None:
    """And begins anew when it is again."""
    world = probes("a")
    world.bars("50")
    settings, world.settings = world.settings, {}
    world.restart()
    world.wait()
    row = world.row()
    assert row.status == "stopped"
    assert "no setting and no control" in row.text
    told = len(world.told)
    world.wait()
    assert len(world.told) == told  # said once
    world.settings = settings
    world.restart()
    world.bars("51")
    assert (world.row().status, world.events()) == ("running", 1)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"implementation": "nope"}, "there is no implementation 'nope'; there are ma_cross, "),
        ({"implementation": "ma_cross", "fast": "many"}, "the parameters: fast: "),
        ({"implementation": "ma_cross", "fast": 9, "slow": 9}, "the parameters: Value error, "),
        ({"implementation": "ma_cross", "colour": "red"}, "the parameters: colour: Extra"),
        ({"implementation": "ma_cross", "qty": "-1"}, "the settings: qty: "),
        ({"implementation": "ma_cross", "enabled": "perhaps"}, "the settings: enabled: "),
    ],
)
def test_what_cannot_run_says_why(words: dict[str, Any], text: str) -> None:
    """Within a second, without a record, as its status; and the others run."""
    good = {"implementation": "ma_cross", "symbols": "AIG"}
    world = World({"a": {"symbols": "AIG", **words}, "good": good})
    world.wait()
    assert (world.row().status, world.row("good").status) == ("failed", "running")
    assert world.row().text.startswith(text)
    world.bars("50")
    assert world.told[-1].version < 3


def test_a_stored_state_that_does_not_fit_any_more_is_a_failure() -> None:
    """Of another version of the strategy, say."""
    world = probes("a")
    world.bars("50")
    world.state["AIG|a"] = world.row().model_copy(update={"state": '{"events": "many"}'})
    world.restart()
    world.bars("51")
    assert world.row().status == "failed"
    assert world.row().text.startswith("the stored state, Count: events")
    world.control("a")
    world.bars("52")
    assert (world.row().status, world.events()) == ("running", 1)


def test_symbols_of_other_partitions_are_not_ours() -> None:
    """Neither named ones, nor those of records that are in the wrong place."""
    world = probes("a", "b", symbols="AIG IBM")
    world.owned = lambda symbol: symbol == "AIG"
    world.bars("50", symbol="IBM")
    world.wait()
    assert set(world.state) == {"AIG|a", "AIG|b"}


def test_a_partition_that_is_given_up_is_forgotten() -> None:
    """What comes back is what is stored."""
    world = probes("a")
    world.bars("50")
    world.agent.on_revoked(0)
    world.agent.on_assigned(0, sorted(world.state.items()))
    world.bars("51")
    assert world.events() == 2
