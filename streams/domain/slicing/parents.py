"""A parent's way: one child at a time, canceled at its slice's end, the rest in the next one.

What is filled and open of all children is never more than the parent's quantity. A child that is
refused, or ends unfilled, gives its quantity back; `MAX_REFUSED` refusals in a row reject the
parent with the last reason. The sums follow from the children's events, late ones included; the
status of a parent that is over stays.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from streams.domain.allocating.dividing import rounded, step_of
from streams.domain.allocating.rows import Rows
from streams.domain.build import evolve, filled, template
from streams.domain.decimals import EXACT, ZERO, plain, ratio
from streams.domain.slicing.rows import OVER, Parent, child_id, child_key, parent_key
from streams.domain.slicing.schedule import due_by_time, due_by_volume, interval_ns, slice_at
from streams.domain.spawning import (
    Child,
    canceled,
    commands,
    heard,
    is_over,
    leaves,
    refusal_of,
    spawn,
)
from streams.models.controls import Instrument
from streams.models.market import LastPrice
from streams.models.orders import Cancel, OrderEvent, OrderType, Side, Submit
from streams.models.slices import SlicedOrder, StartTwap

#: Children refused in a row, after which the parent is rejected.
MAX_REFUSED = 3
#: A cancel that was refused is asked again after this long.
ASK_AGAIN_NS = 5_000_000_000


class Parents:
    """The parents of one partition's unit of work; collects what is to be told at its end."""

    def __init__(
        self,
        rows: Rows,
        instrument: Callable[[str], Instrument | None],
        price: Callable[[str], LastPrice | None],
    ) -> None:
        self.rows = rows
        self._instrument = instrument
        self._price = price
        self.commands: list[Submit | Cancel] = []
        #: Keys of parents that changed, and of those that are only told again.
        self.changed: dict[str, None] = {}
        self.again: dict[str, None] = {}

    def begin(self, parent: Parent) -> None:
        """Take up a new parent."""
        start = parent.start
        step, _ = step_of(self._instrument(start.symbol))
        if start.end_ns <= parent.start_ns:
            text = "end_ns is not after the start"
            parent = evolve(parent, status="rejected", live=False, text=text)
        elif EXACT.remainder(start.qty, step):
            text = f"qty {start.qty} is no multiple of the lot {step}"
            parent = evolve(parent, status="rejected", live=False, text=text)
        self.keep(parent)
        self.act(parent)

    def keep(self, parent: Parent, *, silent: bool = False) -> Parent:
        """Store a parent; it is told unless what changed is of no interest to others."""
        key = parent_key(parent.start.account, parent.start.parent_id)
        self.rows.put(key, parent)
        if not silent:
            self.changed[key] = None
        return parent

    def act(self, parent: Parent) -> None:
        """Do what is to be done now."""
        now_ns = self.rows.now_ns
        if parent.status in OVER or (now_ns < parent.start_ns and not parent.stop):
            return
        if parent.status == "pending" and not parent.stop:
            parent = self.keep(evolve(parent, status="working"))
        parent = self._counted(parent)
        due = self._due(parent)
        ends = parent.stop or now_ns >= parent.start.end_ns
        if parent.open_id:
            if ends or self._slice_is_over(parent, due):
                self._cancel(parent)
        elif parent.cum_qty >= parent.start.qty:
            self._end(parent, "filled")
        elif ends:
            self._end(parent, "canceled" if parent.stop else "expired")
        elif parent.refused >= MAX_REFUSED:
            self._end(parent, "rejected")
        elif due > 0 and self._slice_is_new(parent):
            self._send(parent, due)

    def _counted(self, parent: Parent) -> Parent:
        """Return the parent with the market's volume; what was counted elsewhere starts anew."""
        price = self._price(parent.start.symbol)
        if isinstance(parent.start, StartTwap) or price is None or price.volume is None:
            return parent
        volume, since_ns = price.volume, price.volume_since_ns
        if (since_ns, volume) == (parent.since_ns, parent.seen_volume):
            return parent
        more = EXACT.subtract(volume, parent.seen_volume) if since_ns == parent.since_ns else ZERO
        counted = EXACT.add(parent.market_volume, max(more, ZERO))
        update = {"since_ns": since_ns, "seen_volume": volume, "market_volume": counted}
        return self.keep(evolve(parent, **update), silent=True)

    def _due(self, parent: Parent) -> Decimal:
        """Return what the slice of this moment may send, as if nothing were open."""
        start, instrument = parent.start, self._instrument(parent.start.symbol)
        step, _ = step_of(instrument)
        if isinstance(start, StartTwap):
            number = slice_at(start, parent.start_ns, self.rows.now_ns)
            whole = due_by_time(start, parent.start_ns, number, step)
        else:
            whole = due_by_volume(start, parent.market_volume, step)
        due = rounded(EXACT.subtract(whole, parent.cum_qty), instrument)
        if isinstance(start, StartTwap) or whole == start.qty or due >= start.min_slice_qty:
            return due
        return ZERO

    def _slice_is_new(self, parent: Parent) -> bool:
        """Say whether the newest slice is not the one whose time it is."""
        start, now_ns = parent.start, self.rows.now_ns
        if isinstance(start, StartTwap):
            return slice_at(start, parent.start_ns, now_ns) > parent.sliced
        return parent.sliced < 0 or now_ns - parent.sliced_ns >= interval_ns(start)

    def _slice_is_over(self, parent: Parent, due: Decimal) -> bool:
        """Say whether an open child gives way: its time is over, and there is more to send."""
        if isinstance(parent.start, StartTwap):
            return self._slice_is_new(parent)
        return self._slice_is_new(parent) and due > parent.open_qty

    def _send(self, parent: Parent, qty: Decimal) -> None:
        start, number = parent.start, parent.children + 1
        child = spawn(
            child_id(start.parent_id, number),
            start.account,
            start.symbol,
            qty if start.side is Side.BUY else qty.copy_negate(),
            limit_price=start.limit_price,
            kind=OrderType.MARKET if start.limit_price is None else OrderType.LIMIT,
            strategy=start.strategy,
        )
        self.rows.put(child_key(start.account, child.order_id), child)
        self.commands += commands(child)
        now_ns, sliced = self.rows.now_ns, parent.children
        if isinstance(start, StartTwap):
            sliced = slice_at(start, parent.start_ns, now_ns)
        update = {"children": number, "open_id": child.order_id, "open_qty": qty}
        self.keep(evolve(parent, **update, sliced=sliced, sliced_ns=now_ns))

    def _cancel(self, parent: Parent) -> None:
        child = self.child(parent, parent.open_id)
        if child is None or child.cancel in ("asked", "heard"):
            return
        if child.cancel == "refused" and self.rows.now_ns - child.asked_ns < ASK_AGAIN_NS:
            return
        child = canceled(child, self.rows.now_ns)
        self.rows.put(child_key(parent.start.account, child.order_id), child)
        self.commands += commands(child)[-1:]

    def _end(self, parent: Parent, status: str) -> None:
        self.keep(evolve(parent, status=status, live=False))

    def child(self, parent: Parent, order_id: str) -> Child | None:
        """Return a child of a parent."""
        found = self.rows.get(child_key(parent.start.account, order_id))
        return found if isinstance(found, Child) else None

    def happened(self, parent: Parent, event: OrderEvent) -> None:
        """Take up an event of a child."""
        before = self.child(parent, event.order_id)
        after = heard(before, event) if before is not None else None
        if before is None or after is None or after is before:
            return
        self.rows.put(child_key(event.account, event.order_id), after)
        update: dict[str, Any] = {}
        if after.cum_qty != before.cum_qty or after.cost != before.cost:
            more = EXACT.subtract(after.cum_qty, before.cum_qty)
            cost = EXACT.subtract(after.cost, before.cost)
            update["cum_qty"] = EXACT.add(parent.cum_qty, more)
            update["cost"] = EXACT.add(parent.cost, cost)
        if parent.open_id == event.order_id:
            update["open_qty"] = leaves(after)
            if is_over(after):
                update |= {"open_id": "", **_refused(parent, after)}
        changed = {name: one for name, one in update.items() if getattr(parent, name) != one}
        if changed:
            parent = self.keep(evolve(parent, **changed))
        self.act(parent)

    def repeat(self, parent: Parent) -> None:
        """Tell again of a parent what the gate may not have heard."""
        child = self.child(parent, parent.open_id) if parent.open_id else None
        if child is not None:
            self.commands += commands(child)
        self.again[parent_key(parent.start.account, parent.start.parent_id)] = None

    def updates(self) -> list[SlicedOrder]:
        """Return the parents to be told: the changed ones with their next version, kept."""
        found: list[SlicedOrder] = []
        for key in self.changed | self.again:
            parent = self.rows.get(key)
            if not isinstance(parent, Parent):
                continue
            if key in self.changed:
                version = parent.version + 1
                parent = evolve(parent, version=version, ts_updated_ns=self.rows.now_ns)
                self.rows.put(key, parent)
            found.append(sliced_from(parent))
        return found


def _refused(parent: Parent, child: Child) -> dict[str, Any]:
    """Return what the end of a child means for the refusals in a row."""
    refusal = refusal_of(child)
    if refusal is None:
        return {"refused": 0}
    text = f"{child.order_id}: {refusal.code}: {refusal.text}"
    return {"refused": parent.refused + 1, "text": text}


def sliced_from(parent: Parent) -> SlicedOrder:
    """Return a sliced order as it stands."""
    start, cum = parent.start, parent.cum_qty
    rest = EXACT.subtract(start.qty, cum)
    values: dict[str, Any] = {
        "parent_id": start.parent_id,
        "account": start.account,
        "symbol": start.symbol,
        "side": start.side,
        "kind": start.command,
        "qty": start.qty,
        "status": parent.status,
        "version": max(parent.version, 1),
        "sent_qty": plain(EXACT.add(cum, parent.open_qty)),
        "cum_qty": plain(cum),
        "avg_px": plain(ratio(parent.cost, cum)) if cum > 0 else None,
        "leaves_qty": plain(rest) if parent.status not in OVER and rest > 0 else ZERO,
        "children": parent.children,
        "market_volume": plain(parent.market_volume),
        "text": parent.text,
        "start_ns": parent.start_ns,
        "end_ns": start.end_ns,
        "ts_updated_ns": parent.ts_updated_ns,
    }
    return filled(SlicedOrder, {**template(SlicedOrder), **values})
