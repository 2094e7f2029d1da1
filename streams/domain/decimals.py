"""Exact sums and products, and the one rounding rule.

Signs and absolute values are taken with `copy_negate` and `copy_abs`: plain `-x` and `abs(x)`
round to the 28 digits of Python's default context, as plain sums and products do.

Sums and products of prices and sizes are exact: 96 digits hold any product of two fields of
28 digits, summed up as often as one likes. Quotients are rounded half to even: shares of a sum
to 27 places, so that the cost of a billionth of a share keeps its meaning (a product of two
fields has up to 18), and what is shown to nine.
"""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal

ZERO = Decimal(0)
NINTH = Decimal("0.000000001")
_FINEST = Decimal(1).scaleb(-27)

EXACT = Context(prec=96, rounding=ROUND_HALF_EVEN)

_ONE = Decimal(1)


def total(values: Iterable[Decimal]) -> Decimal:
    """Return the exact sum."""
    result = ZERO
    for value in values:
        result = EXACT.add(result, value)
    return result


def ratio(part: Decimal, whole: Decimal) -> Decimal:
    """Return `part / whole` at nine places; `whole` is not zero."""
    return EXACT.quantize(EXACT.divide(part, whole), NINTH)


def share(value: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """Return `value * part / whole` at 27 places; all of `value` where part equals whole."""
    if part == whole:
        return value
    return EXACT.quantize(EXACT.divide(EXACT.multiply(value, part), whole), _FINEST)


def shown(value: Decimal) -> Decimal:
    """Return the value at nine places at most, as it is written."""
    return plain(EXACT.quantize(value, NINTH))


def plain(value: Decimal) -> Decimal:
    """Return the value as it is written: no trailing zeros, no negative zero.

    Equal values then have equal text, in whichever order they were summed up.
    """
    if not value:
        return ZERO
    if value == value.to_integral_value():
        return EXACT.quantize(value, _ONE)
    return EXACT.normalize(value)
