"""Every reason the validator has to refuse a command: code, meaning, and what to do.

The rows are data: `docs/reference/refusals.md` is made from them.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum, unique

from streams.models.orders import Refusal


@unique
class Code(StrEnum):
    """Code of a refusal; `GUIDE` says what each means and what to do about it."""

    # What an order says of itself.
    QTY_OR_NOTIONAL = "QTY_OR_NOTIONAL"
    INVALID_QTY = "INVALID_QTY"
    INVALID_PRICE = "INVALID_PRICE"
    PRICE_REQUIRED = "PRICE_REQUIRED"
    PRICE_NOT_ALLOWED = "PRICE_NOT_ALLOWED"
    TRAIL_PRICE_OR_PERCENT = "TRAIL_PRICE_OR_PERCENT"
    NOTIONAL_RULES = "NOTIONAL_RULES"
    FRACTIONAL_RULES = "FRACTIONAL_RULES"
    NOT_FRACTIONABLE = "NOT_FRACTIONABLE"
    LOT_SIZE = "LOT_SIZE"
    MIN_QTY = "MIN_QTY"
    TICK_SIZE = "TICK_SIZE"
    TYPE_NOT_ALLOWED = "TYPE_NOT_ALLOWED"
    TIME_IN_FORCE_NOT_ALLOWED = "TIME_IN_FORCE_NOT_ALLOWED"
    EXTENDED_HOURS_RULES = "EXTENDED_HOURS_RULES"
    AUCTION_WINDOW = "AUCTION_WINDOW"
    CLASS_LEGS = "CLASS_LEGS"
    CLASS_RULES = "CLASS_RULES"
    LEG_PRICES = "LEG_PRICES"
    POSITION_INTENT = "POSITION_INTENT"
    CLOCK_SKEW = "CLOCK_SKEW"
    # Ids and requests.
    CONFLICT = "CONFLICT"
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    TOO_LATE = "TOO_LATE"
    NOTHING_TO_REPLACE = "NOTHING_TO_REPLACE"
    REPLACE_NOT_ALLOWED = "REPLACE_NOT_ALLOWED"
    # Children of allocations and sliced orders.
    UNFILLED = "UNFILLED"
    REJECTED = "REJECTED"
    # Risk.
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    NOT_TRADABLE = "NOT_TRADABLE"
    KILL_SWITCH = "KILL_SWITCH"
    TRADING_HALTED = "TRADING_HALTED"
    REDUCING_ONLY = "REDUCING_ONLY"
    RESTRICTED_SYMBOL = "RESTRICTED_SYMBOL"
    ORDER_RATE = "ORDER_RATE"
    DUPLICATE_CONTENT = "DUPLICATE_CONTENT"
    MAX_OPEN_ORDERS = "MAX_OPEN_ORDERS"
    NO_REFERENCE_PRICE = "NO_REFERENCE_PRICE"
    PRICE_COLLAR = "PRICE_COLLAR"
    STOP_PRICE_SIDE = "STOP_PRICE_SIDE"
    MAX_ORDER_QTY = "MAX_ORDER_QTY"
    MAX_ORDER_VALUE = "MAX_ORDER_VALUE"
    REDUCE_ONLY = "REDUCE_ONLY"
    SHORT_NOT_ALLOWED = "SHORT_NOT_ALLOWED"
    NOT_SHORTABLE = "NOT_SHORTABLE"
    MAX_POSITION = "MAX_POSITION"
    GROSS_EXPOSURE = "GROSS_EXPOSURE"
    BUYING_POWER = "BUYING_POWER"
    DAILY_LOSS = "DAILY_LOSS"
    SELF_TRADE = "SELF_TRADE"
    # Routing.
    NO_ROUTE = "NO_ROUTE"
    UNKNOWN_BROKER = "UNKNOWN_BROKER"
    UNSUPPORTED_BY_BROKER = "UNSUPPORTED_BY_BROKER"
    NOT_ROUTED = "NOT_ROUTED"
    # The virtual venue.
    INVALID_TERMS = "INVALID_TERMS"
    ORDER_TOO_OLD = "ORDER_TOO_OLD"
    # Brokers across a network.
    EXPIRED_UNSENT = "EXPIRED_UNSENT"
    BROKER_DOWN = "BROKER_DOWN"
    BROKER_REFUSED = "BROKER_REFUSED"


@dataclass(frozen=True, slots=True)
class Guide:
    """One row of the reference: what the code means, and what its receiver does about it."""

    meaning: str
    action: str


GUIDE: dict[Code, Guide] = {
    Code.QTY_OR_NOTIONAL: Guide("Not exactly one of qty and notional.", "Give one of the two."),
    Code.INVALID_QTY: Guide("qty or notional is not above 0.", "Give a positive number."),
    Code.INVALID_PRICE: Guide(
        "A price or trail is not above 0, or a trail of 100 % or more.", "Correct the price."
    ),
    Code.PRICE_REQUIRED: Guide("The order type needs a price that is absent.", "Add the price."),
    Code.PRICE_NOT_ALLOWED: Guide(
        "A price that the order type does not have.", "Remove it, or choose the type it is for."
    ),
    Code.TRAIL_PRICE_OR_PERCENT: Guide(
        "Not exactly one of trail_price and trail_percent.", "Give one of the two."
    ),
    Code.NOTIONAL_RULES: Guide(
        "An order by notional is not a plain market order for the day.",
        "Use type market, time in force day, class simple; or give qty.",
    ),
    Code.FRACTIONAL_RULES: Guide(
        "A fractional order is not a plain day order, or would open a short position.",
        "Use whole shares, or a simple day order of type market, limit, stop or stop_limit.",
    ),
    Code.NOT_FRACTIONABLE: Guide(
        "The instrument trades in whole shares only.", "Give a whole qty, and no notional."
    ),
    Code.LOT_SIZE: Guide("qty is no multiple of the lot size.", "Round qty to the lot size."),
    Code.MIN_QTY: Guide("qty is below the instrument's least.", "Raise qty."),
    Code.TICK_SIZE: Guide("A price is no multiple of the tick.", "Round the price to the tick."),
    Code.TYPE_NOT_ALLOWED: Guide(
        "The order type is not offered for this asset class, time in force or order class.",
        "Choose another order type.",
    ),
    Code.TIME_IN_FORCE_NOT_ALLOWED: Guide(
        "The time in force is not offered for this asset class or order class.",
        "Choose another time in force.",
    ),
    Code.EXTENDED_HOURS_RULES: Guide(
        "An extended-hours order is not a simple limit order for the day.",
        "Use type limit, time in force day, class simple; or drop extended_hours.",
    ),
    Code.AUCTION_WINDOW: Guide(
        "opg orders are not taken from 09:28, cls orders from 10 minutes before the close, each"
        " until 19:00 New York time.",
        "Send it earlier or after 19:00, or with another time in force.",
    ),
    Code.CLASS_LEGS: Guide(
        "take_profit and stop_loss do not fit the order class.",
        "bracket and oco need both, oto one of them, simple none.",
    ),
    Code.CLASS_RULES: Guide(
        "The order class does not go with this type or a closing purpose.",
        "oco is of type limit and closes a position; use another class to open one.",
    ),
    Code.LEG_PRICES: Guide(
        "The legs' prices are on the wrong side of each other or of the entry price.",
        "A selling exit: stop below entry below take profit; a buying one: reversed.",
    ),
    Code.POSITION_INTENT: Guide(
        "position_intent contradicts the side or the position.", "Correct or drop it."
    ),
    Code.CLOCK_SKEW: Guide(
        "The command's time lies in the future.", "Set the sender's clock; send it again."
    ),
    Code.CONFLICT: Guide(
        "The id is taken by an order or request of other content; the first one stands.",
        "Send it under a new id.",
    ),
    Code.UNKNOWN_ORDER: Guide("No order of this id in the account.", "Check account and id."),
    Code.TOO_LATE: Guide("The order is closed, or was refused.", "Nothing is left to change."),
    Code.NOTHING_TO_REPLACE: Guide("The replace changes nothing.", "Give a value that differs."),
    Code.REPLACE_NOT_ALLOWED: Guide(
        "This order cannot be replaced, or not to that quantity.",
        "Orders by notional cannot be replaced; qty must stay above what is filled.",
    ),
    Code.UNFILLED: Guide(
        "Child orders ended one after the other without a fill.",
        "Ask again at another price, or when the market trades.",
    ),
    Code.REJECTED: Guide("The broker refused the order without a reason.", "Ask the broker."),
    Code.UNKNOWN_SYMBOL: Guide(
        "No instrument of this symbol among the controls.", "Check the symbol, or add it."
    ),
    Code.NOT_TRADABLE: Guide("The instrument is not tradable.", "Wait, or ask an operator."),
    Code.KILL_SWITCH: Guide("A kill switch covers the order.", "An operator releases the switch."),
    Code.TRADING_HALTED: Guide("Trading is halted.", "Cancels pass; an operator resumes trading."),
    Code.REDUCING_ONLY: Guide(
        "Trading is reducing, and the order would open, add to or flip a position.",
        "Send at most what closes the position, open orders counted.",
    ),
    Code.RESTRICTED_SYMBOL: Guide("The symbol is on a restricted list.", "Do not trade it."),
    Code.ORDER_RATE: Guide("The account sends commands too fast.", "Slow down; send it again."),
    Code.DUPLICATE_CONTENT: Guide(
        "Too many equal orders in a short time.", "Look for a loop in the sender."
    ),
    Code.MAX_OPEN_ORDERS: Guide("Too many open orders.", "Cancel some."),
    Code.NO_REFERENCE_PRICE: Guide(
        "No price to value the order by: none is known, or the last one is too old.",
        "Use a limit order, connect market data, or set the instrument's reference price.",
    ),
    Code.PRICE_COLLAR: Guide(
        "The price is too much worse than the last price, or than the middle of bid and ask while"
        " the last is stale.",
        "Check the price for a slip.",
    ),
    Code.STOP_PRICE_SIDE: Guide(
        "A buy stop is not above, or a sell stop not below, the last price.",
        "Correct the stop price, or send a market or limit order.",
    ),
    Code.MAX_ORDER_QTY: Guide("qty is above the limit for one order.", "Send less."),
    Code.MAX_ORDER_VALUE: Guide("The value is above the limit for one order.", "Send less."),
    Code.REDUCE_ONLY: Guide(
        "A reduce-only order would open, add to or flip a position.",
        "Send at most what closes the position, open orders counted.",
    ),
    Code.SHORT_NOT_ALLOWED: Guide(
        "The account may not go short.", "Sell at most what is held, open orders counted."
    ),
    Code.NOT_SHORTABLE: Guide(
        "The instrument cannot be sold short.", "Sell at most what is held, open orders counted."
    ),
    Code.MAX_POSITION: Guide(
        "The position could grow above its limit with all open orders filled.",
        "Send less, or cancel open orders.",
    ),
    Code.GROSS_EXPOSURE: Guide(
        "The account's exposure could grow above its limit with all open orders filled.",
        "Send less, cancel open orders or close positions.",
    ),
    Code.BUYING_POWER: Guide(
        "The order needs more money than the account has free.",
        "Send less, cancel open orders or close positions.",
    ),
    Code.DAILY_LOSS: Guide(
        "The day's realised loss is above its limit; only orders that reduce pass.",
        "Close positions; an operator may raise the limit.",
    ),
    Code.SELF_TRADE: Guide(
        "The order would trade with an open order of the same account.",
        "Cancel or replace the open order first.",
    ),
    Code.NO_ROUTE: Guide(
        "No routing rule matches, and there is no default broker.",
        "Add a rule or a default broker: `./orderflow rules set routing default …`.",
    ),
    Code.UNKNOWN_BROKER: Guide(
        "The routing rule names a broker that there is no adapter for.", "Correct the rule."
    ),
    Code.UNSUPPORTED_BY_BROKER: Guide(
        "The broker does not take this type, time in force, class or quantity.",
        "Choose another, or route the order to another broker.",
    ),
    Code.NOT_ROUTED: Guide(
        "The order to cancel or replace was never sent to a broker.", "Nothing: it is not working."
    ),
    Code.INVALID_TERMS: Guide(
        "The venue cannot work an order of these terms.", "Correct what the text names."
    ),
    Code.ORDER_TOO_OLD: Guide(
        "The order reached the venue longer after its approval than the venue remembers orders; "
        "it may have been executed before.",
        "Look at the order's fills, then send a new order.",
    ),
    Code.EXPIRED_UNSENT: Guide(
        "The order was still not at the broker when its time to be sent was over.",
        "It was not executed. Send a new order if it is still wanted.",
    ),
    Code.BROKER_DOWN: Guide(
        "The broker does not answer, or gets too many calls; an order so refused never went out. "
        "Of a cancel or replace it is not known whether the broker took it.",
        "Send a new order when the broker is back; look at what became of a cancel or replace.",
    ),
    Code.BROKER_REFUSED: Guide(
        "The broker refused for a reason of its own, which the text gives.",
        "Correct what the text names.",
    ),
}


def refuse(
    code: Code,
    text: str,
    *,
    limit: Decimal | int | str | None = None,
    actual: Decimal | int | str | None = None,
    version: int = 0,
) -> Refusal:
    """Return a refusal. `version` is that of the control record that held the limit."""
    return Refusal(
        code=code.value,
        text=text,
        limit=_plain(limit),
        actual=_plain(actual),
        rules_version=version,
    )


def _plain(value: Decimal | int | str | None) -> str | None:
    """Return the number without exponent or trailing zeros: 1E+3 as 1000, 10.50 as 10.5."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return None if value is None else str(value)
