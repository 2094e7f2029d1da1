"""Field rules as Alpaca states them: each rule with the rows at its edges."""

from typing import Any

import pytest

from streams.domain.refusals import GUIDE, Code
from streams.domain.validation import (
    FieldContext,
    check_fields,
    exit_side,
    full_content,
    normalise,
    trade_content,
)
from streams.models.orders import OrderTerms, Side
from tests.builders import NOW_NS, SECOND, submit
from tests.unit.risk_builders import HOUR, SESSION, instrument

MINUTE = 60 * SECOND
OPEN, CLOSE = SESSION.open_ns, SESSION.close_ns
SEVEN_PM = CLOSE + 3 * HOUR
MARKET: dict[str, Any] = {"type": "market"}
TRAIL: dict[str, Any] = {"type": "trailing_stop"}
PROFIT: dict[str, Any] = {"take_profit": {"limit_price": "55.00"}}
LOSS: dict[str, Any] = {"stop_loss": {"stop_price": "45.00"}}
BRACKET: dict[str, Any] = {"order_class": "bracket", **PROFIT, **LOSS}
OCO: dict[str, Any] = {"order_class": "oco", "side": "sell", "limit_price": None, **PROFIT, **LOSS}
EXTENDED: dict[str, Any] = {"extended_hours": True}


def code_of(fields: dict[str, Any], now_ns: int = NOW_NS, **of_instrument: Any) -> str | None:
    """Return the code of the refusal of a submit, or None."""
    context = FieldContext("AIG", instrument(**of_instrument), SESSION, now_ns)
    refusal = check_fields(normalise(submit(**fields)), context)
    return refusal.code if refusal else None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, None),  # buy 10 at 50.00, day
        ({"qty": None}, "QTY_OR_NOTIONAL"),  # neither
        ({"qty": "1", "notional": "1"}, "QTY_OR_NOTIONAL"),  # both
        ({"qty": "0"}, "INVALID_QTY"),
        ({"qty": "-1"}, "INVALID_QTY"),
        ({"limit_price": "0"}, "INVALID_PRICE"),
        ({"limit_price": "-1"}, "INVALID_PRICE"),
        (MARKET, None),
        (MARKET | {"limit_price": "50"}, "PRICE_NOT_ALLOWED"),
        (MARKET | {"stop_price": "50"}, "PRICE_NOT_ALLOWED"),
        (MARKET | {"trail_price": "1"}, "PRICE_NOT_ALLOWED"),
        ({"limit_price": None}, "PRICE_REQUIRED"),
        ({"stop_price": "50"}, "PRICE_NOT_ALLOWED"),  # a limit order has no stop
        ({"trail_percent": "1"}, "PRICE_NOT_ALLOWED"),
        ({"type": "stop", "stop_price": "51"}, None),
        ({"type": "stop"}, "PRICE_REQUIRED"),
        ({"type": "stop", "stop_price": "51", "limit_price": "51"}, "PRICE_NOT_ALLOWED"),
        ({"type": "stop_limit", "stop_price": "51", "limit_price": "52"}, None),
        ({"type": "stop_limit", "stop_price": "51"}, "PRICE_REQUIRED"),
        ({"type": "stop_limit", "limit_price": "51"}, "PRICE_REQUIRED"),
        (TRAIL | {"trail_price": "1"}, None),
        (TRAIL | {"trail_percent": "1.5"}, None),
        (TRAIL, "TRAIL_PRICE_OR_PERCENT"),
        (TRAIL | {"trail_price": "1", "trail_percent": "1"}, "TRAIL_PRICE_OR_PERCENT"),
        (TRAIL | {"trail_price": "0"}, "INVALID_PRICE"),
        (TRAIL | {"trail_percent": "0"}, "INVALID_PRICE"),
        (TRAIL | {"trail_percent": "99.9"}, None),
        (TRAIL | {"trail_percent": "100"}, "INVALID_PRICE"),  # would trail below 0
        (TRAIL | {"trail_price": "1", "stop_price": "51"}, "PRICE_NOT_ALLOWED"),
    ],
)
def test_sizes_and_the_prices_of_each_type(fields: dict[str, Any], code: str | None) -> None:
    """Each type has its own prices, no others, and all are above 0."""
    assert code_of(fields) == code


@pytest.mark.parametrize(
    ("price", "code"),
    [
        ("50.01", None),
        ("11.055", "TICK_SIZE"),  # Alpaca: sub-penny increment
        ("1.00", None),
        ("1.0001", "TICK_SIZE"),  # the finer tick ends below 1.00
        ("0.9999", None),
        ("0.6013", None),
        ("0.60135", "TICK_SIZE"),
    ],
)
def test_prices_are_multiples_of_the_tick(price: str, code: str | None) -> None:
    """Two places from 1.00, four below."""
    assert code_of({"limit_price": price}) == code


@pytest.mark.parametrize("leg", [{"limit_price": "55.001"}])
def test_prices_of_legs_have_ticks_too(leg: dict[str, str]) -> None:
    """A leg's price is held to the tick."""
    assert code_of(BRACKET | {"take_profit": leg}) == "TICK_SIZE"


@pytest.mark.parametrize(
    ("fields", "of_instrument", "code"),
    [
        ({"qty": "1.5"}, {}, "NOT_FRACTIONABLE"),
        ({"qty": "1.5"}, {"fractionable": True}, None),
        ({"qty": "0.5"}, {"fractionable": True}, None),  # below min_qty 1: parts are allowed
        ({"qty": "1.5", "time_in_force": "gtc"}, {"fractionable": True}, "FRACTIONAL_RULES"),
        (MARKET | {"qty": "1.5"}, {"fractionable": True}, None),
        (TRAIL | {"qty": "1.5", "trail_price": "1"}, {"fractionable": True}, "FRACTIONAL_RULES"),
        (BRACKET | {"qty": "1.5"}, {"fractionable": True}, "FRACTIONAL_RULES"),
        (BRACKET | {"qty": "2"}, {"fractionable": True}, None),
        ({"qty": "150"}, {"lot_size": "100"}, "LOT_SIZE"),
        ({"qty": "200"}, {"lot_size": "100"}, None),
        ({"qty": "4"}, {"min_qty": "5"}, "MIN_QTY"),
        ({"qty": "5"}, {"min_qty": "5"}, None),  # equal passes
        (MARKET | {"notional": "100"}, {}, "NOT_FRACTIONABLE"),
        (MARKET | {"notional": "100"}, {"fractionable": True}, None),
        (MARKET | {"notional": "0"}, {"fractionable": True}, "INVALID_QTY"),
        ({"notional": "100"}, {"fractionable": True}, "NOTIONAL_RULES"),  # limit
        (
            MARKET | {"notional": "100", "time_in_force": "gtc"},
            {"fractionable": True},
            "NOTIONAL_RULES",
        ),
        ({}, {"tradable": False}, "NOT_TRADABLE"),
    ],
)
def test_sizes_follow_the_instrument(
    fields: dict[str, Any], of_instrument: dict[str, Any], code: str | None
) -> None:
    """Parts of shares, money, lots and least sizes."""
    assert code_of(fields, **of_instrument) == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (EXTENDED, None),
        (EXTENDED | MARKET, "EXTENDED_HOURS_RULES"),
        (EXTENDED | {"time_in_force": "gtc"}, "EXTENDED_HOURS_RULES"),
        (EXTENDED | {"time_in_force": "ioc"}, "EXTENDED_HOURS_RULES"),
        (EXTENDED | BRACKET, "EXTENDED_HOURS_RULES"),
    ],
)
def test_extended_hours_take_simple_day_limit_orders(
    fields: dict[str, Any], code: str | None
) -> None:
    """Anything else is refused."""
    assert code_of(fields) == code


@pytest.mark.parametrize(
    ("tif", "now_ns", "code"),
    [
        ("opg", OPEN - 2 * MINUTE - 1, None),  # just before 09:28
        ("opg", OPEN - 2 * MINUTE, "AUCTION_WINDOW"),  # 09:28
        ("opg", OPEN + HOUR, "AUCTION_WINDOW"),
        ("opg", SEVEN_PM - 1, "AUCTION_WINDOW"),
        ("opg", SEVEN_PM, None),  # for the next day
        ("cls", OPEN, None),
        ("cls", CLOSE - 10 * MINUTE - 1, None),  # just before 15:50
        ("cls", CLOSE - 10 * MINUTE, "AUCTION_WINDOW"),
        ("cls", SEVEN_PM - 1, "AUCTION_WINDOW"),
        ("cls", SEVEN_PM, None),
    ],
)
def test_auction_orders_have_their_hours(tif: str, now_ns: int, code: str | None) -> None:
    """The first moment of a window is refused, 19:00 passes."""
    assert code_of({"time_in_force": tif}, now_ns) == code


def test_auction_orders_are_market_or_limit() -> None:
    """An auction knows no stops."""
    fields = {"time_in_force": "cls", "type": "stop", "stop_price": "51"}
    assert code_of(fields) == "TYPE_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (PROFIT, "CLASS_LEGS"),  # simple orders have no legs
        (BRACKET, None),
        (BRACKET | {"stop_loss": None}, "CLASS_LEGS"),
        ({"order_class": "oto", **PROFIT}, None),
        ({"order_class": "oto", **LOSS}, None),
        ({"order_class": "oto", **PROFIT, **LOSS}, "CLASS_LEGS"),
        ({"order_class": "oto"}, "CLASS_LEGS"),
        (OCO, None),
        (OCO | {"limit_price": "55.00"}, None),  # the same price said twice
        (OCO | {"limit_price": "54.00"}, "CLASS_RULES"),
        (OCO | MARKET, "CLASS_RULES"),
        (OCO | {"stop_loss": None}, "CLASS_LEGS"),
        (BRACKET | TRAIL | {"trail_price": "1"}, "TYPE_NOT_ALLOWED"),
        (BRACKET | {"time_in_force": "gtc"}, None),
        (BRACKET | {"time_in_force": "ioc"}, "TIME_IN_FORCE_NOT_ALLOWED"),
        (BRACKET | {"limit_price": "55.00"}, "LEG_PRICES"),  # entry at the take profit
        (BRACKET | {"limit_price": "54.99"}, None),
        (BRACKET | {"limit_price": "45.00"}, "LEG_PRICES"),  # entry at the stop
        (BRACKET | MARKET | {"take_profit": {"limit_price": "45.00"}}, "LEG_PRICES"),
        (BRACKET | MARKET, None),
        (BRACKET | {"side": "sell"}, "LEG_PRICES"),  # a short's stop is above
        (
            BRACKET
            | {
                "side": "sell",
                "take_profit": {"limit_price": "45.00"},
                "stop_loss": {"stop_price": "55.00"},
            },
            None,
        ),
        (OCO | {"side": "buy"}, "LEG_PRICES"),  # an exit that buys
        ({"position_intent": "buy_to_open"}, None),
        ({"position_intent": "sell_to_close"}, "POSITION_INTENT"),
        ({"position_intent": "buy_to_close", "side": "sell"}, "POSITION_INTENT"),
    ],
)
def test_classes_have_their_legs(fields: dict[str, Any], code: str | None) -> None:
    """Legs, types, times in force and price relations of bracket, oco and oto orders."""
    assert code_of(fields) == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"time_in_force": "gtc"}, None),
        ({"time_in_force": "ioc"}, None),
        ({"time_in_force": "day"}, "TIME_IN_FORCE_NOT_ALLOWED"),
        ({"time_in_force": "gtc", "qty": "0.5"}, None),  # lots, not parts of shares
        ({"time_in_force": "gtc", "qty": "0.05"}, "LOT_SIZE"),
        ({"time_in_force": "gtc", "type": "stop", "stop_price": "51"}, "TYPE_NOT_ALLOWED"),
        (MARKET | {"time_in_force": "gtc", "notional": "100"}, None),
        (BRACKET | {"time_in_force": "gtc"}, "CLASS_RULES"),
    ],
)
def test_crypto_has_its_own_types_and_times(fields: dict[str, Any], code: str | None) -> None:
    """Crypto: market, limit, stop_limit; gtc, ioc; simple."""
    crypto: dict[str, Any] = {
        "asset_class": "crypto",
        "lot_size": "0.1",
        "min_qty": "0.1",
        "fractionable": True,
    }
    assert code_of(fields, **crypto) == code


def test_an_unknown_symbol_is_refused() -> None:
    """No instrument record, no order."""
    context = FieldContext("AIG", None, SESSION, NOW_NS)
    refusal = check_fields(normalise(submit()), context)
    assert refusal is not None
    assert (refusal.code, refusal.actual) == ("UNKNOWN_SYMBOL", "AIG")


def test_a_refusal_names_limit_actual_and_version() -> None:
    """The version is that of the instrument record that held the tick."""
    context = FieldContext("AIG", instrument(), SESSION, NOW_NS)
    refusal = check_fields(normalise(submit(limit_price="11.055")), context)
    assert refusal is not None
    assert (refusal.limit, refusal.actual, refusal.rules_version) == ("0.01", "11.055", 7)


def test_normalise_fills_every_field() -> None:
    """What is built without validation is what validation would have built."""
    for command in (submit(**BRACKET), submit(**OCO), submit(**MARKET)):
        terms = normalise(command)
        assert OrderTerms.model_validate_json(terms.model_dump_json()) == terms
    assert normalise(submit(**OCO)).limit_price == normalise(submit(**OCO)).take_profit.limit_price  # type: ignore[union-attr]


def test_the_legs_of_an_oco_are_on_its_own_side() -> None:
    """An oco is itself the exit; others exit against their side."""
    assert exit_side(normalise(submit(**OCO))) is Side.SELL
    assert exit_side(normalise(submit(**BRACKET))) is Side.SELL
    assert exit_side(normalise(submit(side="sell"))) is Side.BUY


def test_content_is_what_an_order_says_not_how_it_is_written() -> None:
    """10 and 10.0 are one content; every field but the time counts."""

    def content(**fields: Any) -> str:
        command = submit(**fields)
        terms = normalise(command)
        client = command.client_order_id or command.order_id
        return full_content(terms, trade_content(terms), client, command.strategy)

    assert content(qty="10") == content(qty="10.0", ts_event_ns=5, client_order_id="o1")
    others: list[dict[str, Any]] = [
        {"qty": "11"},
        {"side": "sell"},
        {"limit_price": "50.01"},
        {"time_in_force": "gtc"},
        {"strategy": "s"},
        {"client_order_id": "c"},
        {"extended_hours": True},
        {"reduce_only": True},
        {"position_intent": "buy_to_open"},
        BRACKET,
        BRACKET | {"stop_loss": {"stop_price": "44.00"}},
        {"type": "stop_limit", "stop_price": "50"},
        {"type": "market", "limit_price": None},
    ]
    assert len({content(**other) for other in [{}, *others]}) == len(others) + 1


def test_each_code_has_a_row_in_the_guide() -> None:
    """The reference page leaves none out."""
    assert set(GUIDE) == set(Code)
