"""Controls as an operator types them: parsing, what stays in force, and what is refused."""

from decimal import Decimal
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from streams.cli import rules
from streams.domain.control_edit import KINDS, edited, parse_assignments
from streams.domain.controls import ControlSet
from streams.models.controls import (
    AnyControl,
    Instrument,
    KillSwitch,
    Limits,
    Restricted,
    Route,
    Routing,
    SessionShift,
    TradingState,
)


def edit(controls: ControlSet, kind: str, scope: str, *texts: str) -> AnyControl:
    """Return the control that an operator's words make."""
    fields = parse_assignments(kind, texts)
    return edited(controls, kind, scope, fields, by="op", reason="test")


def test_every_kind_of_control_can_be_set() -> None:
    """The kinds are those of the models, none forgotten."""
    assert set(KINDS) == {
        "limits", "instrument", "routing", "trading-state", "kill-switch", "restricted",
        "session-shift", "strategy",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "scope", "texts", "control"),
    [
        ("limits", "A1", ["max_order_qty=500"], Limits(scope="A1", max_order_qty=Decimal(500))),
        ("limits", "A1", ["max-order-qty=500"], Limits(scope="A1", max_order_qty=Decimal(500))),
        ("limits", "A1", ['{"max_open_orders": 3}'], Limits(scope="A1", max_open_orders=3)),
        ("limits", "A1", ["allow_short=false"], Limits(scope="A1", allow_short=False)),
        ("restricted", "default", ["symbols=GME, AMC"], Restricted(symbols=("GME", "AMC"))),
        ("restricted", "default", ["symbols="], Restricted()),  # nothing is restricted any more
        ("kill-switch", "symbol:AIG", ["engaged=true"],
         KillSwitch(scope="symbol:AIG", engaged=True)),
        ("trading-state", "A1", ["state=halted"], TradingState(scope="A1", state="halted")),
        ("session-shift", "default", ["shift_ns=-5"], SessionShift(shift_ns=-5)),
        ("instrument", "MSFT", ["reference_price=420.50"],  # the symbol is the scope
         Instrument(scope="MSFT", symbol="MSFT", reference_price=Decimal("420.50"))),
        ("routing", "default", ['routes=[{"name": "big", "broker": "virtual", "min_qty": "100"}]'],
         Routing(routes=(Route(name="big", broker="virtual", min_qty=Decimal(100)),))),
    ],
)  # fmt: skip
def test_words_become_the_control(kind: str, scope: str, texts: list[str], control: Any) -> None:
    """Each kind is set by name=value or JSON; author and reason are kept."""
    signed = control.model_copy(update={"by": "op", "reason": "test"})
    assert edit(ControlSet(), kind, scope, *texts) == signed


def test_unnamed_fields_keep_the_scopes_own_values() -> None:
    """A second change of A1 keeps the first one."""
    own = Limits(scope="A1", max_order_qty=Decimal(500), version=4)
    controls = ControlSet().with_records([own])
    changed = edit(controls, "limits", "A1", "max_open_orders=3")
    assert isinstance(changed, Limits)
    assert (changed.max_order_qty, changed.max_open_orders) == (Decimal(500), 3)
    assert changed.version == 0  # given when it is written


def test_a_first_limit_of_an_account_starts_from_the_default_record() -> None:
    """Tightening one limit of A1 does not loosen the others to what the code says."""
    default = Limits(max_order_qty=Decimal(50), version=1)
    changed = edit(ControlSet().with_records([default]), "limits", "A1", "max_open_orders=3")
    assert isinstance(changed, Limits)
    assert changed.max_order_qty == Decimal(50)


def test_a_kill_switch_says_itself_all_that_it_does() -> None:
    """Engaged again after a while, it does not flatten because it once did."""
    once = KillSwitch(scope="account:A1", engaged=True, flatten=True, version=1)
    again = edit(ControlSet().with_records([once]), "kill-switch", "account:A1", "engaged=true")
    assert isinstance(again, KillSwitch)
    assert (again.engaged, again.cancel_open, again.flatten) == (True, False, False)


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (["on"], "default engaged=true cancel_open=false flatten=false"),
        (["on", "account:A1"], "account:A1 engaged=true cancel_open=false flatten=false"),
        (["on", "--scope", "symbol:X"], "symbol:X engaged=true cancel_open=false flatten=false"),
        (["on", "--cancel-open"], "default engaged=true cancel_open=true flatten=false"),
        (["on", "--flatten"], "default engaged=true cancel_open=true flatten=true"),
        (["off", "account:A1"], "account:A1 engaged=false cancel_open=false flatten=false"),
        (["off", "--flatten"], None),  # what would that be
    ],
)
def test_the_words_of_the_kill_switch_command(
    words: list[str], fields: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flattening cancels, too; nothing is set where the words make no sense."""
    seen: list[str] = []

    def keep(kind: str, scope: str, texts: list[str], *rest: object) -> None:
        assert parse_assignments(kind, texts)
        seen.append(" ".join((scope, *texts)))

    monkeypatch.setattr(rules, "_set", keep)
    app = typer.Typer()
    app.command()(rules.kill_switch)
    result = CliRunner().invoke(app, words)
    assert seen == ([fields] if fields else [])
    assert result.exit_code == (0 if fields else 2)


def test_null_takes_an_optional_value_away() -> None:
    """`reference_price=null` forgets the price."""
    known = Instrument(scope="IBM", symbol="IBM", reference_price=Decimal(181), version=1)
    changed = edit(ControlSet().with_records([known]), "instrument", "IBM", "reference_price=null")
    assert isinstance(changed, Instrument)
    assert changed.reference_price is None


@pytest.mark.parametrize(
    ("kind", "scope", "texts", "reason"),
    [
        ("limit", "A1", ["max_order_qty=1"], "there is no kind limit"),
        ("limits", "A1", ["max_order=1"], "no field max_order;"),
        ("limits", "A1", ["max_order_qty"], "no assignment"),
        ("limits", "A1", ["=5"], "no assignment"),
        ("limits", "A1", ["max_order_qty=many"], "max_order_qty"),
        ("limits", "A1", ["version=9"], "no field version"),  # versions are given, not chosen
        ("limits", "A 1", ["max_order_qty=1"], "scope"),
        ("limits", "A1", ["collar_percent=0"], "collar_percent"),
        ("limits", "A1", ['{"max_order_qty": 1.5}'], "not exact"),
        ("limits", "A1", ["{broken"], "Expecting property name"),
        ("routing", "A1", ["default_broker=virtual"], "scope default only"),
        ("kill-switch", "AIG", ["engaged=true"], "a kill switch is for"),  # it would never match
        ("instrument", "default", ["tradable=false"], "its symbol"),
        ("trading-state", "A1", ["state=stopped"], "state"),
        ("kill-switch", "broker:b", ["engaged=true", "cancel_open=true"], "has no cancel_open"),
        ("kill-switch", "broker:b", ["engaged=true", "flatten=true"], "has no flatten"),
        ("kill-switch", "strategy:s", ['{"engaged": true, "flatten": true}'], "has no flatten"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    kind: str, scope: str, texts: list[str], reason: str
) -> None:
    """A word that would set nothing, or something else, is refused with the reason."""
    with pytest.raises(ValueError, match=reason):
        edit(ControlSet(), kind, scope, *texts)
