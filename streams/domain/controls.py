"""The controls as one immutable set, and the questions that checks and routes ask of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar, cast

from streams.models.controls import (
    AnyControl,
    Control,
    Instrument,
    KillSwitch,
    Limits,
    Restricted,
    Routing,
    SessionShift,
    StrategyControl,
    TradingState,
    control_key,
)

C = TypeVar("C", bound=Control)
DEFAULT = "default"

#: The name of each kind that has defaults, and the record that stands for a missing one.
_KINDS: dict[type[Control], tuple[str, Control]] = {
    kind: (kind.model_fields["kind"].default, kind())
    for kind in (Limits, Routing, TradingState, SessionShift)
}
_STRICTNESS = {"active": 0, "reducing": 1, "halted": 2}


@dataclass(frozen=True, slots=True)
class ControlSet:
    """All controls as of `version`; a missing record stands for its kind's defaults."""

    records: Mapping[str, AnyControl] = field(default_factory=lambda: MappingProxyType({}))
    version: int = 0

    def with_records(self, controls: Iterable[AnyControl]) -> "ControlSet":
        """Return the set with these records in place of older ones of the same key.

        A record whose version is not above that of the one it would replace changes nothing,
        so reading the topic twice gives the same set.
        """
        records = dict(self.records)
        for control in controls:
            key = control_key(control)
            if key not in records or control.version > records[key].version:
                records[key] = control
        newest = max((control.version for control in records.values()), default=0)
        return ControlSet(MappingProxyType(records), newest)

    def _find(self, kind: type[C], *scopes: str) -> C:
        name, default = _KINDS[kind]
        for scope in scopes:
            record = self.records.get(f"{name}:{scope}")
            if isinstance(record, kind):
                return record
        return cast(C, default)

    def limits(self, account: str) -> Limits:
        """Return the account's limits, or the default ones."""
        return self._find(Limits, account, DEFAULT)

    def instrument(self, symbol: str) -> Instrument | None:
        """Return what is known of a symbol, or None."""
        record = self.records.get(f"instrument:{symbol}")
        return record if isinstance(record, Instrument) else None

    def routing(self) -> Routing:
        """Return the routing rules."""
        return self._find(Routing, DEFAULT)

    def trading_state(self, account: str) -> TradingState:
        """Return the stricter of the account's and the general trading state."""
        general, own = self._find(TradingState, DEFAULT), self._find(TradingState, account)
        return own if _STRICTNESS[own.state] > _STRICTNESS[general.state] else general

    def kill_switch(
        self, account: str, symbol: str, strategy: str = "", broker: str = ""
    ) -> KillSwitch | None:
        """Return an engaged kill switch that covers the order, or None.

        Of several, one that lets nothing pass goes before one that flattens.
        """
        found: KillSwitch | None = None
        scopes = [DEFAULT, f"account:{account}", f"symbol:{symbol}"]
        scopes += [f"strategy:{strategy}"] if strategy else []
        scopes += [f"broker:{broker}"] if broker else []
        for scope in scopes:
            switch = self.records.get(f"kill-switch:{scope}")
            if isinstance(switch, KillSwitch) and switch.engaged:
                if not switch.flatten:
                    return switch
                found = found or switch
        return found

    def restricted(self, account: str, symbol: str) -> Restricted | None:
        """Return the list that forbids the symbol to the account, or None."""
        for scope in (DEFAULT, account):
            listed = self.records.get(f"restricted:{scope}")
            if isinstance(listed, Restricted) and symbol in listed.symbols:
                return listed
        return None

    def session_shift_ns(self) -> int:
        """Return how far market time is shifted against the calendar."""
        return self._find(SessionShift, DEFAULT).shift_ns

    def strategies(self) -> Iterator[StrategyControl]:
        """Yield what is set of strategies, one record for each that has one."""
        for record in self.records.values():
            if isinstance(record, StrategyControl):
                yield record
