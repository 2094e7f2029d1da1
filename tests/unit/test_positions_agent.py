"""The positions agent: what it keeps, publishes, re-marks, and does on the second delivery."""

from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter

from agents.positions import MAX_MARKED, Positions, PositionsDeps
from streams.domain.controls import ControlSet
from streams.models.controls import Limits
from streams.models.market import LastPrice
from streams.models.orders import OrderEvent
from streams.topics import ACCOUNTS_UPDATES, ORDERS_EVENTS, POSITIONS_UPDATES
from tables.positions import POSITIONS, PositionRow
from tests.builders import NOW_NS, event, fill, last_price, record
from tests.fakes import MemoryUnit

BOUGHT = event("fill", fill=fill("e1", "10", "50", commission="1"))
SOLD = event("fill", side="sell", fill=fill("e2", "4", "51", commission="1"))


class Market:
    """Prices that a test sets, and limits with 10,000 to start with."""

    def __init__(self) -> None:
        self.prices: dict[str, LastPrice] = {}
        self.controls = ControlSet().with_records([Limits(starting_cash="10000", version=1)])

    def agent(self) -> Positions:
        """Return an agent that sees this market."""
        return Positions(PositionsDeps(lambda: self.controls, self.prices.get))


def run(
    *events: OrderEvent,
    state: dict[str, PositionRow] | None = None,
    redelivered: bool = False,
    agent: Positions | None = None,
) -> MemoryUnit[PositionRow]:
    """Play one batch and return its unit."""
    agent = agent or Market().agent()
    unit: MemoryUnit[PositionRow] = MemoryUnit({} if state is None else state, NOW_NS)
    for offset, one in enumerate(events):
        agent.step(unit, record(one, ORDERS_EVENTS, offset, redelivered=redelivered))
    agent.on_batch_end(unit)
    return unit


def ticked(agent: Positions, state: dict[str, PositionRow]) -> MemoryUnit[PositionRow]:
    """Let a second pass."""
    unit: MemoryUnit[PositionRow] = MemoryUnit(state, NOW_NS)
    agent.on_timer(unit)
    return unit


def test_position_and_account_are_published_once_per_batch() -> None:
    """Two fills, one update each; both on the account's partition."""
    unit = run(BOUGHT, SOLD)
    assert [(each.topic, each.key, each.partition_key) for each in unit.emitted] == [
        (POSITIONS_UPDATES.name, "A1|AIG", "A1"),
        (ACCOUNTS_UPDATES.name, "A1", "A1"),
    ]
    position, account = (each.value for each in unit.emitted)
    assert (position.qty, position.avg_entry_px, position.realized_pl) == (6, 50, 2)  # 4 - 1 - 1
    assert (position.version, position.fills, position.commission) == (2, 2, 2)
    assert account.cash == Decimal(9702)  # 10000 - 500 - 1 + 204 - 1
    assert (account.realized_pl, account.realized_pl_day, account.day) == (2, 2, "2026-11-18")


def test_what_is_no_execution_does_not_matter() -> None:
    """No state, no updates."""
    unit = run(event("accepted"), event("canceled"))
    assert (unit.state, unit.emitted, unit.dead_letters) == ({}, [], [])


def test_an_execution_counts_once() -> None:
    """A repetition at a new offset changes and publishes nothing; another broker's is another."""
    state = run(BOUGHT).state
    kept = dict(state)
    again = run(BOUGHT, state=state)
    assert (again.emitted, again.state) == ([], kept)
    elsewhere = run(BOUGHT.model_copy(update={"broker": "alpaca"}), state=state)
    assert elsewhere.values(POSITIONS_UPDATES)[0].qty == 20


def test_a_redelivered_fill_publishes_what_now_is() -> None:
    """The same updates come again, and the state stays."""
    first = run(BOUGHT, SOLD)
    kept = dict(first.state)
    again = run(BOUGHT, SOLD, state=first.state, redelivered=True)
    assert (again.emitted, again.state) == (first.emitted, kept)


def test_a_conflicting_execution_is_set_aside_each_time() -> None:
    """The first content holds."""
    state = run(BOUGHT).state
    kept = dict(state)
    other = event("fill", fill=fill("e1", "11", "50"))
    for redelivered in (False, True):
        unit = run(other, state=state, redelivered=redelivered)
        assert [each.code for each in unit.dead_letters] == ["EXECUTION_CONFLICT"]
    assert state == kept


def test_positions_are_marked_again_when_their_price_moved() -> None:
    """Once per move; the version stays, and the table is not written."""
    market = Market()
    market.prices["AIG"] = last_price(last="51")
    agent = market.agent()
    first = run(BOUGHT, agent=agent)
    assert first.values(POSITIONS_UPDATES)[0].unrealized_pl == 10
    kept = dict(first.state)
    assert ticked(agent, first.state).emitted == []
    market.prices["AIG"] = last_price(last="52", ts_event_ns=NOW_NS + 1)
    (moved,) = ticked(agent, first.state).values(POSITIONS_UPDATES)
    assert (moved.unrealized_pl, moved.mark_px, moved.ts_mark_ns) == (20, 52, NOW_NS + 1)
    assert moved.version == 1
    assert (ticked(agent, first.state).emitted, first.state) == ([], kept)


def test_many_positions_take_turns() -> None:
    """One run of the timer looks at a bounded number, the next run at the others."""
    market = Market()
    agent = market.agent()
    bought = [
        event("fill", symbol=f"S{n}", order_id=f"o{n}", fill=fill(f"e{n}", "1", "50"))
        for n in range(MAX_MARKED + 10)
    ]
    state = run(*bought, agent=agent).state
    market.prices |= {
        f"S{n}": last_price(symbol=f"S{n}", last="51") for n in range(MAX_MARKED + 10)
    }
    runs = [{each.key for each in ticked(agent, state).emitted} for _ in range(3)]
    assert [len(keys) for keys in runs] == [MAX_MARKED, 10, 0]
    assert not runs[0] & runs[1]


def test_a_flat_position_is_not_marked() -> None:
    """Closed, it has no unrealised profit and does not move with its price."""
    market = Market()
    market.prices["AIG"] = last_price(last="51")
    agent = market.agent()
    closing = event("fill", side="sell", fill=fill("e3", "10", "51"))
    unit = run(BOUGHT, closing, agent=agent)
    assert unit.values(POSITIONS_UPDATES)[0].unrealized_pl is None
    market.prices["AIG"] = last_price(last="60")
    assert ticked(agent, unit.state).emitted == []


def test_an_assigned_partition_is_marked_by_the_next_timer_and_a_revoked_one_never() -> None:
    """After a restart the positions that are not flat are found in the table."""
    market = Market()
    market.prices["AIG"] = last_price(last="51")
    agent = market.agent()
    state = run(BOUGHT).state
    agent.on_assigned(0, state.items())
    assert len(ticked(agent, state).emitted) == 1
    agent.on_revoked(0)
    market.prices["AIG"] = last_price(last="52")
    assert ticked(agent, state).emitted == []


def test_rows_survive_the_table() -> None:
    """Written as JSON without empty fields and read again, every row is the same."""
    corrected = event("fill_corrected", fill=fill("e3", "9", "50.01", ref_exec_id="e1"))
    unit = run(BOUGHT, SOLD, corrected)
    adapter: TypeAdapter[Any] = POSITIONS.adapter()
    for row in unit.state.values():
        assert adapter.validate_json(adapter.dump_json(row, exclude_none=True)) == row


def test_a_scan_of_an_account_meets_positions_only() -> None:
    """Executions sort apart, and so does the account's money."""
    unit = run(BOUGHT, SOLD)
    assert [key for key, _ in unit.scan("A1|")] == ["A1|AIG"]
