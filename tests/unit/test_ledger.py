"""The ledger: what may be committed, whatever order batches are finished in."""

import itertools

import pytest

from streams.transport.ledger import MAX_OPEN_BATCHES, MAX_OPEN_BYTES, Ledger

TP = ("orders", 0)
OTHER = ("orders", 1)


def ledger(*ends: int, agents: int = 1) -> Ledger:
    """Return a ledger with batches delivered that end there, the first from 0."""
    made = Ledger()
    for first, end in itertools.pairwise((0, *ends)):
        made.opened(TP, first, end, agents)
    return made


def test_nothing_is_committed_before_anything_is_done() -> None:
    """A delivery alone raises no floor."""
    assert ledger(10, 20).floor(TP) is None


@pytest.mark.parametrize(
    ("done", "floor", "reason"),
    [
        ((0,), 10, "the first batch is done"),
        ((10,), None, "the second is done, the first is under way"),
        ((0, 10), 20, "both are done"),
        ((10, 0), 20, "in the other order"),
        ((0, 20), 10, "a hole in the middle"),
        ((20, 10, 0), 30, "backwards"),
        ((7,), None, "no batch begins there"),
    ],
)
def test_the_floor_is_the_end_of_the_unbroken_run(
    done: tuple[int, ...], floor: int | None, reason: str
) -> None:
    """Three batches of ten."""
    made = ledger(10, 20, 30)
    for first in done:
        made.done(TP, first)
    assert made.floor(TP) == floor


@pytest.mark.parametrize("order", list(itertools.permutations((0, 10, 20, 30))))
def test_the_floor_never_passes_a_batch_under_way(order: tuple[int, ...]) -> None:
    """After each step of every order: below the floor all is done."""
    made = ledger(10, 20, 30, 40)
    finished: set[int] = set()
    for first in order:
        made.done(TP, first)
        finished.add(first)
        assert all(below in finished for below in range(0, made.floor(TP) or 0, 10))
    assert (made.floor(TP), made.in_flight()) == (40, 0)


def test_a_batch_waits_for_every_agent_that_got_it() -> None:
    """Two agents read the topic; the slower one decides."""
    made = ledger(10, agents=2)
    made.done(TP, 0)
    assert (made.floor(TP), made.in_flight()) == (None, 1)
    made.done(TP, 0)
    assert (made.floor(TP), made.in_flight()) == (10, 0)


def test_a_topic_without_agents_is_done_at_once() -> None:
    """Nobody has to finish it."""
    assert ledger(10, agents=0).floor(TP) == 10


def test_partitions_do_not_wait_for_each_other() -> None:
    """One stands still, the other is committed."""
    made = ledger(10)
    made.opened(OTHER, 5, 8, 1)
    made.done(OTHER, 5)
    assert made.floors() == {OTHER: 8}


def test_what_was_given_up_is_not_committed() -> None:
    """A late `done` of a partition that went to another worker changes nothing."""
    made = ledger(10, 20)
    made.done(TP, 0)
    made.forget({TP})
    made.done(TP, 10)
    assert (made.floors(), made.in_flight()) == ({}, 0)


def test_a_partition_has_room_until_it_holds_too_many_batches() -> None:
    """Each by itself, whatever agents have done of others; room comes back as its first is done."""
    made = Ledger()
    for number in range(MAX_OPEN_BATCHES):
        assert made.has_room(TP)
        made.opened(TP, number, number + 1, 1, 10)
        made.begun(TP, number)
    assert (made.has_room(TP), made.has_room(OTHER)) == (False, True)
    made.done(TP, 1)
    assert not made.has_room(TP)
    made.done(TP, 0)
    assert made.has_room(TP)


def test_a_partition_has_room_until_it_holds_too_many_bytes() -> None:
    """Given back when the batch is done, or the partition is given up."""
    made = Ledger()
    made.opened(TP, 0, 1, 1, MAX_OPEN_BYTES)
    made.begun(TP, 0)
    assert not made.has_room(TP)
    made.done(TP, 0)
    assert made.has_room(TP)
    made.opened(TP, 1, 2, 1, MAX_OPEN_BYTES)
    made.forget({TP})
    assert made.has_room(TP)


def test_a_partition_has_no_room_while_a_batch_lies_untouched() -> None:
    """Every agent that got it must have begun."""
    made = Ledger()
    made.opened(TP, 0, 5, 2)
    made.begun(TP, 0)
    assert not made.has_room(TP)
    made.begun(TP, 0)
    assert made.has_room(TP)
