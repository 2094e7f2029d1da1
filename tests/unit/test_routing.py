"""Which broker gets an order: rules in order, bounds included, refusals with their numbers."""

from decimal import Decimal
from typing import Any

import pytest

from streams.domain.capabilities import VIRTUAL, Capabilities
from streams.domain.controls import ControlSet
from streams.domain.routing import Leg, Routed, route
from streams.domain.sessions import Phase
from streams.models.controls import Instrument, KillSwitch, Routing
from streams.models.orders import ApprovedOrder, OrderClass, OrderType, Refusal, TimeInForce
from tests.builders import NOW_NS

VERSION = 9

#: A broker of few abilities: whole shares, market and limit, day; a flip is a close and an open.
PLAIN = Capabilities(
    broker="plain",
    types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
    times_in_force=frozenset({TimeInForce.DAY}),
    classes=frozenset({OrderClass.SIMPLE}),
    splits_flips=True,
)
BROKERS = {"virtual": VIRTUAL, "plain": PLAIN}


def approved(position: str = "0", **terms: Any) -> ApprovedOrder:
    """Return an approved order: by default buy 10 AIG at 50, day."""
    given = {"symbol": "AIG", "side": "buy", "type": "limit", "qty": "10"}
    given |= {"time_in_force": "day", "limit_price": "50"}
    return ApprovedOrder.model_validate(
        {
            "command": "submit",
            "order_id": "o1",
            "account": "A1",
            "client_order_id": "o1",
            "request_id": "submit",
            "terms": {k: v for k, v in (given | terms).items() if v is not None},
            "position_qty": position,
            "rules_version": 1,
            "ts_requested_ns": NOW_NS,
            "ts_event_ns": NOW_NS,
        }
    )


def controls(*rules: dict[str, Any], default: str = "virtual") -> ControlSet:
    """Return routing rules; AIG is an equity, BTC/USD crypto."""
    named = [{"name": f"r{number}", "broker": "plain"} | rule for number, rule in enumerate(rules)]
    return ControlSet().with_records(
        [
            Routing.model_validate(
                {"version": VERSION, "routes": named, "default_broker": default}
            ),
            Instrument(scope="AIG", symbol="AIG", version=1),
            Instrument(scope="BTC/USD", symbol="BTC/USD", asset_class="crypto", version=1),
        ]
    )


def routed(
    order: ApprovedOrder, rules: ControlSet, price: str | None = "50", phase: Phase = "regular"
) -> Routed | Refusal:
    """Return where an order goes."""
    return route(order, rules, BROKERS, Decimal(price) if price else None, phase)


RULES = [
    ({}, {}, True, "an empty rule takes everything"),
    ({"symbols": ["AIG", "IBM"]}, {}, True, "a symbol that is listed"),
    ({"symbols": ["IBM"]}, {}, False, "a symbol that is not"),
    ({"asset_classes": ["us_equity"]}, {}, True, "the symbol's asset class"),
    ({"asset_classes": ["crypto"]}, {}, False, "another one"),
    ({"asset_classes": ["us_equity"]}, {"symbol": "NEW"}, False, "a symbol nobody described"),
    ({"accounts": ["A1"]}, {}, True, "the account"),
    ({"accounts": ["A2"]}, {}, False, "another one"),
    ({"sessions": ["regular"]}, {}, True, "the part of the session"),
    ({"sessions": ["pre", "post"]}, {}, False, "another one"),
    ({"min_qty": "10"}, {}, True, "as much as the least"),
    ({"min_qty": "10.01"}, {}, False, "less than the least"),
    ({"max_qty": "10"}, {}, True, "as much as the most"),
    ({"max_qty": "9.99"}, {}, False, "more than the most"),
    ({"max_qty": "10"}, {"qty": None, "notional": "5"}, False, "no quantity to compare"),
    ({"min_value": "500"}, {}, True, "limit times quantity is as much as the least"),
    ({"max_value": "499.99"}, {}, False, "and more than the most"),
    ({"max_value": "499"}, {"limit_price": "49"}, True, "valued at its own limit"),
    ({"symbols": ["AIG"], "accounts": ["A2"]}, {}, False, "all fields must match"),
]


@pytest.mark.parametrize(("rule", "terms", "matches", "reason"), RULES)
def test_a_rule_matches_by_every_field(
    rule: dict[str, Any], terms: dict[str, Any], matches: bool, reason: str
) -> None:
    """Bounds are included; what is not given matches all."""
    if terms.get("notional"):
        terms = terms | {"type": "market", "limit_price": None}
    found = routed(approved(**terms), controls(rule | {"broker": "virtual"}))
    assert isinstance(found, Routed)
    assert found.rule == ("r0" if matches else "default")


@pytest.mark.parametrize(
    ("terms", "price", "matches", "reason"),
    [
        ({"type": "market", "limit_price": None}, "50", True, "at the last price"),
        ({"type": "market", "limit_price": None}, None, False, "no price is known"),
        ({"type": "stop", "limit_price": None, "stop_price": "50"}, "1", True, "at its stop"),
        (
            {"type": "market", "limit_price": None, "qty": None, "notional": "500"},
            "1",
            True,
            "money",
        ),
    ],
)
def test_the_value_of_an_order(
    terms: dict[str, Any], price: str | None, matches: bool, reason: str
) -> None:
    """A rule for orders of 500: what an order is worth, where its limit does not say."""
    rule = {"min_value": "500", "max_value": "500", "broker": "virtual"}
    found = routed(approved(**terms), controls(rule), price)
    assert isinstance(found, Routed)
    assert (found.rule == "r0") is matches


def test_the_first_rule_that_matches_wins() -> None:
    """The order of the rules is theirs, not that of how much they say."""
    rules = controls({"broker": "virtual"}, {"broker": "plain", "symbols": ["AIG"]})
    assert routed(approved(), rules) == Routed("virtual", "r0", (Leg("", None),))


REFUSED = [
    (approved(), controls(default=""), "NO_ROUTE", "0 rules", "AIG A1", "nobody takes it"),
    (approved(), controls({"broker": "gone"}), "UNKNOWN_BROKER", "plain, virtual", "gone", "typo"),
    (
        approved(type="stop", limit_price=None, stop_price="51"),
        controls({}),
        "UNSUPPORTED_BY_BROKER",
        "limit, market",
        "stop",
        "its type",
    ),
    (
        approved(time_in_force="gtc"),
        controls({}),
        "UNSUPPORTED_BY_BROKER",
        "day",
        "gtc",
        "its time in force",
    ),
    (
        approved(qty="1.5"),
        controls({}),
        "UNSUPPORTED_BY_BROKER",
        "whole shares",
        "1.5",
        "part of a share",
    ),
    (
        approved(qty=None, notional="5", type="market", limit_price=None),
        controls({}),
        "UNSUPPORTED_BY_BROKER",
        "qty",
        "5",
        "money instead of shares",
    ),
    (
        approved(extended_hours=True),
        controls({}),
        "UNSUPPORTED_BY_BROKER",
        "regular hours",
        "extended_hours",
        "its hours",
    ),
    (
        approved(order_class="oto", stop_loss={"stop_price": "45"}),
        controls({}),
        "UNSUPPORTED_BY_BROKER",
        "simple",
        "oto",
        "its class",
    ),
]


@pytest.mark.parametrize(("order", "rules", "code", "limit", "actual", "reason"), REFUSED)
def test_a_refusal_has_code_limit_actual_and_version(
    order: ApprovedOrder, rules: ControlSet, code: str, limit: str, actual: str, reason: str
) -> None:
    """The version is that of the routing record."""
    found = routed(order, rules)
    assert isinstance(found, Refusal)
    assert (found.code, found.limit, found.actual) == (code, limit, actual)
    assert found.rules_version == VERSION


LEGS = [
    ("0", "buy", "10", (("", None),), "nothing is held"),
    ("5", "buy", "10", (("", None),), "it adds to a long"),
    ("-5", "sell", "10", (("", None),), "it adds to a short"),
    ("10", "sell", "10", (("", None),), "it closes exactly"),
    ("4", "sell", "10", (("close", "4"), ("open", "6")), "it flips a long"),
    ("-4", "buy", "10", (("close", "4"), ("open", "6")), "it flips a short"),
]


@pytest.mark.parametrize(("held", "side", "qty", "legs", "reason"), LEGS)
def test_a_flip_is_two_legs_where_the_broker_wants_it(
    held: str, side: str, qty: str, legs: tuple[tuple[str, str | None], ...], reason: str
) -> None:
    """Their quantities add up to the order's; elsewhere it goes whole."""
    order = approved(held, side=side, qty=qty)
    split = routed(order, controls({"broker": "plain"}))
    whole = routed(order, controls({"broker": "virtual"}))
    assert isinstance(split, Routed)
    assert isinstance(whole, Routed)
    expected = tuple(Leg(name, Decimal(part) if part else None) for name, part in legs)
    assert (split.legs, whole.legs) == (expected, (Leg("", None),))


@pytest.mark.parametrize(
    ("scope", "engaged", "stopped", "reason"),
    [
        ("broker:virtual", True, True, "the broker the order would go to"),
        ("broker:virtual", False, False, "switched off again"),
        ("broker:plain", True, False, "another broker"),
    ],
)
def test_the_kill_switch_of_a_broker_stops_its_orders(
    scope: str, engaged: bool, stopped: bool, reason: str
) -> None:
    """The router is the first to know the broker, so it asks; the refusal names the switch."""
    rules = controls().with_records([KillSwitch(scope=scope, version=12, engaged=engaged)])
    outcome = routed(approved(), rules)
    assert isinstance(outcome, Refusal) is stopped, reason
    if isinstance(outcome, Refusal):
        assert (outcome.code, outcome.rules_version) == ("KILL_SWITCH", 12)
