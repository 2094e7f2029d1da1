"""Compares what a venue of our own states with the orders as they are tracked.

Statements and events come on two topics, so one may be ahead of the other. A difference counts
when two statements in a row have it, unchanged on both sides, and neither was read late. Each
order is in two statements at least, also one that closes at once.
"""

from collections.abc import Callable
from typing import NamedTuple

from streams.domain.decimals import plain
from streams.domain.order_state import OrderState
from streams.domain.reconciling import Comparison
from streams.models.reconciliation import Finding, Reconciliation
from streams.models.statements import StatedOrder, Statement

#: A statement that was read so late is passed over: what it is compared with is as late.
LATE_NS = 20_000_000_000


class _Suspect(NamedTuple):
    """How an order differed, and in the statement of which time."""

    finding: Finding
    ours: str
    theirs: str
    ts_ns: int


class Audit:
    """The comparison of one partition's accounts with one venue; memory alone, begun anew."""

    def __init__(self, broker: str, partition: int, every_ns: int) -> None:
        self._broker = broker
        self._partition = partition
        self._every_ns = every_ns
        self._run: Comparison | None = None
        self._began_ns = 0
        self._suspects: dict[str, _Suspect] = {}

    def take(
        self, statement: Statement, find: Callable[[str, str], OrderState | None], now_ns: int
    ) -> None:
        """Compare a statement; `find` returns an order of an account, None if it left."""
        if now_ns - statement.ts_event_ns > LATE_NS:
            return
        if self._run is None:
            self._run = Comparison(self._broker, self._partition, now_ns, now_ns)
            self._began_ns = now_ns
        for stated in statement.orders:
            self._run.orders += 1
            self._compare(self._run, statement, stated, find(statement.account, stated.order_id))

    def close(self, now_ns: int) -> list[Reconciliation]:
        """Return what was found and the summary, once the comparison has gone on for `every_ns`."""
        if self._run is None or now_ns - self._began_ns < self._every_ns:
            return []
        run, self._run = self._run, None
        old_ns = now_ns - 3 * self._every_ns
        self._suspects = {name: one for name, one in self._suspects.items() if one.ts_ns > old_ns}
        return run.records()

    def _compare(
        self, run: Comparison, statement: Statement, stated: StatedOrder, ours: OrderState | None
    ) -> None:
        name = stated.client_order_id
        found = _difference(stated, ours)
        before = self._suspects.pop(name, None)
        if found is None:
            return
        self._suspects[name] = _Suspect(*found, statement.ts_event_ns)
        if before is None or before[:3] != found or before.ts_ns == statement.ts_event_ns:
            return
        run.stated_otherwise(
            found[0],
            account=statement.account,
            symbol=statement.symbol,
            order_id=stated.order_id,
            client_order_id=name,
            ours=found[1],
            theirs=found[2],
        )


def _difference(stated: StatedOrder, ours: OrderState | None) -> tuple[Finding, str, str] | None:
    """Return how an order differs: what it is, ours, theirs."""
    legs = ours.legs if ours is not None else ()
    leg = next((one for one in legs if one.client_order_id == stated.client_order_id), None)
    if leg is None:
        return "unknown_order", "unknown", stated.state
    if leg.cum_qty != stated.cum_qty:
        finding: Finding = "missing_fill" if leg.cum_qty < stated.cum_qty else "extra_fill"
        return finding, str(plain(leg.cum_qty)), str(plain(stated.cum_qty))
    if leg.outcome is not None and stated.state == "open":
        return "open_at_broker", leg.outcome.value, "open"
    if not leg.done and stated.state == "closed":
        return "over_at_broker", "open", "closed"
    return None
