"""Pre-trade risk: each check at its limit and one step beyond, and the holes of others closed."""

from decimal import Decimal
from typing import Any

import pytest

from streams.domain.risk import CHECKS
from streams.models.controls import KillSwitch, Restricted, TradingState
from streams.topics import ORDERS_EVENTS
from tests.builders import NOW_NS, SECOND, cancel, event, fill, last_price, replace, submit
from tests.unit.risk_builders import Desk, instrument, limits

MARKET: dict[str, Any] = {"type": "market"}
SELL: dict[str, Any] = {"side": "sell"}


def verdict(desk: Desk, **fields: Any) -> str:
    """Send a submit; return `approved` or the refusal's code."""
    return desk.verdict(submit(**fields))


@pytest.mark.parametrize(
    ("of_limits", "fields", "code"),
    [
        ({}, {"qty": "1000"}, "approved"),  # max_order_qty 1,000: equal passes
        ({}, {"qty": "1001", "limit_price": "49.00"}, "MAX_ORDER_QTY"),
        ({"max_order_value": "500"}, {"qty": "10"}, "approved"),  # 10 x 50.00
        ({"max_order_value": "499.99"}, {"qty": "10"}, "MAX_ORDER_VALUE"),
        ({"max_order_value": "500"}, MARKET | {"qty": "10"}, "approved"),  # at the last price
        ({"max_order_value": "499.99"}, MARKET | {"qty": "10"}, "MAX_ORDER_VALUE"),
        ({"max_order_value": "510"}, {"type": "stop", "stop_price": "51"}, "approved"),
        ({"max_order_value": "509"}, {"type": "stop", "stop_price": "51"}, "MAX_ORDER_VALUE"),
        ({"max_position_qty": "10"}, {}, "approved"),
        ({"max_position_qty": "9"}, {}, "MAX_POSITION"),
        ({"max_position_qty": "9"}, SELL, "MAX_POSITION"),  # short counts as well
        ({"max_gross_exposure": "500"}, {}, "approved"),
        ({"max_gross_exposure": "499.99"}, {}, "GROSS_EXPOSURE"),
        ({"starting_cash": "500"}, {}, "approved"),
        ({"starting_cash": "499.99"}, {}, "BUYING_POWER"),
        ({"starting_cash": "250", "buying_power_factor": "2"}, {}, "approved"),
        ({"starting_cash": "550"}, MARKET, "approved"),  # the collar's 10 % on top
        ({"starting_cash": "549.99"}, MARKET, "BUYING_POWER"),
        ({}, {"limit_price": "55.00"}, "approved"),  # 10 % above the last
        ({}, {"limit_price": "55.01"}, "PRICE_COLLAR"),
        ({}, SELL | {"limit_price": "45.00"}, "approved"),
        ({}, SELL | {"limit_price": "44.99"}, "PRICE_COLLAR"),
        ({}, {"limit_price": "1.00"}, "approved"),  # a better price is no slip
        ({}, {"type": "stop", "stop_price": "55.01"}, "PRICE_COLLAR"),
        ({}, {"type": "stop", "stop_price": "50.01"}, "approved"),
        ({}, {"type": "stop", "stop_price": "50.00"}, "STOP_PRICE_SIDE"),
        ({}, SELL | {"type": "stop", "stop_price": "50.00"}, "STOP_PRICE_SIDE"),
        ({}, SELL | {"type": "stop", "stop_price": "49.99"}, "approved"),
        ({"allow_short": False}, SELL, "SHORT_NOT_ALLOWED"),
        ({}, SELL, "approved"),
        ({}, {"reduce_only": True}, "REDUCE_ONLY"),  # there is nothing to reduce
        ({}, {"position_intent": "buy_to_close"}, "POSITION_INTENT"),
        ({}, {"position_intent": "buy_to_open"}, "approved"),
        ({}, SELL | {"position_intent": "sell_to_open"}, "approved"),
    ],
)
def test_limits_are_inclusive(of_limits: dict[str, Any], fields: dict[str, Any], code: str) -> None:
    """A value equal to its limit passes, the next one is refused; last price 50.00."""
    assert verdict(Desk(limits(**of_limits)), **fields) == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (SELL | {"qty": "100"}, "approved"),  # closes
        (SELL | {"qty": "101"}, "SHORT_NOT_ALLOWED"),  # flips
        (SELL | {"qty": "100", "reduce_only": True}, "approved"),
        (SELL | {"qty": "101", "reduce_only": True}, "REDUCE_ONLY"),
        (SELL | {"qty": "100", "position_intent": "sell_to_close"}, "approved"),
        (SELL | {"qty": "101", "position_intent": "sell_to_close"}, "POSITION_INTENT"),
        (SELL | {"qty": "1", "position_intent": "sell_to_open"}, "POSITION_INTENT"),
        ({"reduce_only": True}, "REDUCE_ONLY"),
    ],
)
def test_reducing_needs_no_position_id(fields: dict[str, Any], code: str) -> None:
    """Reduce-only is judged by the position itself: 100 long."""
    desk = Desk(limits(allow_short=False))
    desk.hold("100")
    assert verdict(desk, **fields) == code


def test_open_orders_count_towards_what_can_still_be_closed() -> None:
    """Two sells of 60 against 100 long: the second would go short."""
    desk = Desk(limits(allow_short=False))
    desk.hold("100")
    sell = SELL | {"qty": "60", "limit_price": "51.00"}
    assert verdict(desk, order_id="a", **sell) == "approved"
    assert verdict(desk, order_id="b", **sell) == "SHORT_NOT_ALLOWED"


@pytest.mark.parametrize(
    ("position", "fields", "code"),
    [
        ("100", {"qty": "1"}, "REDUCING_ONLY"),  # adds
        ("100", SELL | {"qty": "100"}, "approved"),
        ("100", SELL | {"qty": "101"}, "REDUCING_ONLY"),  # others: flips the position
        ("-100", {"qty": "100"}, "approved"),
        ("-100", {"qty": "101"}, "REDUCING_ONLY"),
        ("-100", SELL | {"qty": "1"}, "REDUCING_ONLY"),
    ],
)
def test_reducing_never_flips(position: str, fields: dict[str, Any], code: str) -> None:
    """In state reducing, an oversized opposite order is refused."""
    desk = Desk(TradingState(state="reducing"))
    desk.hold(position)
    assert verdict(desk, **fields) == code


def test_open_orders_count_in_state_reducing() -> None:
    """The state may change while orders are open: 60 + 60 sells of 100 long would flip."""
    desk = Desk(TradingState(state="reducing"))
    desk.hold("100")
    sell = SELL | {"qty": "60", "limit_price": "51.00"}
    assert verdict(desk, order_id="a", **sell) == "approved"
    assert verdict(desk, order_id="b", **sell) == "REDUCING_ONLY"


@pytest.mark.parametrize(
    ("control", "code"),
    [
        (KillSwitch(engaged=True), "KILL_SWITCH"),
        (KillSwitch(scope="account:A1", engaged=True), "KILL_SWITCH"),
        (KillSwitch(scope="symbol:AIG", engaged=True), "KILL_SWITCH"),
        (KillSwitch(scope="strategy:s", engaged=True), "KILL_SWITCH"),
        (KillSwitch(scope="account:A2", engaged=True), "approved"),
        (KillSwitch(engaged=False), "approved"),
        (TradingState(state="halted"), "TRADING_HALTED"),
        (TradingState(scope="A1", state="halted"), "TRADING_HALTED"),
        (TradingState(scope="A2", state="halted"), "approved"),
        (Restricted(symbols=("AIG",)), "RESTRICTED_SYMBOL"),
        (Restricted(scope="A1", symbols=("AIG",)), "RESTRICTED_SYMBOL"),
        (Restricted(scope="A2", symbols=("AIG",)), "approved"),
        (instrument(shortable=False), "approved"),
    ],
)
def test_switches_cover_their_scope(control: Any, code: str) -> None:
    """Kill switches, trading states and restricted lists hold where they are set, no further."""
    assert verdict(Desk(control), strategy="s") == code


@pytest.mark.parametrize("control", [KillSwitch(engaged=True), TradingState(state="halted")])
def test_cancels_always_pass_and_replaces_do_not(control: Any) -> None:
    """Stopping trade never locks an order in."""
    desk = Desk()
    desk.send(submit())
    desk.controls = desk.controls.with_records([control.model_copy(update={"version": 99})])
    assert desk.verdict(replace(limit_price="50.01")) in {"KILL_SWITCH", "TRADING_HALTED"}
    assert desk.verdict(cancel()) == "pending_cancel"


def test_limits_change_without_a_restart_and_refusals_name_the_version() -> None:
    """The next command sees the new record; its refusal carries the record's version."""
    desk = Desk()
    assert verdict(desk, order_id="a") == "approved"
    record = limits(max_order_qty="9", version=77)
    desk.controls = desk.controls.with_records([record])
    said = desk.send(submit(order_id="b")).values(ORDERS_EVENTS)[-1]
    assert said.refusal.model_dump(exclude={"text"}) == {
        "code": "MAX_ORDER_QTY",
        "limit": "9",
        "actual": "10",
        "rules_version": 77,
    }


@pytest.mark.parametrize(
    ("fields", "reference", "age_s", "code"),
    [
        (MARKET, None, None, "NO_REFERENCE_PRICE"),  # others let it pass with a warning
        ({"type": "stop", "stop_price": "51"}, None, None, "NO_REFERENCE_PRICE"),
        ({"type": "trailing_stop", "trail_price": "1"}, None, None, "NO_REFERENCE_PRICE"),
        ({}, None, None, "approved"),  # a limit order brings its price
        (MARKET, "50", None, "approved"),  # the instrument's reference price stands in
        (MARKET, None, 900, "approved"),  # as old as it may be
        (MARKET, None, 901, "NO_REFERENCE_PRICE"),
        (MARKET, "50", 901, "approved"),
        ({"limit_price": "55.01"}, "40", 901, "PRICE_COLLAR"),  # an old last still bounds limits
        ({"limit_price": "55.00"}, "40", 901, "approved"),
    ],
)
def test_no_price_does_not_pass(
    fields: dict[str, Any], reference: str | None, age_s: int | None, code: str
) -> None:
    """An order without a limit needs a market price: the last, young enough, or the reference."""
    prices = {}
    if age_s is not None:
        prices["AIG"] = last_price(ts_event_ns=NOW_NS - age_s * SECOND)
    desk = Desk(instrument(reference_price=reference), price=prices.get)
    assert verdict(desk, **fields) == code


@pytest.mark.parametrize(
    ("side", "value", "code"),
    [
        ("buy", "510", "approved"),  # at the ask of 51
        ("buy", "509.99", "MAX_ORDER_VALUE"),
        ("sell", "490", "approved"),  # at the bid of 49
        ("sell", "489.99", "MAX_ORDER_VALUE"),
    ],
)
def test_market_orders_are_valued_at_the_other_side(side: str, value: str, code: str) -> None:
    """A buyer pays the ask, a seller gets the bid."""
    price = last_price(bid="49", ask="51")
    desk = Desk(limits(max_order_value=value), price=lambda _: price)
    assert verdict(desk, side=side, **MARKET) == code


def test_money_is_reserved_by_open_orders_and_comes_back() -> None:
    """1,000 of cash: two buys of 500 take all; a cancel frees its part."""
    desk = Desk(limits(starting_cash="1000"))
    assert [verdict(desk, order_id=name) for name in ("a", "b", "c")] == [
        "approved",
        "approved",
        "BUYING_POWER",
    ]
    desk.hear(event("canceled", order_id="a"))
    assert verdict(desk, order_id="d") == "approved"


def test_proceeds_of_a_short_sale_buy_nothing() -> None:
    """1,000 of cash, 500 sold short: 500 are left, not 1,500."""
    desk = Desk(limits(starting_cash="1000"))
    desk.hold("-10")
    assert verdict(desk, order_id="a", symbol="AIG", qty="20") == "approved"  # closes 10, opens 10
    assert verdict(desk, order_id="b", qty="1") == "BUYING_POWER"


def test_what_reduces_needs_no_money() -> None:
    """With no cash left a position can still be sold, and a short bought back."""
    for position, fields in (("20", SELL), ("-20", {})):
        desk = Desk(limits(starting_cash="0"))
        desk.hold(position)
        assert verdict(desk, qty="20", **fields) == "approved"


def test_the_worst_case_counts_open_orders() -> None:
    """Limit 25 shares: 10 open and 10 held leave 5."""
    desk = Desk(limits(max_position_qty="25"))
    desk.hold("10")
    assert verdict(desk, order_id="a", qty="10") == "approved"
    assert verdict(desk, order_id="b", qty="6") == "MAX_POSITION"
    assert verdict(desk, order_id="c", qty="5") == "approved"
    assert verdict(desk, order_id="d", qty="35", limit_price="51.00", **SELL) == "approved"


def test_exposure_is_summed_over_symbols() -> None:
    """500 in AIG and 500 in IBM reach a limit of 1,000."""
    desk = Desk(limits(max_gross_exposure="1000"), instrument("IBM"))
    desk.price = last_price
    assert verdict(desk, order_id="a") == "approved"
    assert verdict(desk, order_id="b", symbol="IBM", qty="11") == "GROSS_EXPOSURE"
    assert verdict(desk, order_id="c", symbol="IBM") == "approved"


def test_positions_are_valued_at_live_prices() -> None:
    """A price that doubles takes up exposure, within a second."""
    desk = Desk(limits(max_gross_exposure="1000"), instrument("IBM"))
    desk.price = last_price
    desk.hold("10")
    ibm = {"symbol": "IBM", "qty": "1"}
    assert verdict(desk, order_id="a", **ibm) == "approved"  # 500 + 50
    desk.price = lambda symbol: last_price(symbol, "100" if symbol == "AIG" else "50")
    desk.now_ns += SECOND - 1
    assert verdict(desk, order_id="b", **ibm) == "approved"  # valued less than a second ago
    desk.now_ns += 1
    assert verdict(desk, order_id="c", **ibm) == "GROSS_EXPOSURE"  # 1,000 + 100 + 50


@pytest.mark.parametrize(
    ("loss", "qty", "code"),
    [
        ("1000", "10", "approved"),  # equal to the limit passes
        ("1001", "10", "DAILY_LOSS"),
    ],
)
def test_a_daily_loss_stops_opening_orders(loss: str, qty: str, code: str) -> None:
    """The loss is realised, with commissions; what reduces still passes."""
    desk = Desk(limits(max_daily_loss="1000"))
    desk.hold("30", "50", "a")
    desk.hear(event("fill", order_id="x", side="sell", fill=fill("b", "20", "50", commission=loss)))
    assert verdict(desk, order_id="open", qty=qty) == code
    assert verdict(desk, order_id="close", side="sell", qty="10", limit_price="51") == "approved"


def test_a_daily_loss_ends_with_the_day_in_new_york() -> None:
    """The sum starts anew at midnight, New York."""
    desk = Desk(limits(max_daily_loss="1"))
    desk.hear(event("fill", order_id="x", fill=fill("a", "1", "50", commission="2")))
    assert verdict(desk, order_id="a") == "DAILY_LOSS"
    midnight = NOW_NS + (13 * 3600 + 1800) * SECOND  # 10:30 + 13:30
    desk.now_ns = midnight - 1
    assert verdict(desk, order_id="b") == "DAILY_LOSS"
    desk.now_ns = midnight
    assert verdict(desk, order_id="c") == "approved"


def test_the_order_rate_is_a_token_bucket() -> None:
    """A burst of 3, then 2 a second."""
    desk = Desk(limits(rate_burst="3", max_orders_per_s="2"))
    first = [verdict(desk, order_id=f"a{n}", qty=str(n + 1)) for n in range(4)]
    assert first == ["approved"] * 3 + ["ORDER_RATE"]
    desk.now_ns += SECOND // 2
    assert verdict(desk, order_id="b1") == "approved"
    assert verdict(desk, order_id="b2") == "ORDER_RATE"
    desk.now_ns += 60 * SECOND  # never more than the burst
    later = [verdict(desk, order_id=f"c{n}", qty=str(n + 1)) for n in range(4)]
    assert later == ["approved"] * 3 + ["ORDER_RATE"]


def test_equal_orders_are_counted_within_a_window() -> None:
    """Three in a second pass, the fourth does not; an older one no longer counts."""
    desk = Desk(limits(max_same_content=3))
    verdicts = [verdict(desk, order_id=f"a{n}") for n in range(4)]
    assert verdicts == ["approved"] * 3 + ["DUPLICATE_CONTENT"]
    assert verdict(desk, order_id="b", qty="11") == "approved"  # other content
    desk.now_ns += SECOND
    assert verdict(desk, order_id="c") == "approved"


def test_open_orders_are_limited() -> None:
    """Two may be open."""
    desk = Desk(limits(max_open_orders=2))
    verdicts = [verdict(desk, order_id=f"a{n}", qty=str(n + 1)) for n in range(3)]
    assert verdicts == ["approved", "approved", "MAX_OPEN_ORDERS"]
    desk.hear(event("expired", order_id="a0"))
    assert verdict(desk, order_id="b") == "approved"


@pytest.mark.parametrize(
    ("resting", "incoming", "code"),
    [
        (SELL | {"limit_price": "51.00"}, {"limit_price": "50.99"}, "approved"),
        (SELL | {"limit_price": "51.00"}, {"limit_price": "51.00"}, "SELF_TRADE"),  # equal trades
        (SELL | {"limit_price": "51.00"}, MARKET, "SELF_TRADE"),
        ({"limit_price": "49.00"}, SELL | {"limit_price": "49.01"}, "approved"),
        ({"limit_price": "49.00"}, SELL | {"limit_price": "49.00"}, "SELF_TRADE"),
        ({"limit_price": "49.00"}, SELL | MARKET, "SELF_TRADE"),
        (MARKET, SELL | {"limit_price": "55.00"}, "SELF_TRADE"),  # a market order takes any price
        ({"limit_price": "49.00"}, {"limit_price": "51.00"}, "approved"),  # the same side
        (SELL | {"type": "stop", "stop_price": "49"}, MARKET, "approved"),  # waits for its trigger
        (SELL | {"limit_price": "51.00"}, {"type": "stop", "stop_price": "51"}, "approved"),
    ],
)
def test_orders_do_not_trade_with_their_own_account(
    resting: dict[str, Any], incoming: dict[str, Any], code: str
) -> None:
    """Opposite side and crossing price; market orders cross everything."""
    desk = Desk()
    assert verdict(desk, order_id="resting", **resting) == "approved"
    assert verdict(desk, order_id="incoming", **incoming) == code
    assert verdict(desk, order_id="other", account="A2", **incoming) == "approved"


def test_a_triggered_stop_is_on_the_book_and_a_closed_order_is_not() -> None:
    """What rests follows the events; an index built anew says the same."""
    desk = Desk()
    assert verdict(desk, order_id="s", type="stop", stop_price="49", **SELL) == "approved"
    desk.hear(event("triggered", order_id="s"))
    assert verdict(desk, order_id="b1") == "SELF_TRADE"
    assert verdict(Desk(starting=desk.state), order_id="b2") == "SELF_TRADE"
    desk.hear(event("canceled", order_id="s"))
    assert verdict(desk, order_id="b3") == "approved"


@pytest.mark.parametrize(
    ("of_instrument", "fields", "code"),
    [
        ({"shortable": False}, SELL, "NOT_SHORTABLE"),
        ({"asset_class": "crypto"}, SELL | {"time_in_force": "gtc"}, "NOT_SHORTABLE"),
        ({"fractionable": True}, SELL | {"qty": "0.5"}, "FRACTIONAL_RULES"),
        ({"fractionable": True}, SELL | MARKET | {"notional": "25"}, "FRACTIONAL_RULES"),
        ({"fractionable": True}, MARKET | {"notional": "25"}, "approved"),
    ],
)
def test_what_cannot_be_sold_short(
    of_instrument: dict[str, Any], fields: dict[str, Any], code: str
) -> None:
    """Some instruments, crypto, and parts of shares."""
    assert verdict(Desk(instrument(**of_instrument)), **fields) == code


def test_an_oco_closes_and_nothing_else() -> None:
    """Without a position there is nothing an oco could exit."""
    legs = {"take_profit": {"limit_price": "55.00"}, "stop_loss": {"stop_price": "45.00"}}
    fields = {"order_class": "oco", "side": "sell", "limit_price": None, **legs}
    desk = Desk()
    assert verdict(desk, order_id="a", **fields) == "REDUCE_ONLY"
    desk.hold("10")
    assert verdict(desk, order_id="b", **fields) == "approved"


@pytest.mark.parametrize(
    ("of_limits", "change", "code"),
    [
        ({}, {"limit_price": "50.01"}, "pending_replace"),
        ({}, {"limit_price": "50.00"}, "NOTHING_TO_REPLACE"),
        ({}, {"limit_price": "11.055"}, "TICK_SIZE"),
        ({}, {"limit_price": "55.01"}, "PRICE_COLLAR"),
        ({}, {"stop_price": "51"}, "PRICE_NOT_ALLOWED"),
        ({}, {"qty": "4"}, "REPLACE_NOT_ALLOWED"),  # 4 are filled
        ({}, {"qty": "5"}, "pending_replace"),
        ({"starting_cash": "1000"}, {"qty": "20"}, "pending_replace"),  # 16 x 50 beside 4 bought
        ({"starting_cash": "1000"}, {"qty": "21"}, "BUYING_POWER"),
        ({"max_position_qty": "20"}, {"qty": "20"}, "pending_replace"),
        ({"max_position_qty": "20"}, {"qty": "21"}, "MAX_POSITION"),
    ],
)
def test_a_replace_is_judged_by_the_difference(
    of_limits: dict[str, Any], change: dict[str, Any], code: str
) -> None:
    """An order of 10 at 50.00 with 4 filled: what it reserves already is not counted twice."""
    desk = Desk(limits(**of_limits))
    assert verdict(desk) == "approved"
    desk.hear(event("fill", fill=fill(qty="4", price="50")))
    assert desk.verdict(replace(**change)) == code


def test_a_replace_that_only_shrinks_passes_where_opening_does_not() -> None:
    """In state reducing an open order may be made smaller."""
    desk = Desk()
    desk.send(submit())
    state = TradingState(state="reducing", version=99)
    desk.controls = desk.controls.with_records([state])
    assert desk.verdict(replace(qty="11")) == "REDUCING_ONLY"
    assert desk.verdict(replace(qty="5")) == "pending_replace"


def test_each_refusal_has_a_code_of_its_own() -> None:
    """The order of evaluation is data: no check stands in it twice."""
    assert len(set(CHECKS)) == len(CHECKS)
    assert Decimal(limits().max_order_qty) == 1000


def test_an_order_is_looked_up_before_it_counts_as_crossing() -> None:
    """An entry too many in the index refuses nobody."""
    desk = Desk()
    assert verdict(desk, order_id="s", limit_price="51.00", **SELL) == "approved"
    order = desk.state["A1|s"]
    desk.state["A1|s"] = order.model_copy(update={"live": False})
    assert verdict(desk, order_id="b", limit_price="51.00") == "approved"
