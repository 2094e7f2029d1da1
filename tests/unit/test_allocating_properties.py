"""Allocations under any order of events: never over-shot, always reached; sums are exact."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.domain.allocating.dividing import divided, rounded, step_of
from streams.models.controls import Instrument
from streams.models.orders import Submit
from streams.topics import ORDERS_EVENTS
from tests.unit.allocating_world import World, instruments, stop, targets

QTYS = st.decimals(-10_000, 10_000, places=3)
LOTS = st.sampled_from([Decimal(text) for text in ("0.001", "0.25", "1", "7", "100")])
WEIGHTS = st.dictionaries(
    st.sampled_from([f"A{number}" for number in range(9)]),
    st.decimals("0.001", 1000, places=3),
    min_size=1,
)


@given(qty=QTYS, weights=WEIGHTS, step=LOTS)
def test_parts_add_up_to_the_total(
    qty: Decimal, weights: dict[str, Decimal], step: Decimal
) -> None:
    """Exactly; each is within a step, and what the total has beyond steps, of its share."""
    parts = divided(qty, weights, step)
    assert sum(parts.values()) == qty
    whole = sum(weights.values())
    odd = abs(qty) % step
    for name, part in parts.items():
        assert part * qty >= 0
        assert abs(part - qty * weights[name] / whole) < step + odd + Decimal("1e-20")
    loose = [name for name, part in parts.items() if part % step]
    assert len(loose) <= 1


def test_ties_go_by_name() -> None:
    """Equal remainders: the first name gets the step; larger remainders go before."""
    one = Decimal(1)
    assert divided(Decimal(1), {"B": one, "A": one}, one) == {"B": 0, "A": 1}
    assert divided(Decimal(-2), {"C": one, "B": one, "A": one}, one) == {"C": 0, "B": -1, "A": -1}
    assert divided(Decimal(10), {"A": Decimal(1), "B": Decimal(2)}, one) == {"A": 3, "B": 7}


@given(qty=QTYS, lot=LOTS, least=LOTS)
def test_rounding_is_toward_zero(qty: Decimal, lot: Decimal, least: Decimal) -> None:
    """A multiple of the lot, not above what was asked, less than a lot below it or too small."""
    instrument = Instrument(scope="X", symbol="X", lot_size=lot, min_qty=least)
    found = rounded(qty, instrument)
    assert found % lot == 0
    assert abs(found) <= abs(qty)
    assert found * qty >= 0
    assert abs(qty - found) < lot or (found == 0 and abs(qty) - abs(qty) % lot < least)


def test_parts_of_shares_of_fractionable_equities() -> None:
    """They trade in nine places; what is unknown is for the gate to refuse."""
    fraction = Instrument(scope="X", symbol="X", fractionable=True)
    assert rounded(Decimal("0.1234567899"), fraction) == Decimal("0.123456789")
    assert rounded(Decimal("0.5"), None) == Decimal("0.5")
    assert step_of(Instrument(scope="X", symbol="X")) == (1, 1)


WORDS = "gate gate deliver deliver fill expire target cancel venue repeat crash tick"
STEPS = st.lists(st.sampled_from(WORDS.split(" ")), max_size=60)
NUMBERS = st.lists(st.integers(-300, 300), min_size=60, max_size=60)


class Watched(World):
    """A world that looks at every order that the agent sends, in lots of seven."""

    target = Decimal(0)
    count = 0

    def aim(self, qty: int) -> None:
        """Set a new target."""
        self.count += 1
        self.target = Decimal(qty)
        self.ask(targets(allocation_id=f"t{self.count}", targets={"AIG": str(qty)}))

    def gate(self) -> None:
        """Judge a command; a new order must be the only one."""
        command = self.commands[0]
        if isinstance(command, Submit) and command.order_id not in self.known:
            assert self.open() == []
        super().gate()

    def check(self) -> None:
        """Look at what the agent has just sent: no more than the difference, to the last lot."""
        new = [one for one in self.commands if isinstance(one, Submit)]
        new = [one for one in new if one.order_id not in self.known]
        assert len({one.order_id for one in new}) <= 1
        for one in new:
            assert self.open() == []
            if one.order_id.split(":")[1] == f"t{self.count}":
                left, qty = self.target - self.position, one.qty or Decimal(0)
                assert left * (1 if one.side == "buy" else -1) > 0
                assert abs(left) - 7 < qty <= abs(left)

    def move(self, step: str, number: int) -> None:
        """Let one thing happen, if it can."""
        opened = self.open()
        if step == "target":
            self.aim(number)
        elif step == "cancel" and self.count:
            self.ask(stop(allocation_id=f"t{1 + abs(number) % self.count}"))
        elif step == "fill" and opened:
            self.fill(opened[0], 1 + abs(number))
        elif step == "expire" and opened:
            self.end(opened[0], "expired")
        elif step == "repeat" and self.told:
            self.hear(self.told[number % len(self.told)])
        self.check()

    def go_on(self, step: str, number: int) -> None:
        """Let what waits go on, time pass, or the worker die."""
        if step == "gate" and self.commands:
            self.gate()
        elif step == "deliver" and self.events:
            self.deliver()
        elif step == "venue" and self.canceling:
            self.cancel()
        elif step == "tick":
            self.tick()
        elif step == "crash":
            self.crash(number)
        self.check()

    def crash(self, number: int) -> None:
        """Lose what was sent last; the newest record comes again to a worker with the table."""
        if self.commands and number % 2:
            self.commands.pop()
        self.start()
        for one in self.told[-1:]:
            self.give(self.record(one, ORDERS_EVENTS, again=True))
        self.tick()


@settings(max_examples=300, deadline=None)
@given(steps=STEPS, numbers=NUMBERS)
def test_a_target_is_reached_and_never_over_shot(steps: list[str], numbers: list[int]) -> None:
    """Whatever is filled, ends, comes twice, is canceled, replaced; whenever the worker dies."""
    world = Watched(instruments(AIG="7"))
    for step, number in zip(steps, numbers, strict=False):
        world.move(step, number)
        world.go_on(step, number)
    world.aim(210)
    while world.commands or world.events or world.open():
        for step in ("gate", "deliver", "venue"):
            world.go_on(step, 0)
        if not world.commands and not world.events:
            world.move("fill", 999)
    assert abs(world.position - 210) < 7
    assert world.last(f"t{world.count}").status == "done"
