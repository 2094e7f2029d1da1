"""What the validator says, made of verdicts alone: the same verdict gives the same messages."""

from streams.domain.build import make
from streams.domain.exposure_events import OWN
from streams.domain.exposure_models import RiskOrder, RiskRequest
from streams.domain.refusals import Code, refuse
from streams.models.orders import (
    ApprovedOrder,
    Cancel,
    EventType,
    OrderEvent,
    Refusal,
    Replace,
    Submit,
)

_UNDER_WAY = {"cancel": EventType.PENDING_CANCEL, "replace": EventType.PENDING_REPLACE}
_REFUSED = {"cancel": EventType.CANCEL_REJECTED, "replace": EventType.REPLACE_REJECTED}


def approved_submit(order: RiskOrder) -> ApprovedOrder:
    """Return what the router gets of an approved order: the terms as they were judged."""
    return make(
        ApprovedOrder,
        command="submit",
        order_id=order.order_id,
        account=order.account,
        client_order_id=order.client_order_id,
        strategy=order.strategy,
        request_id="submit",
        terms=order.submitted,
        position_qty=order.position_qty,
        rules_version=order.rules_version,
        ts_requested_ns=order.ts_requested_ns,
        ts_event_ns=order.decided_ns,
    )


def submit_event(order: RiskOrder) -> OrderEvent:
    """Return the event of an order's verdict: approved or rejected."""
    event = EventType.APPROVED if order.verdict == "approved" else EventType.REJECTED
    return make(
        OrderEvent,
        event_id=f"{OWN}{order.account}|{order.order_id}|{event}",
        event=event,
        order_id=order.order_id,
        account=order.account,
        symbol=order.symbol,
        client_order_id=order.client_order_id,
        strategy=order.strategy,
        terms=order.submitted,
        refusal=order.refusal,
        side=order.side,
        ts_requested_ns=order.ts_requested_ns,
        ts_event_ns=order.decided_ns,
        ts_init_ns=order.decided_ns,
    )


def approved_request(request: RiskRequest) -> ApprovedOrder:
    """Return what the router gets of a cancel or replace that passed."""
    return make(
        ApprovedOrder,
        command=request.command,
        order_id=request.order_id,
        account=request.account,
        client_order_id=request.client_order_id or request.order_id,
        parent_order_id=request.parent_order_id,
        strategy=request.strategy,
        request_id=request.request_id,
        terms=request.terms,
        revision=request.revision,
        position_qty=request.position_qty,
        rules_version=request.rules_version,
        ts_requested_ns=request.ts_requested_ns,
        ts_event_ns=request.decided_ns,
    )


def request_event(request: RiskRequest) -> OrderEvent:
    """Return the event of a request's verdict: pending_* or *_rejected.

    A refused request's id ends with its offset: the same request may be refused again.
    """
    kinds = _UNDER_WAY if request.refusal is None else _REFUSED
    name = f"{OWN}{request.account}|{request.order_id}|{request.request_id}"
    if request.refusal is not None:
        name += f"|{request.partition}-{request.offset}"
    return make(
        OrderEvent,
        event_id=f"{name}|{kinds[request.command].value}",
        event=kinds[request.command],
        order_id=request.order_id,
        account=request.account,
        symbol=request.symbol,
        client_order_id=request.client_order_id,
        strategy=request.strategy,
        request_id=request.request_id,
        revision=request.revision,
        refusal=request.refusal,
        side=request.side,
        ts_requested_ns=request.ts_requested_ns,
        ts_event_ns=request.decided_ns,
        ts_init_ns=request.decided_ns,
    )


def repeated_event(
    command: Submit | Cancel | Replace,
    request_id: str | None,
    same: bool,
    source: tuple[int, int],
    times: tuple[int, int],
) -> OrderEvent:
    """Return the event of a command whose id is taken: `duplicate`, with a refusal if it differs.

    It names the order but never changes it: the first one stands. `source` is partition and
    offset, `times` when it was requested and now.
    """
    partition, offset = source
    event_id = f"{OWN}{command.account}|{command.order_id}|duplicate|{partition}-{offset}"
    return make(
        OrderEvent,
        event_id=event_id,
        event=EventType.DUPLICATE,
        order_id=command.order_id,
        account=command.account,
        symbol=command.symbol if isinstance(command, Submit) else None,
        request_id=request_id,
        refusal=None if same else _conflict(command, request_id),
        side=command.side if isinstance(command, Submit) else None,
        ts_requested_ns=times[0],
        ts_event_ns=times[1],
        ts_init_ns=times[1],
    )


def _conflict(command: Submit | Cancel | Replace, request_id: str | None) -> Refusal:
    what = f"request {request_id}" if request_id else f"order {command.order_id}"
    text = f"{what} exists with other content; the first one stands"
    return refuse(Code.CONFLICT, text, actual=request_id or command.order_id)
