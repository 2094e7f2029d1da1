"""The history agent over a store in memory: what is gathered, skipped, given up."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from agents import history
from agents.history import History
from streams.errors import InfrastructureError
from streams.ports import Record
from streams.topics import DEAD_LETTERS, MARKET_QUOTES, MARKET_TRADES
from tests.builders import quote, record, trade
from tests.fakes import DeadLetter, MemoryUnit

NAME = MARKET_TRADES.name

#: An agent lives in one event loop, through all of a test's batches.
ONE_LOOP = asyncio.Runner()


@dataclass
class MemoryStore:
    """An `agents.history.HistoryStore` of lists; refuses offsets in `refuse`."""

    inserts: list[list[Record]] = field(default_factory=list)
    held: dict[int, int] = field(default_factory=dict)
    refuse: set[int] = field(default_factory=set)
    asked: int = 0
    stamp: int | None = None
    failure: Exception | None = None

    async def newest(self, _topic: str) -> dict[int, int]:
        """Return what the test says is held."""
        self.asked += 1
        return dict(self.held)

    async def timestamp_at(self, _topic: str, _partition: int, _offset: int) -> int | None:
        """Return the one timestamp the test gives."""
        return self.stamp

    async def insert(self, _topic: str, records: Sequence[Record]) -> list[tuple[Record, str]]:
        """Keep the records as one insert."""
        if self.failure:
            raise self.failure
        self.inserts.append(list(records))
        await asyncio.sleep(0.01)
        return [(each, "too odd") for each in records if each.offset in self.refuse]

    def offsets(self) -> list[list[tuple[int, int]]]:
        """Return (partition, offset) of each insert."""
        return [[(each.partition, each.offset) for each in block] for block in self.inserts]


def trades(partition: int, first: int, count: int) -> list[Record]:
    """Return trades of a partition, from offset `first` on."""
    return [
        record(trade(), MARKET_TRADES, offset, partition=partition)
        for offset in range(first, first + count)
    ]


def play(agent: History, *batches: Sequence[Record]) -> list[DeadLetter]:
    """Handle batches at the same time; return their dead letters."""

    async def run() -> list[DeadLetter]:
        units: list[MemoryUnit[None]] = [MemoryUnit() for _ in batches]
        calls = (agent.handle(unit, batch) for unit, batch in zip(units, batches, strict=True))
        await asyncio.wait_for(asyncio.gather(*calls), 10)
        return [letter for unit in units for letter in unit.dead_letters]

    return ONE_LOOP.run(run())


def test_batches_of_several_partitions_go_in_one_insert() -> None:
    """Small batches that come within the linger share an insert, in arrival order."""
    store = MemoryStore()
    play(History(store), trades(0, 0, 2), trades(1, 7, 1))
    assert store.offsets() == [[(0, 0), (0, 1), (1, 7)]]


def test_topics_do_not_share_an_insert() -> None:
    """Each topic has its table."""
    store = MemoryStore()
    play(History(store), trades(0, 0, 1), [record(quote(), MARKET_QUOTES)])
    assert [[each.topic for each in block] for block in store.inserts] == [
        [MARKET_TRADES.name],
        [MARKET_QUOTES.name],
    ]


def test_an_insert_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No insert has more than MAX_ROWS rows; a batch is cut, its order kept."""
    monkeypatch.setattr(history, "MAX_ROWS", 3)
    store = MemoryStore()
    play(History(store), trades(0, 0, 5), trades(1, 0, 2))
    assert store.offsets() == [
        [(0, 0), (0, 1), (0, 2)],
        [(0, 3), (0, 4)],
        [(1, 0), (1, 1)],
    ]


def test_an_insert_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large records are inserted in smaller numbers; one that is larger still goes alone."""
    batch = trades(0, 0, 3)
    monkeypatch.setattr(history, "MAX_BYTES", 2 * len(batch[0].raw or b"") + 1)
    store = MemoryStore()
    play(History(store), batch)
    assert store.offsets() == [[(0, 0), (0, 1)], [(0, 2)]]


def test_what_is_held_is_skipped() -> None:
    """Offsets up to the newest one held are not inserted again."""
    store = MemoryStore(held={0: 1})
    agent = History(store)
    play(agent, trades(0, 0, 4))
    assert (store.offsets(), agent.repeated, agent.rows) == ([[(0, 2), (0, 3)]], 2, 2)


def test_the_store_is_asked_once_for_each_assignment() -> None:
    """After the first batch the agent knows; a redelivery in the same process is skipped too."""
    store = MemoryStore()
    agent = History(store)
    ONE_LOOP.run(agent.on_partitions({(NAME, 0), (NAME, 1)}))
    play(agent, trades(0, 0, 2))
    play(agent, trades(0, 0, 3))  # 0 and 1 again
    play(agent, trades(1, 0, 1))  # its answer came with partition 0's
    assert (store.offsets(), store.asked) == ([[(0, 0), (0, 1)], [(0, 2)], [(1, 0)]], 1)
    ONE_LOOP.run(agent.on_partitions({(NAME, 0)}))
    play(agent, trades(0, 3, 1))
    assert store.asked == 2


def test_null_values_are_skipped_and_counted() -> None:
    """A tombstone is no row, and does not hold up what follows."""
    store = MemoryStore()
    agent = History(store)
    play(agent, [record(None, MARKET_TRADES, 0), *trades(0, 1, 1)])
    assert (store.offsets(), agent.tombstones) == ([[(0, 1)]], 1)


def test_what_the_store_refuses_goes_to_the_dead_letters() -> None:
    """Each refusal reaches the unit of its own batch; the other records count as stored."""
    store = MemoryStore(refuse={1})
    agent = History(store)
    first, second = trades(0, 0, 3), trades(1, 5, 2)
    assert play(agent, first, second) == [DeadLetter(first[1], "HISTORY_REFUSED", "too odd")]
    play(agent, first)
    assert len(store.inserts) == 1  # the refused offset is behind us as well


def test_a_refused_dead_letter_is_not_made_a_dead_letter_again() -> None:
    """It would come back for ever."""
    store = MemoryStore(refuse={0})
    letter = Record(DEAD_LETTERS.name, 0, 0, None, None, b"{", 0)
    assert (play(History(store), [letter]), store.offsets()) == ([], [[(0, 0)]])


def test_another_record_at_a_held_offset_stops_the_worker() -> None:
    """A topic that was made anew is noticed; its records are not skipped as known ones."""
    store = MemoryStore(held={0: 10}, stamp=1)
    with pytest.raises(InfrastructureError, match=r"partition 0 offset 4: .* made anew"):
        play(History(store), trades(0, 4, 1))


def test_a_store_that_fails_fails_every_waiting_batch() -> None:
    """Nobody goes on as if stored; the next batch starts afresh."""
    store = MemoryStore(failure=RuntimeError("broken"))
    agent = History(store)

    async def both() -> list[BaseException | None]:
        calls = (agent.handle(MemoryUnit(), trades(number, 0, 1)) for number in (0, 1))
        return await asyncio.gather(*calls, return_exceptions=True)

    assert [repr(outcome) for outcome in ONE_LOOP.run(both())] == ["RuntimeError('broken')"] * 2
    store.failure = None
    play(agent, trades(0, 0, 1))
    assert store.offsets() == [[(0, 0)]]


def test_a_batch_that_was_given_up_is_not_inserted() -> None:
    """Its partition went to another worker before the insert began."""
    store = MemoryStore()
    agent = History(store)

    async def run() -> None:
        given_up = asyncio.create_task(agent.handle(MemoryUnit(), trades(0, 0, 1)))
        kept = asyncio.create_task(agent.handle(MemoryUnit(), trades(1, 0, 1)))
        await asyncio.sleep(0.01)
        given_up.cancel()
        await kept

    ONE_LOOP.run(run())
    assert store.offsets() == [[(1, 0)]]


def test_an_empty_batch_is_nothing() -> None:
    """No insert without rows."""
    store = MemoryStore()
    play(History(store), [])
    assert store.inserts == []
