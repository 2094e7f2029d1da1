"""Slices under any order of events: never more than the quantity; sums are exact."""

import itertools
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.slicing.schedule import due_by_time, due_by_volume, slice_at, slices_of
from streams.topics import ORDERS_EVENTS
from tests.builders import NOW_NS, SECOND
from tests.unit.allocating_world import instruments
from tests.unit.slicing_world import Slicing, pov, stop, twap

LOTS = st.sampled_from([Decimal(text) for text in ("0.001", "0.25", "1", "7", "100")])


@given(
    steps=st.integers(1, 10_000), lot=LOTS, seconds=st.integers(1, 5_000), every=st.integers(1, 600)
)
def test_slices_add_up(steps: int, lot: Decimal, seconds: int, every: int) -> None:
    """Each is a multiple of the lot, none below 0, all of them the quantity; equal to one lot."""
    start = twap(qty=steps * lot, end_ns=NOW_NS + seconds * SECOND, interval_s=every)
    many = slices_of(start, NOW_NS)
    assert (many - 1) * every < seconds <= many * every
    due = [Decimal(0), *(due_by_time(start, NOW_NS, number, lot) for number in range(many))]
    parts = [after - before for before, after in itertools.pairwise(due)]
    assert sum(parts) == start.qty
    assert all(part >= 0 and part % lot == 0 for part in parts)
    assert max(parts) - min(parts) <= lot
    assert slice_at(start, NOW_NS, start.end_ns) == many - 1


@given(volume=st.integers(0, 10_000), share=st.decimals("0.01", 1, places=2), lot=LOTS)
def test_a_share_is_rounded_down(volume: int, share: Decimal, lot: Decimal) -> None:
    """To the lot, and never above the quantity."""
    start = pov(participation=share, qty=700)
    due = due_by_volume(start, Decimal(volume), lot)
    assert due <= min(start.qty, share * volume)
    assert due == start.qty or (share * volume - due < lot and due % lot == 0)


WORDS = "gate gate deliver deliver fill expire venue repeat crash pass pass volume stop refuse"
STEPS = st.lists(st.sampled_from(WORDS.split(" ")), max_size=80)
NUMBERS = st.lists(st.integers(0, 200), min_size=80, max_size=80)


class Watched(Slicing):
    """A world that looks at all orders whenever something happened."""

    def check(self) -> None:
        """What is filled and open at the venue is never more than the quantity."""
        left = sum(order.left for order in self.orders.values())
        assert self.position + left <= 210
        assert len(self.open()) <= 1
        for one in self.updates[-1:]:
            assert one.cum_qty <= self.position
            assert one.sent_qty <= one.qty
            assert one.leaves_qty in (0, one.qty - one.cum_qty)

    def move(self, step: str, number: int) -> None:
        """Let one thing happen, if it can."""
        opened = self.open()
        if step == "fill" and opened:
            self.fill(opened[0], 1 + number)
        elif step == "expire" and opened:
            self.end(opened[0], "expired")
        elif step == "repeat" and self.told:
            self.hear(self.told[number % len(self.told)])
        elif step == "stop" and number < 20:
            self.ask(stop())
        elif step == "refuse":
            self.refuse = frozenset({"AIG"} if number < 60 else ())
        self.check()

    def go_on(self, step: str, number: int) -> None:
        """Let what waits go on, time pass, prints come, or the worker die."""
        if step == "gate" and self.commands:
            self.gate()
        elif step == "deliver" and self.events:
            self.deliver()
        elif step == "venue" and self.canceling:
            self.cancel()
        elif step == "pass":
            self.pass_s(number)
        elif step == "volume":
            self.volume += number * 10
            self.trades(self.volume)
        elif step == "crash":
            self.crash(number)
        self.check()

    volume = 0

    def crash(self, number: int) -> None:
        """Lose what was sent last; the newest record comes again to a worker with the table."""
        if self.commands and number % 2:
            self.commands.pop()
        self.start()
        for one in self.told[-1:]:
            self.give(self.record(one, ORDERS_EVENTS, again=True))
        self.tick()


@settings(max_examples=300, deadline=None)
@given(
    steps=STEPS,
    numbers=NUMBERS,
    by_volume=st.booleans(),
    limit=st.sampled_from([None, "50"]),
    lot=st.sampled_from(["1", "7", "30"]),
)
def test_never_more_than_the_quantity(
    steps: list[str], numbers: list[int], by_volume: bool, limit: str | None, lot: str
) -> None:
    """Whatever is filled, ends, comes twice, is refused, canceled; whenever the worker dies."""
    world = Watched(instruments(AIG=lot))
    world.trades(0)
    world.ask((pov if by_volume else twap)(qty="210", limit_price=limit))
    for step, number in zip(steps, numbers, strict=False):
        world.move(step, number)
        world.go_on(step, number)
    for _ in range(60):
        for step in ("gate", "deliver", "venue", "deliver", "volume"):
            world.go_on(step, 20)
        world.move("fill", 20)
        world.go_on("pass", 15)
    assert world.parent.status in {"filled", "expired", "canceled", "rejected"}
    assert world.parent.cum_qty == world.parent.sent_qty == world.position
    assert (world.parent.status == "filled") == (world.position == 210)
    assert world.open() == []
