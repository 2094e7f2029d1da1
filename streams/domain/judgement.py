"""Judge commands: from what is known of an account to a verdict and the state that follows.

A verdict is a record (`RiskOrder`, `RiskRequest`) that holds all its outputs are made of, so
that a redelivered command is answered from the record and never judged anew.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import NamedTuple

from streams.domain.build import evolve, make
from streams.domain.exposure import (
    NANO,
    holding_of,
    refilled,
    revalued,
    settle,
    with_content,
    without,
)
from streams.domain.exposure_models import PendingReplace, RiskAccount, RiskOrder, RiskRequest
from streams.domain.prices import mark_of
from streams.domain.refusals import Code, refuse
from streams.domain.resting import Crossing
from streams.domain.risk import (
    CHECKS,
    SHRINK_CHECKS,
    RiskContext,
    Rules,
    check_risk,
    context_for,
    reserve_for,
)
from streams.domain.sessions import Session
from streams.domain.validation import (
    SECOND,
    FieldContext,
    check_fields,
    full_content,
    normalise,
    trade_content,
)
from streams.models.market import LastPrice
from streams.models.orders import (
    Cancel,
    OrderClass,
    OrderTerms,
    OrderType,
    Refusal,
    Replace,
    Submit,
)

#: A command may be this much ahead of our clock.
MAX_SKEW_NS = 5 * SECOND
#: Positions are valued anew when their marks are this old.
MARKS_HOLD_NS = SECOND
#: The refusal of a cancel or replace of an order that has left the table.
LEFT = refuse(Code.TOO_LATE, "the order is closed; the history has it", actual="closed")

Crosses = Callable[[str, OrderTerms], Iterable[Crossing]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a judgement looks at besides the command and the account.

    `day` is the New York date that now counts for.
    """

    now_ns: int
    session: Session
    shift_ns: int
    price: Callable[[str], LastPrice | None]
    crosses: Crosses
    day: str


class Source(NamedTuple):
    """Where a command came from, and its time: its own, else the record's."""

    partition: int
    offset: int
    ts_ns: int


def opened(account: str, starting_cash: Decimal) -> RiskAccount:
    """Return an account that was never seen before."""
    return make(RiskAccount, account=account, cash=starting_cash)


def valued(account: RiskAccount, around: Surroundings) -> RiskAccount:
    """Return the account at live prices, if its marks are older than `MARKS_HOLD_NS`."""
    if around.now_ns - account.marked_ns < MARKS_HOLD_NS:
        return account

    def mark(symbol: str) -> Decimal | None:
        price = around.price(symbol)
        return mark_of(price) if price else None

    return revalued(account, mark, around.now_ns)


def _skewed(source: Source, now_ns: int) -> Refusal | None:
    ahead = source.ts_ns - now_ns
    if ahead <= MAX_SKEW_NS:
        return None
    text = "the command's time is ahead of now (ns)"
    return refuse(Code.CLOCK_SKEW, text, limit=MAX_SKEW_NS, actual=ahead)


def _fields(terms: OrderTerms, rules: Rules, around: Surroundings) -> FieldContext:
    return FieldContext(
        terms.symbol, rules.instrument, around.session, around.now_ns, around.shift_ns
    )


def _spent(account: RiskAccount, rules: Rules, refusal: Refusal | None, now_ns: int) -> int:
    """Return the tokens left after a command; one that was too fast takes none."""
    tokens = refilled(account, rules.limits.max_orders_per_s, rules.limits.rate_burst, now_ns)
    too_fast = refusal is not None and refusal.code == Code.ORDER_RATE.value
    return tokens if too_fast else max(0, tokens - NANO)


def judge_submit(
    command: Submit, source: Source, account: RiskAccount, rules: Rules, around: Surroundings
) -> tuple[RiskAccount, RiskOrder]:
    """Return the account and the order with its verdict."""
    terms = normalise(command)
    client_order_id = command.client_order_id or command.order_id
    content = trade_content(terms)
    account = valued(account, around)
    refusal = _skewed(source, around.now_ns) or check_fields(terms, _fields(terms, rules, around))
    context: RiskContext | None = None
    if refusal is None:
        context = context_for(
            terms,
            account,
            rules,
            around.price(terms.symbol),
            (around.now_ns, around.day),
            content,
            next(iter(around.crosses(account.account, terms)), None),
        )
        refusal = check_risk(context)
    approved = context is not None and refusal is None
    order = make(
        RiskOrder,
        account=command.account,
        order_id=command.order_id,
        client_order_id=client_order_id,
        strategy=command.strategy,
        content=full_content(terms, content, client_order_id, command.strategy),
        partition=source.partition,
        offset=source.offset,
        verdict="approved" if approved else "rejected",
        refusal=refusal,
        submitted=terms,
        position_qty=holding_of(account, terms.symbol).qty,
        rules_version=rules.version,
        ts_requested_ns=source.ts_ns,
        decided_ns=around.now_ns,
        symbol=terms.symbol,
        side=terms.side,
        terms=terms,
        reserve=reserve_for(context) if context is not None and approved else None,
        active=terms.type in (OrderType.MARKET, OrderType.LIMIT),
    )
    tokens = _spent(account, rules, refusal, around.now_ns)
    if context is None or not approved:
        return evolve(account, tokens=tokens, tokens_ns=around.now_ns), order
    window_ns = int(rules.limits.same_content_window_s * SECOND)
    return settle(
        account,
        order,
        context.reference,
        tokens=tokens,
        tokens_ns=around.now_ns,
        contents=with_content(account, content, around.now_ns, around.now_ns - window_ns),
    )


# --- cancel and replace -------------------------------------------------------------------------


def request_content(command: Cancel | Replace) -> str:
    """Return a hash of what a request asks for, its time and id left out: 16 hex digits."""
    if isinstance(command, Cancel):
        return "cancel"
    numbers = (
        command.qty,
        command.limit_price,
        command.stop_price,
        command.trail_price,
        command.trail_percent,
    )
    text = "|".join("" if each is None else f"{each.normalize():f}" for each in numbers)
    text += f"|{command.time_in_force.value if command.time_in_force else ''}"
    return blake2b(text.encode(), digest_size=8).hexdigest()


def request_id_of(command: Cancel | Replace) -> str:
    """Return the request's id: its own, else one that follows from what it asks for."""
    if command.request_id is not None:
        return command.request_id
    content = request_content(command)
    return content if isinstance(command, Cancel) else f"replace-{content}"


def _request(
    command: Cancel | Replace,
    request_id: str,
    source: Source,
    order: RiskOrder | None,
    rules: Rules,
    now_ns: int,
) -> RiskRequest:
    return make(
        RiskRequest,
        account=command.account,
        order_id=command.order_id,
        request_id=request_id,
        command=command.command,
        content=request_content(command),
        partition=source.partition,
        offset=source.offset,
        client_order_id=order.client_order_id if order else None,
        parent_order_id=order.parent_order_id if order else None,
        strategy=order.strategy if order else "",
        symbol=order.symbol if order else None,
        side=order.side if order else None,
        rules_version=rules.version,
        ts_requested_ns=source.ts_ns,
        decided_ns=now_ns,
    )


def unworkable(order: RiskOrder | None) -> Refusal | None:
    """Return why there is nothing to cancel or replace, or None."""
    if order is None or order.terms is None:
        return refuse(Code.UNKNOWN_ORDER, "no order of this id in the account")
    if order.verdict == "rejected":
        return refuse(Code.TOO_LATE, "the order was rejected", actual="rejected")
    if order.ended or (order.reserve is not None and not order.live):
        return refuse(Code.TOO_LATE, "the order is closed", actual="closed")
    return None


def judge_cancel(
    command: Cancel,
    request_id: str,
    source: Source,
    account: RiskAccount,
    order: RiskOrder | None,
    rules: Rules,
    now_ns: int,
) -> RiskRequest:
    """Return the answer to a cancel: it passes whenever there is something to cancel."""
    request = _request(command, request_id, source, order, rules, now_ns)
    refusal = unworkable(order)
    if refusal is not None or order is None:
        return evolve(request, refusal=refusal)
    position = holding_of(account, order.symbol).qty
    return evolve(request, terms=order.terms, revision=order.revision, position_qty=position)


def replaced_terms(command: Replace, terms: OrderTerms) -> OrderTerms:
    """Return the terms as a replace would make them."""
    names = ("qty", "limit_price", "stop_price", "trail_price", "trail_percent", "time_in_force")
    changes = {name: getattr(command, name) for name in names}
    given = {name: value for name, value in changes.items() if value is not None}
    if "trail_price" in given and "trail_percent" not in given:
        given["trail_percent"] = None
    if "trail_percent" in given and "trail_price" not in given:
        given["trail_price"] = None
    profit = terms.take_profit
    if terms.order_class is OrderClass.OCO and "limit_price" in given and profit:
        given["take_profit"] = evolve(profit, limit_price=given["limit_price"])
    return evolve(terms, **given)


def _replaceable(order: RiskOrder, old: OrderTerms, new: OrderTerms) -> Refusal | None:
    """Return what is wrong with a replace whatever its risk."""
    if new == old:
        return refuse(Code.NOTHING_TO_REPLACE, "the replace changes nothing")
    if old.notional is not None:
        text = "orders by notional cannot be replaced"
        return refuse(Code.REPLACE_NOT_ALLOWED, text, actual=old.notional)
    if order.legs and new.qty != old.qty:
        text = "the order was split in a close and an open; cancel it instead"
        return refuse(Code.REPLACE_NOT_ALLOWED, text, actual=new.qty)
    if new.qty is not None and new.qty <= order.done:
        text = "qty must be above what is filled"
        return refuse(Code.REPLACE_NOT_ALLOWED, text, limit=order.done, actual=new.qty)
    return None


def judge_replace(
    command: Replace,
    request_id: str,
    source: Source,
    account: RiskAccount,
    order: RiskOrder | None,
    parent: RiskOrder | None,
    rules: Rules,
    around: Surroundings,
) -> tuple[RiskAccount, RiskOrder | None, RiskRequest]:
    """Return account and order with the replace reserved, and the answer.

    The new terms are judged as an order of what is left to fill, in an account without what the
    order reserves now; until the venue answers, the worse of both is reserved.
    """
    request = _request(command, request_id, source, order, rules, around.now_ns)
    refusal = unworkable(order) or _skewed(source, around.now_ns)
    if refusal is not None or order is None or order.terms is None:
        return account, order, evolve(request, refusal=refusal)
    account = valued(account, around)
    old = order.pending[-1].terms if order.pending else order.terms
    new = replaced_terms(command, old)
    context = context_for(
        new,
        without(account, parent or order),
        rules,
        around.price(order.symbol),
        (around.now_ns, around.day),
        "",
        _crossing_others(order, new, around),
        order.done,
    )
    smaller = new.qty is not None and old.qty is not None and new.qty < old.qty
    shrinks = smaller and evolve(new, qty=old.qty) == old
    refusal = (
        _replaceable(order, old, new)
        or check_fields(new, _fields(new, rules, around))
        or check_risk(context, SHRINK_CHECKS if shrinks else CHECKS)
    )
    tokens = _spent(account, rules, refusal, around.now_ns)
    account = evolve(account, tokens=tokens, tokens_ns=around.now_ns)
    if refusal is not None:
        return account, order, evolve(request, refusal=refusal)
    revision = max(order.revision, order.approved_revision) + 1
    pending = make(
        PendingReplace,
        request_id=request_id,
        revision=revision,
        terms=new,
        reserve=reserve_for(context),
    )
    changed = evolve(order, pending=(*order.pending, pending), approved_revision=revision)
    account, settled = settle(account, changed, context.reference)
    position = holding_of(account, order.symbol).qty
    return (
        account,
        settled,
        evolve(request, terms=new, revision=revision, position_qty=position),
    )


def _crossing_others(order: RiskOrder, terms: OrderTerms, around: Surroundings) -> Crossing | None:
    family = {order.order_id, order.parent_order_id, *order.children}
    found = around.crosses(order.account, terms)
    return next((each for each in found if each.order_id not in family), None)
