"""Who died of which record: what the journal keeps over the death of its process."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from streams.ports import Record
from streams.transport import fatal
from streams.transport.gate import Gate
from streams.transport.journal import (
    DECODER,
    MAX_DEATHS,
    PARTS,
    Journal,
    Suspect,
    after_death,
)

LANE = ("taker", "orders.requested.v1", 3)


def at(first: int, end: int | None = None, deaths: int = 0) -> Suspect:
    """Return a range of the lane, by default of one record."""
    return Suspect(*LANE, first, first + 1 if end is None else end, deaths)


def records(*offsets: int) -> list[Record]:
    """Return records of the lane."""
    return [Record(LANE[1], LANE[2], offset, b"k", None, b"v", 0) for offset in offsets]


def started(folder: Path) -> Journal:
    """Return the journal of a process that just started."""
    journal = Journal()
    journal.attach(folder)
    return journal


@pytest.mark.parametrize(
    ("before", "under_way", "after", "reason"),
    [
        ([], [], [], "idle: nobody is suspected"),
        ([], [at(5)], [at(5, deaths=1)], "the first death of a record"),
        ([at(5, deaths=1)], [at(5)], [at(5, deaths=2)], "one more"),
        ([at(5, deaths=2)], [at(6)], [at(5, deaths=2), at(6, deaths=1)], "another record"),
        ([at(0, 90, 1)], [at(10, 16)], [at(10, 16, 2)], "a range narrows, its deaths count on"),
        ([at(0, 9, 1)], [at(8, 12)], [at(0, 9, 1), at(8, 12, 1)], "no part of it: another range"),
    ],
)
def test_a_death_counts_for_what_was_under_way(
    before: list[Suspect], under_way: list[Suspect], after: list[Suspect], reason: str
) -> None:
    """A range within a suspected one takes its place."""
    assert after_death(before, under_way) == after


def test_another_agent_at_the_same_record_is_another_matter() -> None:
    """It may well do without dying."""
    other = Suspect("other", *LANE[1:], 5, 6)
    found = after_death([at(5, deaths=2)], [other])
    assert [one.deaths for one in found] == [2, 1]


def test_a_record_is_condemned_after_three_deaths(tmp_path: Path) -> None:
    """The journal outlives the process that wrote it."""
    for deaths in range(MAX_DEATHS):
        journal = started(tmp_path)
        assert journal.condemned(LANE[0], records(7)[0]) == ""
        assert [one.deaths for one in journal.suspects] == ([deaths] if deaths else [])
        journal.stepping(journal.lane(*LANE), 7)
    journal = started(tmp_path)
    assert "died 3 times" in journal.condemned(LANE[0], records(7)[0])
    assert journal.condemned(LANE[0], records(8)[0]) == ""
    assert journal.condemned("other", records(7)[0]) == ""


def test_a_record_that_got_through_is_innocent(tmp_path: Path) -> None:
    """However often the process is killed while it is at some record."""
    for _ in range(2 * MAX_DEATHS):
        journal = started(tmp_path)
        journal.stepping(journal.lane(*LANE), 7)
        journal = started(tmp_path)
        assert journal.suspects == [at(7, deaths=1)]
        journal.lived_through(LANE[0], records(7)[0])
    assert started(tmp_path).suspects == []


def test_what_ends_in_order_names_nothing(tmp_path: Path) -> None:
    """Between records, and when the worker gives up by itself."""
    journal = started(tmp_path)
    journal.stepping(journal.lane(*LANE), 7)
    journal.idle()
    assert started(tmp_path).suspects == []
    journal = started(tmp_path)
    journal.stepping(journal.lane(*LANE), 7)
    journal.clear()
    assert started(tmp_path).suspects == []


def test_a_worker_that_gives_up_by_itself_names_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 70 is the infrastructure's fault, not that of the record under way."""

    def leave(code: int) -> NoReturn:
        raise SystemExit(code)

    monkeypatch.setattr(fatal.os, "_exit", leave)
    journal = started(tmp_path)
    journal.stepping(journal.lane(*LANE), 7)
    with pytest.raises(SystemExit, match="70"):
        fatal.die("Kafka is away")
    assert started(tmp_path).suspects == []


def test_what_a_process_died_of_while_decoding_is_found(tmp_path: Path) -> None:
    """The batch first, then each of its records by itself."""
    for deaths in range(MAX_DEATHS):
        journal = started(tmp_path)
        assert deaths == 0 or [one.deaths for one in journal.suspects] == [deaths]
        died_at(journal, 7)
    journal = started(tmp_path)
    with journal.decoding(*LANE[1:], 0, 20) as refused:
        assert [offset for offset in range(20) if refused(offset)] == [7]
    assert len(journal.suspects) == 1
    journal.done(*LANE, end=20)
    assert journal.suspects == []


def died_at(journal: Journal, bad: int) -> None:
    """Decode a batch as a process does that dies of one record."""
    decoding = journal.decoding(*LANE[1:], 0, 20)
    refused = decoding.__enter__()
    for offset in range(bad + 1):
        assert refused(offset) == ""


@pytest.mark.parametrize("name", ["journal", "journal.lanes", "suspects.json"])
@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"{}", b"[1]"])
def test_files_that_cannot_be_read_are_begun_anew(
    tmp_path: Path, name: str, content: bytes
) -> None:
    """A worker starts all the same."""
    journal = started(tmp_path)
    journal.stepping(journal.lane(*LANE), 7)
    (tmp_path / name).write_bytes(content)
    assert started(tmp_path).suspects in ([], [at(7, deaths=1)])


async def test_a_range_is_searched_until_it_is_one_record(tmp_path: Path) -> None:
    """Each death leaves a sixteenth; in the end one record of 1,000 is condemned, and no other."""
    batch, bad = records(*range(1_000)), 613
    for deaths in range(10):
        journal = started(tmp_path)
        assert deaths == 0 or len(journal.suspects) == 1
        if not await _handled(journal, batch, bad):
            continue
        assert [one for one in range(1_000) if journal.condemned(LANE[0], batch[one])] == [bad]
        assert deaths == 4  # 1,000, 63, 4, 1
        return
    pytest.fail("never found")


async def _handled(journal: Journal, batch: Sequence[Record], bad: int) -> bool:
    """Handle a batch; return whether the process would have lived through it."""
    for part in journal.parts(LANE[0], batch):
        handling = journal.handling(LANE[0], part)
        await handling.__aenter__()
        condemned = journal.condemned(LANE[0], part[0])
        if not condemned and any(record.offset == bad for record in part):
            return False  # as a killed process, it does not leave
        await handling.__aexit__(None, None, None)
    return True


def test_without_suspects_a_batch_is_handled_whole() -> None:
    """An empty one as well: an agent may want to know."""
    journal = Journal()
    assert list(journal.parts(LANE[0], records(1, 2))) == [records(1, 2)]
    assert list(journal.parts(LANE[0], [])) == [[]]


def test_only_the_suspected_range_is_cut_up(tmp_path: Path) -> None:
    """What lies around it is handled as ever; gaps between offsets do not matter."""
    journal = Journal()
    journal.suspects = [at(100, 200, 1)]
    found = list(journal.parts(LANE[0], records(*range(90, 210, 2))))
    assert found[0] == records(*range(90, 100, 2))
    assert found[-1] == records(*range(200, 210, 2))
    assert {len(part) for part in found[1:-1]} <= {-(-50 // PARTS), 50 % -(-50 // PARTS)}
    assert [one.offset for part in found for one in part] == list(range(90, 210, 2))


def test_a_range_is_forgotten_as_far_as_it_is_done() -> None:
    """The rest of it stays suspected."""
    journal = Journal()
    journal.suspects = [at(100, 200, 2), Suspect("other", *LANE[1:], 5, 6, 1)]
    journal.lived_through(LANE[0], records(149)[0])
    assert journal.suspects[0] == at(150, 200, 2)
    journal.done(*LANE, end=200)
    assert [one.agent for one in journal.suspects] == ["other"]


def test_a_condemned_record_is_remembered_until_its_dead_letter_is_durable() -> None:
    """A kill before that brings it again, and it must not be tried again."""
    journal = Journal()
    journal.suspects = [at(5, deaths=MAX_DEATHS)]
    journal.lived_through(LANE[0], records(6)[0])
    assert journal.condemned(LANE[0], records(5)[0])
    journal.done(*LANE, end=7)
    assert journal.suspects == []


async def test_who_awaits_did_not_do_it(tmp_path: Path) -> None:
    """A batch is decoded while another is handled: the death is the decoder's alone."""
    journal = started(tmp_path)
    async with journal.handling(LANE[0], records(0)):
        (alone,) = started(tmp_path).suspects
        assert (alone.agent, alone.first, alone.end) == (LANE[0], 0, 1)
    journal = started(tmp_path / "other")
    async with journal.handling(LANE[0], records(0)):
        with journal.decoding(LANE[1], LANE[2], 1, 9):
            (found,) = started(tmp_path / "other").suspects
    assert (found.agent, found.first, found.end) == (DECODER, 1, 9)


async def test_a_suspect_is_under_way_alone(tmp_path: Path) -> None:
    """Or what is beside it would die with it and be suspected."""
    journal = Journal()
    journal.suspects = [at(5, deaths=1)]
    inside: list[int] = []
    most: dict[int, int] = {}

    async def handle(offset: int) -> None:
        async with journal.handling(LANE[0], records(offset)):
            inside.append(offset)
            for one in inside:
                most[one] = max(most.get(one, 0), len(inside))
            await asyncio.sleep(0.001)
            inside.remove(offset)

    await asyncio.wait_for(asyncio.gather(*(handle(offset) for offset in range(10))), 5)
    assert most.pop(5) == 1
    assert max(most.values()) > 1


async def test_a_gate_lets_others_in_when_who_wanted_to_be_alone_gave_up() -> None:
    """A batch that waited is cancelled when its partition is given up."""
    gate = Gate()
    await gate.enter(alone=False)
    alone = asyncio.create_task(gate.enter(alone=True))
    await asyncio.sleep(0)
    other = asyncio.create_task(gate.enter(alone=False))
    await asyncio.sleep(0)
    assert not other.done()
    alone.cancel()
    await asyncio.wait_for(other, 1)
