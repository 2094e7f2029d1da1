"""Child orders: orders that an agent sends for somebody, and what became of each.

A child is one order. Its commands are kept until an event shows that the gate has them, so that
they can be told again after a crash: the validator knows a repetition by the id. How a child
stands follows from its events as the tracker's orders do (`order_state`), so events may come
twice and in another order.

A child is over when nothing more can be filled of it: it is filled, canceled, expired or
rejected, by the same rules; or somebody else's order has its id.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from streams.domain.build import evolve, make
from streams.domain.decimals import EXACT, ZERO
from streams.domain.executions import Contradiction, Execution
from streams.domain.order_state import OrderState, advance
from streams.domain.order_view import order_of
from streams.domain.refusals import Code, refuse
from streams.domain.validation import normalise
from streams.models.base import Part
from streams.models.orders import (
    TERMINAL,
    Cancel,
    EventType,
    OrderEvent,
    OrderStatus,
    OrderType,
    Refusal,
    Side,
    Submit,
    TimeInForce,
)

_VERDICTS = frozenset({EventType.APPROVED, EventType.REJECTED})
_CONFLICT = refuse(Code.CONFLICT, "another order has the id of this child")
_ABOUT_CANCELS = frozenset({EventType.PENDING_CANCEL, EventType.CANCEL_REJECTED})


class Child(Part):
    """One child order: what was asked, and what its events say.

    `heard`: an event of it came, so the gate has its command; `ours`: the gate judged this very
    order; `taken`: another order has the id.
    """

    kind: Literal["child"] = "child"
    submit: Submit
    heard: bool = False
    ours: bool = False
    cancels: int = 0
    cancel: Literal["", "asked", "heard", "refused"] = ""
    asked_ns: int = 0
    taken: Refusal | None = None
    order: OrderState | None = None
    executions: dict[str, Execution] = Field(default_factory=dict)

    @property
    def order_id(self) -> str:
        """Return the child's order id."""
        return self.submit.order_id

    @property
    def qty(self) -> Decimal:
        """Return the quantity that was asked for."""
        return self.submit.qty or ZERO

    @property
    def cum_qty(self) -> Decimal:
        """Return what was filled."""
        return self.order.cum_qty if self.order is not None else ZERO

    @property
    def cost(self) -> Decimal:
        """Return the sum of quantity times price of what was filled."""
        return self.order.cost if self.order is not None else ZERO


class _Known:
    """The executions of one child."""

    def __init__(self, known: Mapping[str, Execution]) -> None:
        self.all = dict(known)

    def get(self, exec_id: str) -> Execution | None:
        return self.all.get(exec_id)

    def put(self, execution: Execution) -> None:
        self.all[execution.exec_id] = execution


def spawn(
    order_id: str,
    account: str,
    symbol: str,
    qty: Decimal,
    *,
    limit_price: Decimal | None,
    kind: OrderType,
    time_in_force: TimeInForce = TimeInForce.DAY,
    strategy: str = "",
) -> Child:
    """Return a new child; `qty` is signed: above 0 buys."""
    return make(
        Child,
        submit=make(
            Submit,
            command="submit",
            order_id=order_id,
            account=account,
            symbol=symbol,
            side=Side.BUY if qty > 0 else Side.SELL,
            type=kind,
            qty=qty.copy_abs(),
            time_in_force=time_in_force,
            limit_price=limit_price,
            strategy=strategy,
        ),
    )


def heard(child: Child, event: OrderEvent) -> Child:
    """Return the child after one of its events; the very same object if it was known before."""
    update: dict[str, Any] = {}
    if not child.heard:
        update["heard"] = True
    if child.cancel in ("asked", "heard") and _is_answer(child, event):
        refused = event.event is EventType.CANCEL_REJECTED
        update["cancel"] = "refused" if refused else "heard"
    if _is_taken(child, event):
        update["taken"] = event.refusal or _CONFLICT
    elif event.event is EventType.DUPLICATE:
        if event.request_id == _request(child) and child.cancel == "asked":
            update["cancel"] = "heard"
    else:
        update["ours"] = child.ours or event.event in _VERDICTS
        known = _Known(child.executions)
        after = advance(child.order, event, known)
        if after is not child.order and not isinstance(after, Contradiction):
            update |= {"order": after, "executions": known.all}
    changed = {name: value for name, value in update.items() if getattr(child, name) != value}
    return evolve(child, **changed) if changed else child


def _is_answer(child: Child, event: OrderEvent) -> bool:
    """Say whether an event answers the newest cancel; a venue may not name what it refuses."""
    named = (event.request_id or "").partition("@")[0]  # the gate's mark of a new attempt
    if event.event is EventType.CANCEL_REJECTED and not named:
        return True
    return event.event in _ABOUT_CANCELS and named == _request(child)


def _is_taken(child: Child, event: OrderEvent) -> bool:
    """Say whether another order has the child's id; then the child never was.

    Once the gate has judged the child, whoever uses its id after that is the other one.
    """
    if child.ours:
        return False
    if event.event is EventType.APPROVED:
        return event.terms is not None and event.terms != normalise(child.submit)
    about_id = event.event is EventType.REJECTED or (
        event.event is EventType.DUPLICATE and event.request_id in (None, "submit")
    )
    return about_id and event.refusal is not None and event.refusal.code == Code.CONFLICT


def is_over(child: Child) -> bool:
    """Say whether nothing more can be filled of a child."""
    if child.taken is not None or child.cum_qty >= child.qty:
        return True
    order = order_of(child.order) if child.order is not None else None
    return order is not None and order.status in TERMINAL


def leaves(child: Child) -> Decimal:
    """Return the quantity that may still be filled."""
    return ZERO if is_over(child) else EXACT.subtract(child.qty, child.cum_qty)


def signed_leaves(child: Child) -> Decimal:
    """Return the same, below 0 for a sale."""
    rest = leaves(child)
    return rest if child.submit.side is Side.BUY else rest.copy_negate()


def refusal_of(child: Child) -> Refusal | None:
    """Return why a child was refused whole, or None."""
    if child.taken is not None:
        return child.taken
    order = order_of(child.order) if child.order is not None else None
    if order is None or order.status is not OrderStatus.REJECTED:
        return None
    return order.refusal or make(Refusal, code=Code.REJECTED, text="the broker gave no reason")


def canceled(child: Child, now_ns: int) -> Child:
    """Return the child with its cancel asked for, once more if one was refused."""
    if child.cancel in ("asked", "heard"):
        return child
    return evolve(child, cancel="asked", cancels=child.cancels + 1, asked_ns=now_ns)


def commands(child: Child) -> list[Submit | Cancel]:
    """Return what the gate has not been seen to have, a cancel last; the same each time."""
    told: list[Submit | Cancel] = [] if child.heard else [child.submit]
    if child.cancel == "asked":
        told.append(
            make(
                Cancel,
                command="cancel",
                order_id=child.order_id,
                account=child.submit.account,
                request_id=_request(child),
            )
        )
    return told


def _request(child: Child) -> str:
    return f"cancel-{child.cancels}"
