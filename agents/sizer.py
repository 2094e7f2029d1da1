"""Turn signals into targets of positions: strength times the size of the strategy.

In      signals, key symbol: of our strategies, or of any program that is one
Out     allocations.requested, key account: what the strategy's position is to be from now on
State   none
Twice   a redelivered signal asks again with the same id, which is known by then. Its quantity is
        the same unless rules or, for a signal without a price, the last price changed meanwhile
Bad     dead letters: UNKNOWN_STRATEGY, STRATEGY_DISABLED, STRATEGY_KILLED, NO_SIZE, NO_PRICE, and
        STALE_SIGNAL for one that is too old to be acted upon
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from streams.domain.controls import ControlSet
from streams.domain.strategies.config import Configs, configs_of
from streams.domain.strategies.sizing import Unsized, targets_of
from streams.models.market import LastPrice
from streams.models.signals import Signal
from streams.ports import Agent, Record, Unit
from streams.topics import ALLOCATIONS_REQUESTED


@dataclass(frozen=True)
class SizerDeps:
    """What the agent asks. `settings` are the strategies of the setting, by name."""

    settings: Mapping[str, Mapping[str, Any]]
    controls: Callable[[], ControlSet]
    price: Callable[[str], LastPrice | None]
    max_age_ns: int


class Sizer(Agent[None]):
    """The sizer agent."""

    def __init__(self, deps: SizerDeps) -> None:
        self._deps = deps
        self._controls: ControlSet | None = None
        self._configs: Configs = {}

    def step(self, unit: Unit[None], record: Record) -> None:
        """Size one signal."""
        signal: Signal = record.value
        controls, deps = self._deps.controls(), self._deps
        if controls is not self._controls:
            self._configs, self._controls = configs_of(deps.settings, controls), controls
        last = deps.price(signal.symbol)
        found = targets_of(signal, self._configs, controls, last, unit.now_ns, deps.max_age_ns)
        if isinstance(found, Unsized):
            unit.dead_letter(record, found.code, found.text)
        else:
            unit.emit(ALLOCATIONS_REQUESTED, found.account, found)
