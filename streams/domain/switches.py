"""What kill switches and trading states stop: asked at the gate, and again before each sending.

The gate (validator) asks when an order comes, the router when it knows the broker, and whoever
gives an order to a broker asks `stopped` right before. What a switch stops is the same
everywhere: everything, but for `reduce_only` orders under a switch that flattens.
"""

from streams.domain.controls import ControlSet
from streams.domain.refusals import Code, refuse
from streams.models.controls import KillSwitch, TradingState
from streams.models.orders import OrderTerms, Refusal, VenueOrder


def lets_pass(switch: KillSwitch, terms: OrderTerms) -> bool:
    """Say whether an engaged switch lets an order through: one that only closes, to flatten.

    That a `reduce_only` order closes, and no more than there is, the gate has checked.
    """
    return switch.flatten and terms.reduce_only


def killed(switch: KillSwitch) -> Refusal:
    """Return the refusal by a switch."""
    text = f"kill switch: {switch.reason}" if switch.reason else "kill switch engaged"
    return refuse(Code.KILL_SWITCH, text, actual=switch.scope, version=switch.version)


def halted(state: TradingState) -> Refusal:
    """Return the refusal by a trading state."""
    text = f"trading is halted: {state.reason}" if state.reason else "trading is halted"
    version = state.version
    return refuse(Code.TRADING_HALTED, text, limit="halted", actual=state.scope, version=version)


def stopped(controls: ControlSet, order: VenueOrder) -> Refusal | None:
    """Return why an order must not go to its broker by the rules of now, or None."""
    terms = order.terms
    switch = controls.kill_switch(order.account, terms.symbol, order.strategy, order.broker)
    if switch is not None and not lets_pass(switch, terms):
        return killed(switch)
    state = controls.trading_state(order.account)
    return halted(state) if state.state == "halted" else None
