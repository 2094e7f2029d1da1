"""The venue's roundings: nine places at most, and prices against the order."""

from decimal import ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_UP, Decimal

from streams.domain.decimals import EXACT, NINTH

_FOUR = Decimal("0.0001")


def times(left: Decimal, right: Decimal) -> Decimal:
    """Return the product, at most nine places, half to even."""
    return _rounded(EXACT.multiply(left, right), ROUND_HALF_EVEN)


def floor_times(left: Decimal, right: Decimal) -> Decimal:
    """Return the product, at most nine places, never above the exact one."""
    return _rounded(EXACT.multiply(left, right), ROUND_FLOOR)


def floor_ratio(over: Decimal, under: Decimal) -> Decimal:
    """Return `over / under` with nine places, never above the exact one (both positive)."""
    return EXACT.divide(over, under).quantize(NINTH, ROUND_FLOOR, EXACT)


def worse(price: Decimal, bps: Decimal, *, buying: bool) -> Decimal:
    """Return `price` moved against the order by `bps` / 10,000, at four places, above zero."""
    if not bps:
        return price
    sign = bps if buying else -bps
    exact = EXACT.multiply(price, 1 + sign / Decimal(10_000))
    moved = exact.quantize(_FOUR, ROUND_UP if buying else ROUND_DOWN, EXACT)
    return max(moved, _FOUR)


def _rounded(value: Decimal, rounding: str) -> Decimal:
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent >= -9:
        return value
    return value.quantize(NINTH, rounding, EXACT)
