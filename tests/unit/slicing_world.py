"""The allocator's small world, with a slicer in its place, and the volume of a market."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agents.slicer import Slicer
from streams.models.market import LastPrice
from streams.models.slices import CancelSlices, SlicedOrder, StartPov, StartTwap
from streams.ports import BulkAgent
from streams.topics import SLICES_REQUESTED, SLICES_UPDATES, TopicSpec
from tests.builders import NOW_NS, SECOND, last_price
from tests.unit.allocating_world import World

COMMON: dict[str, Any] = {
    "parent_id": "p1",
    "account": "A1",
    "symbol": "AIG",
    "side": "buy",
    "qty": "100",
}


def twap(**fields: Any) -> StartTwap:
    """Return a request: by default 100 AIG in ten slices of a minute, from now on."""
    given = COMMON | {"command": "twap", "start_ns": NOW_NS, "end_ns": NOW_NS + 600 * SECOND}
    return StartTwap.model_validate(given | fields)


def pov(**fields: Any) -> StartPov:
    """Return a request: a tenth of the volume of ten minutes, up to 100 AIG."""
    given = COMMON | {"command": "pov", "start_ns": NOW_NS, "end_ns": NOW_NS + 600 * SECOND}
    return StartPov.model_validate(given | {"participation": "0.1"} | fields)


def stop(**fields: Any) -> CancelSlices:
    """Return a cancel of the parent `p1`."""
    given = {"command": "cancel", "parent_id": "p1", "account": "A1"}
    return CancelSlices.model_validate(given | fields)


@dataclass
class Slicing(World):
    """A slicer with its table, and all that is around it."""

    asked_on: TopicSpec = SLICES_REQUESTED
    told_on: TopicSpec = SLICES_UPDATES
    price: LastPrice | None = None

    def build(self) -> BulkAgent[Any]:
        """Return a new agent."""
        return Slicer(lambda: self.controls, lambda _: self.price, lambda _: 0)

    def pass_s(self, seconds: int) -> None:
        """Let time pass, and the timer come."""
        self.now_ns += seconds * SECOND
        self.tick()

    def trades(self, volume: int, since_ns: int = 1) -> None:
        """Let the market have printed so much since its counting began."""
        self.price = last_price(volume=str(volume), volume_since_ns=since_ns)
        self.tick()

    def through(self) -> None:
        """Let everything go on but fills."""
        while self.commands or self.events or self.canceling:
            if self.commands:
                self.gate()
            elif self.events:
                self.deliver()
            else:
                self.cancel()

    @property
    def parent(self) -> SlicedOrder:
        """Return the parent as it was last told."""
        found: SlicedOrder = self.updates[-1]
        return found

    def sums(self) -> tuple[str, Decimal, Decimal, Decimal]:
        """Return the parent's status, and what was sent, filled and left."""
        one = self.parent
        return one.status, one.sent_qty, one.cum_qty, one.leaves_qty
