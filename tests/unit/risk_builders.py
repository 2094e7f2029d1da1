"""Builders of what the validator looks at: controls, a session, a validator with its deps."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from agents.validator import Validator
from streams.domain.controls import ControlSet
from streams.domain.exposure_models import RiskRecord
from streams.domain.sessions import Session
from streams.models.controls import AnyControl, Instrument, Limits
from streams.models.market import LastPrice
from streams.models.orders import OrderEvent
from streams.ports import Record
from streams.topics import ORDERS_EVENTS
from tests.builders import NOW_NS, SECOND, event, fill, last_price, record
from tests.fakes import MemoryUnit

HOUR = 3600 * SECOND
#: The session around `NOW_NS`: 04:00, 09:30, 16:00 and 20:00 New York.
SESSION = Session(
    "2026-11-18", NOW_NS - 6 * HOUR - HOUR // 2, NOW_NS - HOUR, NOW_NS + 5 * HOUR + HOUR // 2,
    NOW_NS + 9 * HOUR + HOUR // 2,
)  # fmt: skip


def instrument(symbol: str = "AIG", **fields: Any) -> Instrument:
    """Return an instrument record of version 7."""
    given = {"scope": symbol, "symbol": symbol, "version": 7}
    return Instrument.model_validate(given | fields)


def limits(**fields: Any) -> Limits:
    """Return the default account limits as version 5, wide enough to test one at a time."""
    given = {"version": 5, "starting_cash": "100000000", "max_gross_exposure": "100000000"}
    return Limits.model_validate(given | fields)


def controls(*records: AnyControl) -> ControlSet:
    """Return a set with AIG, wide limits, and these records instead or besides."""
    return (
        ControlSet()
        .with_records([instrument(), limits()])
        .with_records([each.model_copy(update={"version": each.version + 10}) for each in records])
    )


_last_price = cache(last_price)


class FixedCalendar:
    """A calendar that knows one session."""

    def __init__(self, session: Session = SESSION) -> None:
        self.session = session

    def session_at(self, ts_ns: int, shift_ns: int = 0) -> Session:
        """Return that session, whatever the time."""
        del ts_ns
        return self.session.shifted(shift_ns)


class Desk:
    """A validator over a shared state: `send` commands, `hear` events, look at what came out."""

    def __init__(
        self,
        *records: AnyControl,
        price: Callable[[str], LastPrice | None] = _last_price,
        starting: dict[str, RiskRecord] | None = None,
    ) -> None:
        self.controls = controls(*records)
        self.price = price
        self.state: dict[str, RiskRecord] = {} if starting is None else starting
        self.now_ns = NOW_NS
        self.offset = 0
        self.validator = Validator(
            lambda: self.controls, self._priced, FixedCalendar(), lambda _: 0
        )
        self.validator.on_assigned(0, self.state.items())

    def _priced(self, symbol: str) -> LastPrice | None:
        return self.price(symbol)

    def play(self, records: Iterable[Record]) -> MemoryUnit[RiskRecord]:
        """Run records as one batch."""
        unit: MemoryUnit[RiskRecord] = MemoryUnit(self.state, self.now_ns)
        for each in records:
            self.validator.step(unit, each)
        return unit

    def send(self, *commands: Any) -> MemoryUnit[RiskRecord]:
        """Send commands at the next offsets."""
        records = []
        for command in commands:
            records.append(record(command, offset=self.offset))
            self.offset += 1
        return self.play(records)

    def hear(self, *events: OrderEvent) -> MemoryUnit[RiskRecord]:
        """Take up events."""
        return self.play(record(each, ORDERS_EVENTS, offset=n) for n, each in enumerate(events))

    def hold(self, qty: str, price: str = "50", exec_id: str = "held") -> None:
        """Give the account a position, bought or sold at the broker."""
        side = "sell" if qty.startswith("-") else "buy"
        execution = fill(exec_id, qty.lstrip("-"), price)
        self.hear(event("fill", order_id=f"seed-{exec_id}", side=side, fill=execution))

    def verdict(self, command: Any) -> str:
        """Send a command; return `approved`, the refusal's code, or the event's name."""
        return verdict_of(self.send(command).values(ORDERS_EVENTS)[-1])


def verdict_of(said: OrderEvent) -> str:
    """Return the refusal's code, or the event's name."""
    return said.refusal.code if said.refusal else said.event.value
