"""What one comparison of a broker with us found, as records.

The id of a difference follows from what differs, so the same difference has the same id in each
comparison; that of a comparison from when it began.
"""

from decimal import Decimal

from streams.domain.build import make
from streams.domain.decimals import plain
from streams.domain.matching.ledger import long_id
from streams.domain.sending import Sending, waiting
from streams.models.orders import EventType, OrderEvent
from streams.models.reconciliation import Finding, Reconciliation

#: What changed so shortly before a comparison may be on its way to one of the two.
QUIET_NS = 2_000_000_000


class Comparison:
    """One comparison of one partition's accounts, while it is made."""

    def __init__(self, broker: str, partition: int, started_ns: int, now_ns: int) -> None:
        self.broker = broker
        self.partition = partition
        self.run_id = f"{broker}:{partition}:{started_ns:020d}"
        self.orders = self.positions = 0
        self.found: list[Reconciliation] = []
        self._started_ns = started_ns
        self._now_ns = now_ns

    def is_quiet(self, state: Sending) -> bool:
        """Say whether an order can be compared: nothing of it is on its way."""
        return self.is_old(state.ts_updated_ns) and not any(waiting(state))

    def is_old(self, ts_ns: int) -> bool:
        """Say whether a change is so old that both must know it."""
        return ts_ns < self._started_ns - QUIET_NS

    def mended(self, events: tuple[OrderEvent, ...]) -> None:
        """Note what was published because the broker has it and we had not."""
        for event in events:
            if event.fill is not None:
                theirs = f"{plain(event.fill.last_qty)} at {plain(event.fill.last_px)}"
                self._differs("missing_fill", event, theirs=theirs, key=event.fill.exec_id)
            elif event.event is not EventType.ACCEPTED:
                self._differs("over_at_broker", event, ours="open", theirs=event.event.value)

    def missing_order(self, state: Sending) -> None:
        """Note an order that works here and that the broker does not have."""
        order = state.order
        self._add(
            "missing_order",
            order.client_order_id,
            account=order.account,
            symbol=order.terms.symbol,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            ours="open",
            theirs="unknown",
        )

    def stated_otherwise(self, finding: Finding, **fields: str) -> None:
        """Note an order that a venue states otherwise; nothing is mended by that."""
        what = (fields["client_order_id"], fields["ours"], fields["theirs"])
        self._add(finding, ":".join(what), **fields)

    def unknown_order(self, account: str, symbol: str, client_order_id: str) -> None:
        """Note an order at the broker that did not come from here."""
        known = {one.reconciliation_id for one in self.found}
        said = {"account": account, "symbol": symbol, "client_order_id": client_order_id}
        new = self._made("unknown_order", client_order_id, **said, ours="unknown", theirs="there")
        if new.reconciliation_id not in known:
            self.found.append(new)

    def position(self, account: str, symbol: str, ours: Decimal, theirs: Decimal) -> None:
        """Compare a position."""
        self.positions += 1
        if ours != theirs:
            mine, other = f"{plain(ours)}", f"{plain(theirs)}"
            self._add(
                "position",
                f"{account}:{symbol}:{mine}:{other}",
                account=account,
                symbol=symbol,
                ours=mine,
                theirs=other,
            )

    def records(self) -> list[Reconciliation]:
        """Return what was found, and the summary."""
        summary = self._made(
            "summary",
            self.run_id,
            orders=self.orders,
            positions=self.positions,
            differences=len(self.found),
            unmended=sum(not one.mended for one in self.found),
        )
        return [*self.found, summary]

    def _differs(
        self, finding: Finding, event: OrderEvent, *, theirs: str, ours: str = "", key: str = ""
    ) -> None:
        self._add(
            finding,
            f"{event.client_order_id}:{key}",
            account=event.account,
            symbol=event.symbol or "",
            order_id=event.order_id,
            client_order_id=event.client_order_id or "",
            ours=ours,
            theirs=theirs,
            mended=True,
        )

    def _add(self, finding: Finding, what: str, **fields: object) -> None:
        self.found.append(self._made(finding, what, **fields))

    def _made(self, finding: Finding, what: str, **fields: object) -> Reconciliation:
        return make(
            Reconciliation,
            finding=finding,
            reconciliation_id=long_id(self.broker, finding, what),
            run_id=self.run_id,
            broker=self.broker,
            partition=self.partition,
            ts_event_ns=self._now_ns,
            **fields,
        )
