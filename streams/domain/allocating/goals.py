"""The way of each symbol to its target: one child at a time, canceled before the next one.

A child is sent only when no other of its holding (account, strategy, symbol) may still fill, and
never for more than the difference that is left; so a target is not over-shot. A child whose
position and rest no longer lead to the target (a new target, somebody else's fill, a bust) is
canceled, and what is then left goes out as the next one. A refusal ends the symbol. A child that
ends by itself and filled nothing is tried again; `MAX_VAIN` of them in a row end the symbol.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Literal

from streams.domain.allocating.dividing import rounded
from streams.domain.allocating.rows import (
    Holding,
    Line,
    Request,
    Rows,
    holding_key,
    line_key,
    request_key,
)
from streams.domain.build import evolve, make
from streams.domain.decimals import EXACT, ZERO, plain
from streams.domain.refusals import Code
from streams.domain.spawning import (
    Child,
    canceled,
    commands,
    is_over,
    refusal_of,
    signed_leaves,
    spawn,
)
from streams.models.allocations import Allocation, OrderFill
from streams.models.controls import Instrument
from streams.models.orders import Cancel, OrderType, Refusal, Submit

#: Children in a row that fill nothing and were not canceled by us.
MAX_VAIN = 3
#: A cancel that was refused is asked again after this long, if it is still wanted.
ASK_AGAIN_NS = 5_000_000_000
#: Newest children of a symbol that a progress record names: with 500 symbols it has to fit.
MAX_SHOWN = 8
#: Begins the ids of child orders: `al:<allocation>:<symbol>:<number>`.
PREFIX = "al:"

State = Literal["working", "done", "refused", "replaced", "canceled"]


def child_id(allocation_id: str, symbol: str, number: int) -> str:
    """Return the id of a symbol's child: 64 characters at most, up to 9,999,999 children."""
    return f"{PREFIX}{allocation_id}:{symbol.replace('/', '_')}:{number}"


def allocation_of(order_id: str) -> tuple[str, str] | None:
    """Return allocation and symbol of a child's id; None for another id."""
    parts = order_id[len(PREFIX) :].rsplit(":", 2)
    if not order_id.startswith(PREFIX) or len(parts) != 3:
        return None
    return parts[0], parts[1].replace("_", "/")


class Goals:
    """The targets of one partition's unit of work; collects what is to be told at its end."""

    def __init__(self, rows: Rows, instrument: Callable[[str], Instrument | None]) -> None:
        self.rows = rows
        self.instrument = instrument
        self.commands: list[Submit | Cancel] = []
        #: Keys of requests that changed, and of those that are only told again.
        self.changed: dict[str, None] = {}
        self.again: dict[str, None] = {}

    def holding(self, account: str, strategy: str, symbol: str) -> Holding:
        """Return a position; flat if it never was."""
        found = self.rows.get(holding_key(account, strategy, symbol))
        if isinstance(found, Holding):
            return found
        return make(Holding, account=account, strategy=strategy, symbol=symbol)

    def line(self, holding: Holding) -> Line | None:
        """Return the target that a position is on its way to."""
        if not holding.allocation_id:
            return None
        key = line_key(holding.account, holding.allocation_id, holding.symbol)
        found = self.rows.get(key)
        return found if isinstance(found, Line) else None

    def settle(self, holding: Holding) -> None:
        """Bring a position a step nearer to its target, and keep it."""
        line = self.line(holding)
        child = holding.child
        if child is not None and is_over(child):
            holding, line = self._closed(holding, line, child)
        if line is not None:
            holding, line = self._stepped(holding, line)
            self._show(holding, line)
            if line.shown.state != "working":
                holding = evolve(holding, allocation_id="", vain=0)
        live = bool(holding.allocation_id) or holding.child is not None
        key = holding_key(holding.account, holding.strategy, holding.symbol)
        self.rows.put(key, evolve(holding, live=live))

    def _closed(
        self, holding: Holding, line: Line | None, child: Child
    ) -> tuple[Holding, Line | None]:
        """Take leave of a child that is over."""
        own = allocation_of(child.order_id) == (holding.allocation_id, holding.symbol)
        vain = holding.vain
        if child.cum_qty > 0:
            vain = 0
        elif own and not child.cancels:
            vain += 1
        if line is not None and own:
            refusal = refusal_of(child)
            if refusal is None and vain >= MAX_VAIN:
                text = f"{vain} orders in a row ended and filled nothing"
                refusal = make(Refusal, code=Code.UNFILLED, text=text)
            if refusal is not None:
                line = _ended(line, "refused", refusal)
        return evolve(holding, child=None, vain=vain), line

    def _stepped(self, holding: Holding, line: Line) -> tuple[Holding, Line]:
        """Send, cancel or end: what a target asks for now."""
        child, target = holding.child, line.shown.target_qty
        if line.shown.state != "working":
            return holding, line
        if child is None:
            left = rounded(EXACT.subtract(target, holding.qty), self.instrument(holding.symbol))
            if not left:
                return holding, _ended(line, "done")
            if line.stop:
                return holding, _ended(line, "canceled")
            return self._sent(holding, line, left)
        own = allocation_of(child.order_id) == (holding.allocation_id, holding.symbol)
        ends = EXACT.add(holding.qty, signed_leaves(child))
        off = rounded(EXACT.subtract(target, ends), self.instrument(holding.symbol))
        if (line.stop or off or not own) and not child.cancel:
            child = canceled(child, self.rows.now_ns)
            self.commands += commands(child)[-1:]
            holding = evolve(holding, child=child)
        return holding, line

    def _sent(self, holding: Holding, line: Line, left: Decimal) -> tuple[Holding, Line]:
        number = line.sent + 1
        child = spawn(
            child_id(holding.allocation_id, holding.symbol, number),
            holding.account,
            holding.symbol,
            left,
            limit_price=line.limit_price if line.type is OrderType.LIMIT else None,
            kind=line.type,
            time_in_force=line.time_in_force,
            strategy=holding.strategy,
        )
        self.commands += commands(child)
        shown = evolve(
            line.shown, order_ids=(*line.shown.order_ids[1 - MAX_SHOWN :], child.order_id)
        )
        return evolve(holding, child=child), evolve(line, sent=number, shown=shown)

    def _show(self, holding: Holding, line: Line) -> None:
        """Keep a line with its position; note its allocation if that changed anything."""
        child = holding.child if line.shown.state == "working" else None
        open_qty = signed_leaves(child) if child is not None else ZERO
        shown = evolve(line.shown, position_qty=plain(holding.qty), open_qty=plain(open_qty))
        key = line_key(holding.account, holding.allocation_id, holding.symbol)
        line = evolve(line, shown=shown)
        if self.rows.get(key) != line:
            self.rows.put(key, line)
            self.changed[request_key(holding.account, holding.allocation_id)] = None

    def replaced(self, holding: Holding, by: str) -> Holding:
        """End the target that a position was on its way to, and have it follow another."""
        line = self.line(holding)
        if line is not None:
            self._show(holding, _ended(line, "replaced"))
        return evolve(holding, allocation_id=by, vain=0)

    def repeat(self, holding: Holding) -> None:
        """Tell again of a position what the gate may not have heard."""
        if holding.child is not None:
            self.commands += commands(holding.child)
        if holding.allocation_id:
            self.again[request_key(holding.account, holding.allocation_id)] = None

    def ask_again(self, holding: Holding) -> bool:
        """Ask once more for a cancel that was refused a while ago; say if it is to wait yet."""
        child = holding.child
        if child is None or child.cancel != "refused":
            return False
        if self.rows.now_ns - child.asked_ns < ASK_AGAIN_NS:
            return True
        self.settle(evolve(holding, child=evolve(child, cancel="")))
        return False

    def updates(self) -> list[Allocation]:
        """Return the allocations to be told: the changed ones with their next version, kept."""
        found: list[Allocation] = []
        for key in self.changed | self.again:
            request = self.rows.get(key)
            if not isinstance(request, Request):
                continue
            if key in self.changed:
                version = request.version + 1
                request = evolve(request, version=version, ts_updated_ns=self.rows.now_ns)
                self.rows.put(key, request)
            found.append(allocation_from(self.rows, request))
        return found


def _ended(line: Line, state: State, refusal: Refusal | None = None) -> Line:
    code, text = (refusal.code, refusal.text) if refusal else ("", "")
    shown = evolve(line.shown, state=state, refusal_code=code, refusal_text=text)
    return evolve(line, shown=shown)


def allocation_from(rows: Rows, request: Request) -> Allocation:
    """Return an allocation as it stands."""
    keys = (line_key(request.account, request.allocation_id, one) for one in request.symbols)
    lines = [row.shown for key in keys if isinstance(row := rows.get(key), Line)]
    return make(
        Allocation,
        allocation_id=request.allocation_id,
        account=request.account,
        strategy=request.strategy,
        parent_id=request.parent_id,
        status="divided" if request.parts else _status(lines),
        version=request.version,
        order_fill=tuple(lines),
        ts_requested_ns=request.ts_requested_ns,
        ts_updated_ns=request.ts_updated_ns,
    )


def _status(lines: list[OrderFill]) -> str:
    """Return the status of all symbols together."""
    states = {line.state for line in lines}
    if "working" in states:
        return "working"
    if "refused" in states:
        return "refused" if states == {"refused"} else "partly_refused"
    return next((one for one in ("canceled", "replaced") if one in states), "done")
