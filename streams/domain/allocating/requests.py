"""What a request does: new targets, a division among accounts, a cancel; and what is refused."""

from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b

from streams.domain.aging import Gone
from streams.domain.allocating.dividing import cancels_of, parts_of, step_of
from streams.domain.allocating.goals import Goals
from streams.domain.allocating.rows import Divided, Line, Request, line_key, part_key, request_key
from streams.domain.build import evolve, make
from streams.domain.decimals import ZERO, plain
from streams.models.allocations import AllocationCommand, CancelTargets, OrderFill, SetTargets


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request does nothing: a dead letter's code and text."""

    code: str
    text: str


Told = Refused | tuple[AllocationCommand, ...]


def content_of(request: SetTargets) -> str:
    """Return a hash of what a request asks for, its time left out."""
    text = request.model_dump_json(exclude={"ts_event_ns", "targets", "shares", "limit_prices"})
    for numbers in (request.targets, request.shares, request.limit_prices):
        text += "|" + ",".join(f"{name}={plain(numbers[name])}" for name in sorted(numbers))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def taken_up(goals: Goals, command: AllocationCommand, asked_ns: int, *, redelivered: bool) -> Told:
    """Take a request up; return the requests that follow from it, or why it is set aside."""
    found = goals.rows.get(request_key(command.account, command.allocation_id))
    if isinstance(command, CancelTargets):
        return _canceled(goals, command, found, redelivered=redelivered)
    content = content_of(command)
    if isinstance(found, Request | Gone):
        if found.content != content:
            text = f"allocation {command.allocation_id} exists with other content; it stands"
            return Refused("ALLOCATION_CONFLICT", text)
        return _repeated(goals, found) if isinstance(found, Request) and redelivered else ()
    return () if redelivered else _new(goals, command, content, asked_ns)


def _repeated(goals: Goals, request: Request) -> Told:
    """Tell again what a request that came again had led to."""
    goals.again[request_key(request.account, request.allocation_id)] = None
    for symbol in request.symbols:
        holding = goals.holding(request.account, request.strategy, symbol)
        if holding.allocation_id == request.allocation_id:
            goals.repeat(holding)
    return _parts(goals, request)


def _parts(goals: Goals, request: Request) -> tuple[SetTargets, ...]:
    """Return the requests of each account, as they were divided."""
    keys = (part_key(request.account, request.allocation_id, name) for name in request.parts)
    return tuple(row.request for key in keys if isinstance(row := goals.rows.get(key), Divided))


def _new(goals: Goals, command: SetTargets, content: str, asked_ns: int) -> Told:
    parts: tuple[SetTargets, ...] = ()
    if command.shares:
        parts = parts_of(command, {symbol: _step(goals, symbol) for symbol in command.targets})
    request = make(
        Request,
        allocation_id=command.allocation_id,
        account=command.account,
        strategy=command.strategy,
        parent_id=command.parent_id,
        content=content,
        symbols=() if parts else tuple(command.targets),
        parts=tuple(part.account for part in parts),
        ts_requested_ns=asked_ns,
    )
    key = request_key(command.account, command.allocation_id)
    goals.rows.put(key, request)
    goals.changed[key] = None
    for part in parts:
        place = part_key(command.account, command.allocation_id, part.account)
        goals.rows.put(place, make(Divided, request=part))
    for symbol in request.symbols:
        _set_target(goals, command, symbol)
    return parts


def _step(goals: Goals, symbol: str) -> Decimal:
    """Return the step that a total is divided in; whole shares where nothing is known."""
    instrument = goals.instrument(symbol)
    return step_of(instrument)[0] if instrument is not None else Decimal(1)


def _set_target(goals: Goals, command: SetTargets, symbol: str) -> None:
    holding = goals.holding(command.account, command.strategy, symbol)
    holding = goals.replaced(holding, command.allocation_id)
    shown = make(
        OrderFill,
        symbol=symbol,
        target_qty=plain(command.targets[symbol]),
        start_qty=plain(holding.qty),
        position_qty=plain(holding.qty),
        open_qty=ZERO,
        state="working",
    )
    line = make(
        Line,
        type=command.type,
        time_in_force=command.time_in_force,
        limit_price=command.limit_prices.get(symbol),
        shown=shown,
    )
    goals.rows.put(line_key(command.account, command.allocation_id, symbol), line)
    goals.settle(holding)


def _canceled(goals: Goals, command: CancelTargets, found: object, *, redelivered: bool) -> Told:
    if isinstance(found, Gone):
        return ()
    if not isinstance(found, Request):
        text = f"account {command.account} has no allocation {command.allocation_id}"
        return Refused("UNKNOWN_ALLOCATION", text)
    if redelivered:
        _repeated(goals, found)
    elif not found.canceled:
        goals.rows.put(
            request_key(found.account, found.allocation_id), evolve(found, canceled=True)
        )
        for symbol in found.symbols:
            _stop(goals, found, symbol)
    return cancels_of(_parts(goals, found))


def _stop(goals: Goals, request: Request, symbol: str) -> None:
    holding = goals.holding(request.account, request.strategy, symbol)
    line = goals.line(holding)
    if line is not None and holding.allocation_id == request.allocation_id:
        key = line_key(request.account, request.allocation_id, symbol)
        goals.rows.put(key, evolve(line, stop=True))
        goals.settle(goals.holding(request.account, request.strategy, symbol))
