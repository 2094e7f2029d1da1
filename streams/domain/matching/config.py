"""How the virtual venue behaves: one frozen record, the same values for every symbol."""

from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b

from streams.domain.tick_checks import TickLimits

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """The venue's settings.

    Latency   A command takes effect `latency_ns` (a cancel: `cancel_latency_ns`) after its
              `ts_event_ns`, plus 0 inclusive to `latency_jitter_ns` exclusive, drawn per command.
    Size      An order may take the fraction `participation` of a displayed size or a print.
    Touch     A print through a resting limit fills it; one exactly at the limit does so with
              `touch_probability`: 0 is "penetrate", 1 is "touch".
    Price     Market and triggered stop orders pay `slippage_bps` of the price, rounded to four
              places against the order.
    Fees      `commission_per_share` plus `commission_percent` of the value, at least
              `commission_min` per order (charged with its first execution); sells pay
              `sec_fee_percent` of the value and `taf_per_share` on top. The defaults are a US
              retail tariff: 0.005 a share, at least 1.00.
    Age       A quote counts until prints run ahead of it by `quote_lag_ns`; quotes and prints
              count until the venue's time is `max_age_ns` past them.
    Time      `follow_clock`: the venue's time also moves by the clock, as live trading needs.
              Without it time moves by records alone, as replays need.
    Checks    Which ticks move nothing: `checks`, the limits of `streams.domain.tick_checks`.
    Memory    A closed order is known for `remember_ns` after it closed; an order that was
              approved longer ago than that is refused, since it may have been executed and
              forgotten.
    """

    seed: int = 7
    latency_ns: int = 1_000_000
    cancel_latency_ns: int = 1_000_000
    latency_jitter_ns: int = 0
    participation: Decimal = Decimal(1)
    touch_probability: Decimal = Decimal(0)
    slippage_bps: Decimal = Decimal(0)
    commission_per_share: Decimal = Decimal("0.005")
    commission_min: Decimal = Decimal("1.00")
    commission_percent: Decimal = Decimal(0)
    sec_fee_percent: Decimal = Decimal(0)
    taf_per_share: Decimal = Decimal(0)
    quote_lag_ns: int = 30 * SECOND_NS
    max_age_ns: int = 900 * SECOND_NS
    gtc_days: int = 90
    follow_clock: bool = True
    checks: TickLimits = field(default_factory=TickLimits)
    remember_ns: int = 600 * SECOND_NS


def draw(seed: int, order: str, occasion: str, below: int) -> int:
    """Return a number from 0 to `below` exclusive: a function of its arguments alone.

    So a replay, a restart or another order's choices change nothing about it.
    """
    digest = blake2b(f"{seed}|{order}|{occasion}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % below
