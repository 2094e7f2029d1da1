"""What commands do when they take effect: a new order, a cancel, a replace."""

from streams.domain.build import evolve
from streams.domain.matching import checks
from streams.domain.matching.hours import Hours
from streams.domain.matching.ledger import Ledger
from streams.domain.matching.matcher import Matcher
from streams.domain.matching.orders import OpenOrder
from streams.domain.matching.records import PendingCommand
from streams.domain.matching.stops import set_trailing_stop
from streams.models.orders import EventType, OrderStatus


class Effects:
    """Lets commands take effect at the ledger's time."""

    def __init__(self, ledger: Ledger, hours: Hours, matcher: Matcher) -> None:
        self._ledger = ledger
        self._hours = hours
        self._matcher = matcher

    def apply(self, order: OpenOrder, command: PendingCommand | None) -> None:
        """Apply a command to an open order; None: the order itself, as new."""
        if not order.open:
            return
        if command is None:
            self._accept(order)
            return
        order.commands.remove(command)
        if command.command == "replace":
            self._replace(order, command)
        else:
            request = command.request_id
            self._matcher.executor.end(order, OrderStatus.CANCELED, request=request)

    def _accept(self, order: OpenOrder) -> None:
        order.status = OrderStatus.ACCEPTED
        order.expire_ns = self._hours.expiry(order.terms, self._ledger.clock_ns)
        self._ledger.touch(order)
        self._ledger.report(order, EventType.ACCEPTED)
        self._matcher.accept(order)

    def _replace(self, order: OpenOrder, command: PendingCommand) -> None:
        """Change an order: it keeps its id, loses its priority, and arrives anew.

        A quantity at or below what is filled becomes that, and the order is filled (FIX D11).
        """
        ledger, request = self._ledger, command.request_id
        ledger.touch(order)
        refusal = checks.replace_refusal(order.terms, command.terms)
        if refusal is not None:
            ledger.report_refused(order, command.command, request, refusal)
            return
        self._change_terms(order, command)
        ledger.report(order, EventType.REPLACED, request, request_id=request, terms=order.terms)
        if order.leaves <= 0:
            self._matcher.executor.end_as_filled(order)
        else:
            self._matcher.accept(order)

    def _change_terms(self, order: OpenOrder, command: PendingCommand) -> None:
        terms = command.terms
        qty = max(terms.qty or order.cum_qty, order.cum_qty)
        if order.pair and order.qty is not None:
            qty = min(qty, order.qty)  # what the other leg filled stays filled
        order.terms = evolve(terms, qty=qty)
        order.qty = qty
        order.revision = max(command.revision, order.revision + 1)
        order.expire_ns = self._hours.expiry(terms, self._ledger.clock_ns)
        order.arrival = self._ledger.next_seq()
        order.rested = False
        if order.hwm is not None:
            set_trailing_stop(order)
        elif not order.triggered:
            order.stop_px = terms.stop_price
