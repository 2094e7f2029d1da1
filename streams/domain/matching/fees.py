"""What an execution costs."""

from decimal import Decimal

from streams.domain.matching.config import VenueConfig
from streams.domain.matching.exact import times

_PERCENT = Decimal("0.01")


def commission(
    config: VenueConfig, *, selling: bool, qty: Decimal, value: Decimal
) -> tuple[Decimal, Decimal]:
    """Return what an order of this filled quantity and value costs: commission, fees on sells.

    An execution is charged the difference between two such totals, so a minimum per order is
    paid once, whatever the number of partial fills.
    """
    if qty <= 0:
        return Decimal(0), Decimal(0)
    tariff = times(config.commission_per_share, qty)
    if config.commission_percent:
        tariff += times(value, config.commission_percent * _PERCENT)
    fees = Decimal(0)
    if selling and (config.sec_fee_percent or config.taf_per_share):
        fees = times(value, config.sec_fee_percent * _PERCENT) + times(config.taf_per_share, qty)
    return max(tariff, config.commission_min), fees
