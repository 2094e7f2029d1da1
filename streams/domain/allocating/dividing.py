"""Rounding to what can be traded, and division of a total among accounts.

Rounding   A difference is rounded toward zero to the instrument's step: its `lot_size`, for
           equities that are `fractionable` nine places. What is then below `min_qty` is nothing.
           So a child never makes more than was asked, and what is left is less than a step.
Division   In whole steps by largest remainder: each account gets its share rounded toward zero,
           and the steps that are left go one by one to the accounts whose shares lost most; of
           equal ones to the first by name. What the total has beyond whole steps goes to the
           next in that line. The parts add up to the total, always.
"""

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from hashlib import blake2b

from streams.domain.decimals import EXACT, NINTH, ZERO, plain, total
from streams.models.allocations import CancelTargets, SetTargets
from streams.models.controls import Instrument


def step_of(instrument: Instrument | None) -> tuple[Decimal, Decimal]:
    """Return the step of quantities and the least one; nine places where nothing is known."""
    if instrument is None:
        return NINTH, ZERO
    if instrument.fractionable and instrument.asset_class == "us_equity":
        return NINTH, ZERO
    return instrument.lot_size, instrument.min_qty


def rounded(qty: Decimal, instrument: Instrument | None) -> Decimal:
    """Return a signed quantity as it can be traded: toward zero."""
    step, least = step_of(instrument)
    steps = EXACT.divide(qty, step).to_integral_value(ROUND_DOWN)
    found = EXACT.multiply(steps, step)
    return plain(found) if found.copy_abs() >= least else ZERO


def divided(qty: Decimal, weights: Mapping[str, Decimal], step: Decimal) -> dict[str, Decimal]:
    """Return each account's part of a signed total."""
    size, weight = qty.copy_abs(), total(weights.values())
    steps = EXACT.divide_int(size, step)
    odd = EXACT.subtract(size, EXACT.multiply(steps, step))
    parts: dict[str, Decimal] = {}
    lost: dict[str, Decimal] = {}
    for name in weights:
        share = EXACT.multiply(steps, weights[name])
        parts[name] = EXACT.divide_int(share, weight)
        lost[name] = EXACT.subtract(share, EXACT.multiply(parts[name], weight))
    line = sorted(weights, key=lambda name: (-lost[name], name))
    over = int(EXACT.subtract(steps, total(parts.values())))
    sized = {
        name: EXACT.multiply(EXACT.add(parts[name], Decimal(int(place < over))), step)
        for place, name in enumerate(line)
    }
    sized[line[over % len(line)]] = EXACT.add(sized[line[over % len(line)]], odd)
    return {name: plain(sized[name] if qty > 0 else sized[name].copy_negate()) for name in weights}


def part_id(account: str, allocation_id: str) -> str:
    """Return the id of a request's parts: at most 32 characters, another for each request."""
    digest = blake2b(f"{account}|{allocation_id}".encode(), digest_size=8).hexdigest()
    return f"{allocation_id[:15]}.{digest}"


def parts_of(request: SetTargets, steps: Mapping[str, Decimal]) -> tuple[SetTargets, ...]:
    """Return the request of each account; `steps` by symbol."""
    by_symbol = {
        symbol: divided(qty, request.shares, steps[symbol])
        for symbol, qty in request.targets.items()
    }
    return tuple(
        request.model_copy(
            update={
                "account": account,
                "allocation_id": part_id(request.account, request.allocation_id),
                "parent_id": request.allocation_id,
                "targets": {symbol: parts[account] for symbol, parts in by_symbol.items()},
                "shares": {},
            }
        )
        for account in sorted(request.shares)
    )


def cancels_of(parts: tuple[SetTargets, ...]) -> tuple[CancelTargets, ...]:
    """Return the cancels of the parts."""
    return tuple(
        CancelTargets(command="cancel", allocation_id=part.allocation_id, account=part.account)
        for part in parts
    )
