"""The loop of a replay: the same bytes every time, however ticks are cut; no look-ahead."""

import hashlib
from collections.abc import Sequence
from decimal import Decimal

import pytest

from streams import clock, services
from streams.domain.build import evolve
from streams.domain.strategies.protocol import Callback, Context, Deaf, Decision
from streams.domain.ticks import Tick
from streams.models.base import Part
from streams.models.market import Trade
from streams.ports import Agent, Record, Unit
from streams.replay.check import compared
from streams.replay.lane import BrokenWordError, Lane
from streams.replay.world import Rules
from streams.topics import MARKET_BARS, MARKET_TRADES, ORDERS_REQUESTED
from streams.wiring import AgentSpec
from tests.builders import SECOND, bar, record, submit, trade
from tests.unit.bars_world import CALENDAR, OPEN_NS
from tests.unit.replay_world import order, orders, recorded, ticks

assert CALENDAR  # loaded once, so that no clock is read for it later


def digest(lines: Sequence[tuple[int, bytes]]) -> str:
    """Return a hash of all that was written."""
    return hashlib.sha256(b"\n".join(line for _, line in lines)).hexdigest()


def written_to(lines: Sequence[tuple[int, bytes]], topic: str) -> list[tuple[int, bytes]]:
    """Return what was written to a topic."""
    return [(ts, line) for ts, line in lines if line.startswith(topic.encode() + b"|")]


def test_two_replays_write_the_same_bytes() -> None:
    """Everything follows from ticks, orders and rules."""
    first, second = recorded(ticks(), orders()), recorded(ticks(), orders())
    assert written_to(first, "market.bars.v1")
    assert b'"event":"fill"' in b"".join(line for _, line in first)
    assert first == second


@pytest.mark.parametrize("chunk", [1, 2, 7, 100])
def test_the_size_of_a_chunk_changes_nothing(chunk: int) -> None:
    """Tick by tick gives what many at once give, with resting orders and without."""
    whole = recorded(ticks(), orders())
    assert digest(recorded(ticks(), orders(), chunk=chunk)) == digest(whole)


def test_late_ticks_and_corrections_change_nothing_about_that() -> None:
    """What restates a bar comes at its own place however ticks are cut."""
    given = ticks(700)
    late = evolve(given[101], ts_event_ns=given[101].ts_event_ns - 5 * SECOND, seq=9_001)
    canceled = evolve(given[201], canceled=True, correction_of=given[201].seq, seq=9_002)
    given[400:400] = [late, canceled]
    given[600:600] = [evolve(given[3], seq=9_003, ts_event_ns=given[3].ts_event_ns + 1)]
    whole = recorded(given, orders(), rules=Rules(bars="1s 1m 5t"))
    assert any(b'"status":"revised"' in line for _, line in whole)
    assert recorded(given, orders(), chunk=1, rules=Rules(bars="1s 1m 5t")) == whole


def test_real_time_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent reads a clock: another time of day, and one that stands still, give the same."""
    whole = recorded(ticks(300), orders(4))
    monkeypatch.setattr(clock, "now_ns", lambda: 1)
    monkeypatch.setattr(clock, "monotonic", lambda: 1.0)
    assert recorded(ticks(300), orders(4)) == whole


def test_an_order_cannot_trade_at_the_tick_it_was_decided_on() -> None:
    """Its fill is at the market as it is after the venue's latency."""
    given = [
        trade(price="50.00", ts_event_ns=OPEN_NS, seq=1),
        trade(price="50.00", ts_event_ns=OPEN_NS + SECOND, seq=2),
        trade(price="51.00", ts_event_ns=OPEN_NS + SECOND + 3_000_000, seq=3),
        trade(price="52.00", ts_event_ns=OPEN_NS + 2 * SECOND, seq=4),
    ]
    command = order(0, 1.0, symbol="AIG", side="buy")
    for latency_ms, price in ((1.0, b'"last_px":"50.00"'), (10.0, b'"last_px":"51.00"')):
        lines = recorded(given, [command], rules=Rules(latency_ms=latency_ms))
        fills = [line for _, line in lines if b'"event":"fill"' in line]
        assert len(fills) == 1
        assert price in fills[0]
        at_ns = OPEN_NS + SECOND + round(latency_ms * 1_000_000)
        assert b'"ts_event_ns":%d' % at_ns in fills[0]


def test_commands_come_after_the_ticks_of_their_time() -> None:
    """At a moment come timers, ticks, commands; an order knows the tick of its own time."""
    given = [trade(price="50.00", ts_event_ns=OPEN_NS + SECOND, seq=1)]
    command = order(0, 1.0, symbol="AIG", side="buy")
    lines = recorded(given, [command])
    assert any(b'"event":"approved"' in line for _, line in lines)


def test_a_silent_symbol_has_its_bars_closed_by_time() -> None:
    """The timer closes a minute two seconds after its end, in event time."""
    given = [trade(ts_event_ns=OPEN_NS + SECOND, seq=1)]
    bars = written_to(recorded(given), "market.bars.v1")
    assert [ts - OPEN_NS for ts, _ in bars] == [62 * SECOND]


class Seer(Agent[None]):
    """Orders when a price far ahead is high: what no strategy can know."""

    def __init__(self, future: Sequence[Tick]) -> None:
        self._prices = [one.price for one in future if isinstance(one, Trade)]
        self._seen = 0

    def step(self, unit: Unit[None], record: Record) -> None:
        """Look at the print that comes forty prints later."""
        self._seen += 1
        ahead = self._prices[self._seen + 40 : self._seen + 41]
        if self._seen % 10 == 0 and ahead and ahead[0] > record.value.price:
            name = f"s{self._seen}"
            command = submit(order_id=name, symbol=record.value.symbol, type="market")
            unit.emit(ORDERS_REQUESTED, command.account, command)


class Follower(Seer):
    """The same with the prints that were."""

    def step(self, unit: Unit[None], record: Record) -> None:
        """Look at nothing but the print at hand."""
        self._seen += 1
        if self._seen % 10 == 0:
            command = submit(order_id=f"s{self._seen}", symbol=record.value.symbol, type="market")
            unit.emit(ORDERS_REQUESTED, command.account, command)


SEER = AgentSpec("seer", "market", "Looks ahead.", (MARKET_TRADES,), (ORDERS_REQUESTED,))


@pytest.mark.parametrize(("kind", "found"), [(Seer, True), (Follower, False)])
def test_a_cut_finds_who_looks_ahead(kind: type[Seer], found: bool) -> None:
    """A run that is cut has decided otherwise if it knew what was to come."""
    given = ticks(400)
    at_ns = given[250].ts_event_ns

    def run(until_ns: int | None) -> list[tuple[int, bytes]]:
        mine = [one for one in given if until_ns is None or one.ts_event_ns < until_ns]
        return recorded(mine, more=[(SEER, kind(mine))], until_ns=until_ns)

    cut = compared(run(None), run(at_ns), at_ns)
    assert (cut.difference is not None) == found
    assert found or cut.records > 20


def test_an_agent_that_says_nothing_gets_ticks_one_by_one() -> None:
    """Its orders are the same however ticks are cut, and come before the next tick."""
    given = ticks(400)
    whole = recorded(given, more=[(SEER, Follower(given))])
    requested = written_to(whole, "orders.requested.v1")
    times = {one.ts_event_ns for one in given}
    assert len(requested) == 20
    assert all(ts in times for ts, _ in requested)
    assert recorded(given, more=[(SEER, Follower(given))], chunk=1) == whole


def test_cuts_are_compared_record_by_record() -> None:
    """What differs before the cut is shown; what comes at it or after does not count."""
    whole = [(1, b"a"), (2, b"b"), (5, b"c")]
    assert compared(whole, whole[:2], 5).difference is None
    other = compared(whole, [(1, b"a"), (2, b"x"), (5, b"c")], 6)
    assert (other.records, other.difference) == (1, {"whole": "b", "cut": "x"})
    fewer = compared(whole, whole[:1], 3)
    assert (fewer.records, fewer.difference) == (1, {"whole": "b", "cut": "nothing"})


class Metronome(Agent[None]):
    """Orders at the first print after every 7.3 seconds; it knows when, and has no timer."""

    def __init__(self) -> None:
        self._next_ns = OPEN_NS

    def step(self, unit: Unit[None], record: Record) -> None:
        """Order if it is time."""
        ts_ns = record.value.ts_event_ns
        if ts_ns >= self._next_ns:
            self._next_ns = ts_ns + 7_300_000_000
            command = submit(order_id=f"m{ts_ns}", symbol=record.value.symbol, type="market")
            unit.emit(ORDERS_REQUESTED, command.account, command)

    def quiet_until(self, partition: int, ts_ns: int) -> int:
        """Return the next time."""
        assert partition >= 0
        return max(ts_ns, self._next_ns)


def test_an_agent_that_knows_its_time_is_not_passed_over() -> None:
    """Nobody is given ticks beyond the first one at which it may emit."""
    whole = recorded(ticks(400), more=[(SEER, Metronome())])
    assert len(written_to(whole, "orders.requested.v1")) > 15
    assert recorded(ticks(400), more=[(SEER, Metronome())], chunk=1) == whole


class Liar(Agent[None]):
    """Says that it will be quiet, and is not."""

    def step(self, unit: Unit[None], record: Record) -> None:
        """Emit."""
        assert record
        unit.emit(MARKET_BARS, "AIG", bar())

    def quiet_until(self, partition: int, ts_ns: int) -> int:
        """Promise an hour."""
        assert partition >= 0
        return ts_ns + 3_600 * SECOND


def test_a_broken_word_ends_the_run() -> None:
    """Else results would depend on chunks, and nobody would know."""
    with pytest.raises(BrokenWordError, match=r"seer wrote to market\.bars\.v1"):
        recorded(ticks(50), more=[(SEER, Liar())])


class Breaker(Follower):
    """Raises at one record."""

    def step(self, unit: Unit[None], record: Record) -> None:
        """Raise at the fifth."""
        if self._seen == 4:
            self._seen += 1
            raise RuntimeError("the fifth")
        super().step(unit, record)


def test_what_an_agent_raises_is_a_dead_letter() -> None:
    """As live; the run goes on."""
    given = ticks(100)
    lines = recorded(given, more=[(SEER, Breaker(given))])
    letters = written_to(lines, "dead-letters.v1")
    assert len(letters) == 1
    assert b"AGENT_ERROR" in letters[0][1]
    assert b"the fifth" in letters[0][1]


def test_a_step_that_raises_leaves_no_trace() -> None:
    """Rows and outputs before the error are taken back."""

    class Half(Agent[str]):
        def step(self, unit: Unit[str], record: Record) -> None:
            assert record
            unit.put("a", "new")
            unit.put("b", "new")
            unit.delete("c")
            unit.emit(MARKET_BARS, "AIG", bar())
            raise RuntimeError("no")

    lane = Lane(SEER, Half(), 0, 0)
    lane.rows.update(a="old", c="old")
    outputs = lane.step(record(trade(), MARKET_TRADES), 1)
    assert dict(lane.rows) == {"a": "old", "c": "old"}
    assert [out.topic.name for out in outputs] == ["dead-letters.v1"]


MA = {"implementation": "ma_cross", "account": "S1", "qty": "10", "fast": "2", "slow": "3"}
TRADING = Rules(strategies={"ma": MA | {"short": "true"}}, indicators="1m: sma(2) ema(3)")


@pytest.mark.parametrize("chunk", [1, 9])
def test_a_strategy_trades_the_same_however_ticks_are_cut(chunk: int) -> None:
    """Bars, indicators, signals, targets, orders and fills, all within the run."""
    whole = recorded(ticks(2_500), rules=TRADING)
    for topic in ("indicators", "signals", "allocations.updates", "strategies.fills"):
        assert written_to(whole, f"{topic}.v1"), topic
    assert recorded(ticks(2_500), rules=TRADING, chunk=chunk) == whole


def test_strategies_see_nothing_of_what_is_to_come() -> None:
    """Cut runs have decided the same."""
    given = ticks(2_500)
    whole = recorded(given, rules=TRADING)
    for place in (700, 1_801):
        at_ns = given[place].ts_event_ns
        cut = recorded(given[:place], rules=TRADING, until_ns=at_ns)
        found = compared(whole, cut, at_ns)
        assert found.difference is None
    assert any(b"orders.requested" in line for ts, line in whole if ts < at_ns)


def test_how_long_a_strategy_takes_is_nothing_to_a_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Live one that is slow again and again is stopped; here that would be chance."""
    jumps = iter(range(10**9))
    whole = recorded(ticks(1_000), rules=TRADING)
    monkeypatch.setattr(clock, "monotonic", lambda: float(next(jumps)))
    assert recorded(ticks(1_000), rules=TRADING) == whole


class Counts(Part):
    """How many prints and seconds there were."""

    prints: int = 0
    seconds: int = 0


class Nothing(Part):
    """No parameters."""


class Counting(Deaf[Counts, Nothing]):
    """Turns around every 29 prints and every 41 seconds."""

    wants: frozenset[Callback] = frozenset({"trade", "timer"})
    state = Counts
    params = Nothing

    def on_trade(
        self, state: Counts, trade: Trade, context: Context[Nothing]
    ) -> tuple[Counts, Sequence[Decision]]:
        """Count a print."""
        assert context.now_ns == trade.ts_event_ns
        prints = state.prints + 1
        side = 1 if prints % 2 else -1
        after = evolve(state, prints=prints)
        return after, (Decision(Decimal(side), trade.price),) if prints % 29 == 0 else ()

    def on_timer(
        self, state: Counts, context: Context[Nothing]
    ) -> tuple[Counts, Sequence[Decision]]:
        """Count a second."""
        assert context.now_ns % SECOND == 0
        seconds = state.seconds + 1
        return evolve(state, seconds=seconds), (Decision(Decimal(0)),) if seconds % 41 == 0 else ()


def test_a_strategy_that_hears_ticks_and_time_is_told_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tick at a time, the timer every second of event time, however ticks are cut."""
    monkeypatch.setattr(services, "known_strategies", lambda: {"counting": Counting()})
    words = {"implementation": "counting", "account": "S1", "qty": "10"}
    rules = Rules(strategies={"c": words})
    whole = recorded(ticks(1_500), rules=rules)
    signals = [line for _, line in written_to(whole, "signals.v1")]
    assert sum(b'"cause_topic":"market.trades.v1"' in line for line in signals) > 15
    assert sum(b'"cause_topic":""' in line for line in signals) > 15
    assert recorded(ticks(1_500), rules=rules, chunk=1) == whole
