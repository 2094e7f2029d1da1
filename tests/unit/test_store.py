"""The local state of a table partition: memory first, disk once Kafka has it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.transport.store import CACHE_ENTRIES, TablePartition, source_key
from tests.transport import COUNTS, Count

Open = Callable[[], TablePartition]


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Open]:
    """Yield what opens the partition, the one before closed as a worker's end does it."""
    opened: list[TablePartition] = []

    def open_again() -> TablePartition:
        for before in opened:
            before.close()
        opened[:] = [TablePartition(tmp_path / "counts" / "0", COUNTS.adapter())]
        return opened[0]

    yield open_again
    for partition in opened:
        partition.close()


def settle(state: TablePartition, offset: int, **values: Count | None) -> None:
    """Stage values and settle them, as a unit does."""
    for key, value in values.items():
        state.stage(key, value)
    staged = state.staged(values)
    state.settle(staged, state.encoded(staged), offset)


def test_what_is_staged_is_seen_and_not_kept(reopen: Open) -> None:
    """The changelog does not have it yet, so the disk must not know it."""
    state = reopen()
    state.stage("a", Count(n=1))
    assert (state.get("a"), dict(state.scan())) == (Count(n=1), {"a": Count(n=1)})
    state = reopen()
    assert (state.get("a"), dict(state.scan())) == (None, {})


def test_what_is_settled_is_kept_with_its_offset(reopen: Open) -> None:
    """Values, deletions and the changelog offset outlive the process."""
    state = reopen()
    assert state.changelog_offset() is None
    settle(state, 2, a=Count(n=1), b=Count(n=2))
    settle(state, 3, a=None)
    state = reopen()
    assert (state.get("a"), state.get("b")) == (None, Count(n=2))
    assert (state.changelog_offset(), dict(state.scan())) == (3, {"b": Count(n=2)})


def test_a_deletion_takes_the_value_out_of_memory_too(reopen: Open) -> None:
    """It had been read before, so it was at hand."""
    state = reopen()
    settle(state, 1, a=Count(n=1))
    assert state.get("a") == Count(n=1)
    settle(state, 2, a=None)
    assert (state.get("a"), dict(state.scan())) == (None, {})


def test_settling_an_older_value_keeps_the_newer_one_in_sight(reopen: Open) -> None:
    """Two units of one key are under way; the first is acknowledged."""
    state = reopen()
    state.stage("a", Count(n=1))
    first = state.staged(["a"])
    state.stage("a", Count(n=2))
    second = state.staged(["a"])
    state.settle(first, state.encoded(first), 1)
    assert state.get("a") == Count(n=2)
    state.settle(second, state.encoded(second), 2)
    assert (state.get("a"), reopen().get("a")) == (Count(n=2), Count(n=2))


def test_settling_a_value_that_is_deleted_by_now_keeps_it_deleted(reopen: Open) -> None:
    """The deletion is still on its way."""
    state = reopen()
    state.stage("a", Count(n=1))
    first = state.staged(["a"])
    state.stage("a", None)
    state.settle(first, state.encoded(first), 1)
    assert (state.get("a"), dict(state.scan())) == (None, {})


def test_a_stage_can_be_taken_back(reopen: Open) -> None:
    """To what was staged before, and to what the disk has."""
    state = reopen()
    settle(state, 1, a=Count(n=1))
    before = state.stage("a", Count(n=2))
    again = state.stage("a", None)
    state.unstage("a", again)
    assert state.get("a") == Count(n=2)
    state.unstage("a", before)
    assert state.get("a") == Count(n=1)


@pytest.mark.parametrize(
    ("prefix", "keys", "reason"),
    [
        ("", ["a", "a|1", "a|2", "a|3", "b|1"], "all, staged ones among them"),
        ("a|", ["a|1", "a|2", "a|3"], "one account's"),
        ("b", ["b|1"], "the last ones"),
        ("c", [], "none"),
    ],
)
def test_a_scan_merges_disk_and_memory_in_key_order(
    reopen: Open, prefix: str, keys: list[str], reason: str
) -> None:
    """Staged values take the place of settled ones; the transport's own keys are hidden."""
    state = reopen()
    state.load([(source_key("orders"), b"7")], 0)
    settle(state, 4, **{"a": Count(n=0), "a|1": Count(n=0), "a|3": Count(n=0), "a|4": Count(n=0)})
    for key in ("a|1", "a|2", "b|1"):
        state.stage(key, Count(n=1))
    state.stage("a|4", None)
    found = list(state.scan(prefix))
    assert [key for key, _ in found] == keys
    for start in ("", "a|2", "a|25", "c"):
        assert [key for key, _ in state.scan(prefix, start=start)] == [
            k for k in keys if k >= start
        ]
    assert {key for key, value in found if value.n} <= {"a|1", "a|2", "b|1"}


def test_a_state_larger_than_the_cache_is_whole(reopen: Open) -> None:
    """What fell out of memory is on the disk; the newest write wins."""
    state = reopen()
    many = CACHE_ENTRIES + 100
    settle(state, many, **{f"k{number:05}": Count(n=number) for number in range(many)})
    settle(state, many + 1, k00000=Count(n=-1))
    for look in (lambda: state, reopen):
        found = look()
        assert found.get("k00000") == Count(n=-1)
        assert [value.n for _, value in found.scan()] == [-1, *range(1, many)]


def test_it_knows_how_far_each_source_was_applied(reopen: Open) -> None:
    """0 where nothing was."""
    state = reopen()
    state.load([(source_key("orders"), b"12"), (source_key("events"), b"3")], 2)
    assert [state.applied(name) for name in ("orders", "events", "ticks")] == [12, 3, 0]


def test_loading_is_what_restoring_does(reopen: Open) -> None:
    """Raw changelog records, tombstones included, in order; reading them twice changes nothing."""
    changes = [(b"a", b'{"n":1}'), (b"b", b'{"n":2}'), (b"a", None), (b"a", b'{"n":3}')]
    for _ in range(2):
        state = reopen()
        state.load(changes, 4)
        assert dict(state.scan()) == {"a": Count(n=3), "b": Count(n=2)}
        assert state.changelog_offset() == 4


def test_what_is_loaded_is_there_after_the_end_of_the_load(reopen: Open) -> None:
    """Written without RocksDB's log, so it has to be on the disk before live changes are."""
    state = reopen()
    state.begin_load()
    for number in range(100):
        state.load([(b"k%d" % number, b'{"n":%d}' % number)], number + 1)
    state.end_load()
    settle(state, 101, k0=Count(n=-1))
    again = reopen()
    assert (len(dict(again.scan())), again.get("k0"), again.get("k99")) == (
        100,
        Count(n=-1),
        Count(n=99),
    )
    assert again.changelog_offset() == 101


def test_a_scan_decodes_only_what_is_needed(reopen: Open) -> None:
    """What is still in memory is given in any case."""
    state = reopen()
    settle(state, 2, a=Count(n=1), b=Count(n=2))
    state.stage("c", Count(n=3))
    assert dict(state.scan(needs=b'"n":2')) == {"b": Count(n=2), "c": Count(n=3)}
