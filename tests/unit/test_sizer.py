"""The sizer: what a signal asks for, and why one asks for nothing; settings and controls."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agents.sizer import Sizer, SizerDeps
from streams.domain.control_edit import edited, parse_assignments
from streams.domain.controls import ControlSet
from streams.domain.strategies.config import configs_of
from streams.models.allocations import SetTargets
from streams.models.controls import AnyControl, Instrument, KillSwitch, StrategyControl
from streams.models.market import LastPrice
from streams.models.signals import Signal
from streams.settings import Settings
from streams.topics import ALLOCATIONS_REQUESTED, SIGNALS
from tests.builders import NOW_NS, SECOND, last_price, record, signal
from tests.fakes import MemoryUnit

QTY = {"account": "S1", "qty": "100"}
VALUE = {"account": "S1", "notional": "10000"}


def controls_of(*controls: AnyControl) -> ControlSet:
    """Return a set of controls, numbered."""
    return ControlSet().with_records(
        one.model_copy(update={"version": number}) for number, one in enumerate(controls, 1)
    )


def size(
    given: Signal,
    said: Mapping[str, Any] | None,
    *controls: AnyControl,
    last: LastPrice | None = None,
    age_s: float = 1,
) -> SetTargets | str:
    """Return what is asked for, or code and text of the dead letter."""
    settings = {} if said is None else {"ma1": said}
    known = controls_of(*controls)
    sizer = Sizer(SizerDeps(settings, lambda: known, lambda _: last, 60 * SECOND))
    unit: MemoryUnit[None] = MemoryUnit(now_ns=NOW_NS + round(age_s * SECOND))
    one = record(given, SIGNALS)
    sizer.step(unit, one)
    sizer.step(unit, one)  # it may come again, without our knowing
    if unit.dead_letters:
        first, second = unit.dead_letters
        assert first == second
        assert unit.emitted == []
        return f"{first.code}: {first.error}"
    first_out, second_out = unit.emitted
    assert first_out == second_out
    assert first_out.topic == ALLOCATIONS_REQUESTED.name
    assert first_out.key == first_out.value.account
    found: SetTargets = first_out.value
    assert ALLOCATIONS_REQUESTED.adapter.validate_json(found.model_dump_json()) == found
    return found


def lots(lot: str, **fields: Any) -> Instrument:
    """Return AIG, traded in such lots."""
    return Instrument(scope="AIG", symbol="AIG", lot_size=Decimal(lot), **fields)


@pytest.mark.parametrize(
    ("strength", "said", "price", "last", "control", "target"),
    [
        ("1", QTY, None, None, lots("1"), "100"),
        ("-1", QTY, None, None, lots("1"), "-100"),
        ("0", QTY, None, None, lots("1"), "0"),
        ("0.255", QTY, None, None, lots("1"), "25"),  # towards zero
        ("-0.255", QTY, None, None, lots("1"), "-25"),
        ("0.255", QTY, None, None, lots("10"), "20"),
        ("0.255", QTY, None, None, lots("0.1"), "25.5"),
        ("0.25", QTY, None, None, None, "25"),  # an unknown symbol: whole shares
        ("1", VALUE, "33", "50", lots("1"), "303"),  # the signal's price comes first
        ("-1", VALUE, None, "33", lots("1"), "-303"),
        ("1", VALUE, None, None, lots("1", reference_price=Decimal(100)), "100"),
        ("0", VALUE, None, None, lots("1"), "0"),  # flat at any price
        ("0.5", VALUE, "0.0001", None, lots("1"), "50000000"),
    ],
)
def test_a_target_is_strength_times_size(
    strength: str, said: Any, price: str | None, last: str | None, control: Any, target: str
) -> None:
    """In whole lots, signed, with the strategy's name."""
    newest = last_price(last=last) if last else None
    found = size(signal(strength, price=price), said, *([control] if control else []), last=newest)
    assert isinstance(found, SetTargets)
    assert {symbol: str(qty) for symbol, qty in found.targets.items()} == {"AIG": target}
    assert (found.account, found.strategy, found.type) == ("S1", "ma1", "market")
    assert found.ts_event_ns == NOW_NS


def test_a_stale_price_sizes_nothing() -> None:
    """By the same age as at the gate; the quote stands in for a print that is too old."""
    old_ns = NOW_NS - 901 * SECOND
    gone = last_price(last="33", ts_event_ns=old_ns)
    found = size(signal("1", price=None), VALUE, lots("1"), last=gone)
    assert "last price 33 (902.0 s old, stale: over 900 s)" in str(found)
    times = {"ts_last_ns": old_ns, "ts_quote_ns": NOW_NS}
    quoted = last_price(last="33", bid="99", ask="101", **times)
    found = size(signal("1", price=None), VALUE, lots("1"), last=quoted)
    assert isinstance(found, SetTargets)
    assert found.targets["AIG"] == 100


def test_the_same_signal_asks_for_the_same_allocation() -> None:
    """Another one for another; ids fit, with room for what is appended."""
    first, second = size(signal(), QTY), size(signal(signal_id="n2"), QTY)
    assert isinstance(first, SetTargets)
    assert isinstance(second, SetTargets)
    assert first.allocation_id != second.allocation_id
    assert len(first.allocation_id) == 25
    assert size(signal(), QTY, lots("1")) == first


def switch(scope: str) -> KillSwitch:
    """Return an engaged switch."""
    return KillSwitch(scope=scope, engaged=True, reason="stop")


OFF = StrategyControl(scope="ma1", enabled=False)


@pytest.mark.parametrize(
    ("said", "control", "reason"),
    [
        (None, None, "UNKNOWN_STRATEGY: no setting and no control knows ma1"),
        ({**QTY, "symbols": "IBM BAC"}, None, "UNKNOWN_STRATEGY: ma1 is not for AIG"),
        ({**QTY, "qty": "many"}, None, "UNKNOWN_STRATEGY: ma1: the settings: qty: "),
        ({**QTY, "enabled": False}, None, "STRATEGY_DISABLED: "),
        (QTY, OFF, "STRATEGY_DISABLED: ma1 is disabled; controls version 1"),
        ({"qty": "5"}, None, "NO_SIZE: ma1 has no account"),
        ({"account": "S1"}, None, "NO_SIZE: "),
        ({"account": "S1", "qty": "9" * 19, "notional": "1"}, lots("0.000000001"), ""),
        (VALUE, None, "NO_PRICE: no price of AIG to go by"),
        (QTY, switch("default"), "STRATEGY_KILLED: kill switch default, version 1: stop"),
        (QTY, switch("strategy:ma1"), "STRATEGY_KILLED: "),
        (QTY, switch("account:S1"), "STRATEGY_KILLED: "),
        (QTY, switch("symbol:AIG"), "STRATEGY_KILLED: "),
        (QTY, switch("strategy:other"), ""),
        (QTY, switch("account:other"), ""),
    ],
)
def test_why_a_signal_asks_for_nothing(said: Any, control: Any, reason: str) -> None:
    """A dead letter with the code and the values; never silence."""
    found = size(signal(), said, *([control] if control else []))
    assert isinstance(found, str) == bool(reason)
    if reason:
        assert str(found).startswith(reason)


@pytest.mark.parametrize(("age_s", "is_sized"), [(60, True), (60.001, False), (-5, True)])
def test_an_old_signal_is_not_acted_upon(age_s: float, is_sized: bool) -> None:
    """Its market has gone on; by the setting's 60 seconds."""
    found = size(signal(), QTY, age_s=age_s)
    assert isinstance(found, SetTargets) == is_sized
    if not is_sized:
        assert found == "STALE_SIGNAL: 60.0 s old; signal_max_age_s is 60"


def test_a_quantity_that_no_message_can_hold_is_refused() -> None:
    """More than 28 digits."""
    found = size(signal(price="0.000000001"), {"account": "S1", "notional": "9" * 19})
    assert isinstance(found, str)
    assert found.startswith("NO_SIZE: ma1: targets.AIG: ")


def test_a_control_holds_over_the_settings() -> None:
    """What it does not say is as in the settings; parameters one by one, a size as a whole."""
    said = {**QTY, "implementation": "ma_cross", "symbols": "AIG IBM", "fast": 5, "short": True}
    control = StrategyControl(scope="ma1", params={"fast": "7"}, notional=Decimal(9))
    other = StrategyControl(scope="x", implementation="mean_reversion", symbols=("BAC",))
    found = configs_of({"ma1": said}, controls_of(control, other))
    assert list(found) == ["ma1", "x"]
    one = found["ma1"].said
    assert (one.implementation, one.symbols, one.account) == ("ma_cross", ("AIG", "IBM"), "S1")
    assert (one.params, one.qty, one.notional) == ({"fast": "7", "short": "true"}, None, 9)
    assert (one.version, found["x"].said.version) == (1, 2)
    assert found["x"].covers("BAC")
    assert not found["x"].covers("AIG")


def test_strategies_are_set_as_other_controls_are() -> None:
    """`rules set strategy ma1 …`: words, lists and JSON; what is not named stays."""

    def edit(controls: ControlSet, *words: str) -> AnyControl:
        fields = parse_assignments("strategy", words)
        return edited(controls, "strategy", "ma1", fields, by="op", reason="")

    words = "implementation=ma_cross", "symbols=AIG,IBM", 'params={"fast": "5"}', "qty=100"
    first = edit(ControlSet(), *words)
    second = edit(controls_of(first), "enabled=false")
    assert isinstance(second, StrategyControl)
    assert (second.enabled, second.symbols, second.params) == (False, ("AIG", "IBM"), {"fast": "5"})
    with pytest.raises(ValueError, match="the scope of a strategy is its name"):
        edited(ControlSet(), "strategy", "default", {}, by="op", reason="")


def test_strategies_come_out_of_the_file_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table each, or all as JSON; a child process gets the same."""
    monkeypatch.chdir(tmp_path)
    text = '[strategies.ma1]\nimplementation = "ma_cross"\nsymbols = "AIG"\nfast = 5\nshort = true'
    Path("orderflow.toml").write_text(text)
    from_file = Settings()
    (one,) = configs_of(from_file.strategies, ControlSet()).values()
    assert (one.name, one.said.params, one.flaw) == ("ma1", {"fast": "5", "short": "true"}, "")
    Path("orderflow.toml").unlink()
    for name, value in from_file.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings().strategies == from_file.strategies
