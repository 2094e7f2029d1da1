"""Signals to targets: strength times the strategy's size, or why there is no target.

A target is signed and a multiple of the symbol's lot, rounded towards zero. What its id consists of
is in the signal, so the same signal asks for the same allocation however often it comes.
"""

from decimal import Decimal
from hashlib import blake2b
from typing import NamedTuple

from pydantic import ValidationError

from streams.domain.controls import ControlSet
from streams.domain.decimals import EXACT, plain
from streams.domain.prices import fresh, mark_of, told
from streams.domain.strategies.config import Config, Configs, first_flaw
from streams.models.allocations import SetTargets
from streams.models.market import LastPrice
from streams.models.signals import Signal

_ONE = Decimal(1)


class Unsized(NamedTuple):
    """Why a signal leads to nothing: a dead-letter code, and the values."""

    code: str
    text: str


def targets_of(
    signal: Signal,
    configs: Configs,
    controls: ControlSet,
    last: LastPrice | None,
    now_ns: int,
    max_age_ns: int,
) -> SetTargets | Unsized:
    """Return what a signal asks for. Its age is our time less the market time of its cause."""
    config = configs.get(signal.strategy)
    if config is None:
        return Unsized("UNKNOWN_STRATEGY", f"no setting and no control knows {signal.strategy}")
    refused = _refused(signal, config, controls)
    age_ns = now_ns - signal.ts_event_ns
    if refused is None and age_ns > max_age_ns:
        text = f"{age_ns / 1e9:.1f} s old; signal_max_age_s is {max_age_ns / 1e9:g}"
        refused = Unsized("STALE_SIGNAL", text)
    return refused or _sized(signal, config, controls, last, now_ns)


def _refused(signal: Signal, config: Config, controls: ControlSet) -> Unsized | None:
    name, said = config.name, config.said
    if config.flaw:
        return Unsized("UNKNOWN_STRATEGY", f"{name}: {config.flaw}")
    if not config.covers(signal.symbol):
        return Unsized("UNKNOWN_STRATEGY", f"{name} is not for {signal.symbol}")
    if not said.enabled:
        return Unsized("STRATEGY_DISABLED", f"{name} is disabled; controls version {said.version}")
    switch = controls.kill_switch(said.account, signal.symbol, name)
    if switch is not None:
        text = f"kill switch {switch.scope}, version {switch.version}: {switch.reason}"
        return Unsized("STRATEGY_KILLED", text)
    return None


def _sized(
    signal: Signal, config: Config, controls: ControlSet, last: LastPrice | None, now_ns: int
) -> SetTargets | Unsized:
    said = config.said
    if not said.account or (said.qty is None and said.notional is None):
        return Unsized("NO_SIZE", f"{config.name} has no account, or neither qty nor notional")
    qty = said.qty
    if qty is None and signal.strength:
        max_age_s = controls.limits(said.account).max_price_age_s
        usable = last and fresh(last, now_ns, max_age_s)
        price = signal.price or _price(signal.symbol, controls, usable)
        if price is None or price <= 0 or said.notional is None:
            newest = f"; newest: {told(last, now_ns, max_age_s)}" if last else ""
            return Unsized("NO_PRICE", f"no price of {signal.symbol} to go by{newest}")
        qty = EXACT.divide(said.notional, price)
    try:
        return SetTargets(
            command="target",
            allocation_id=allocation_id(signal),
            account=said.account,
            strategy=signal.strategy,
            targets={signal.symbol: _in_lots(signal, qty or Decimal(0), controls)},
            ts_event_ns=signal.ts_event_ns,
        )
    except ValidationError as error:
        return Unsized("NO_SIZE", f"{config.name}: {first_flaw(error)}")


def _price(symbol: str, controls: ControlSet, last: LastPrice | None) -> Decimal | None:
    if last is not None:
        return mark_of(last)
    instrument = controls.instrument(symbol)
    return instrument.reference_price if instrument is not None else None


def _in_lots(signal: Signal, qty: Decimal, controls: ControlSet) -> Decimal:
    """Return strength x quantity in whole lots; a lot is 1 where the symbol is not known."""
    instrument = controls.instrument(signal.symbol)
    lot = instrument.lot_size if instrument is not None else _ONE
    lots = EXACT.divide_int(EXACT.multiply(signal.strength, qty), lot)
    return plain(EXACT.multiply(lots, lot))


def allocation_id(signal: Signal) -> str:
    """Return the id of what a signal asks for: 25 characters, the same for the same signal."""
    what = f"{signal.strategy}|{signal.symbol}|{signal.signal_id}"
    return f"s{blake2b(what.encode(), digest_size=12).hexdigest()}"
