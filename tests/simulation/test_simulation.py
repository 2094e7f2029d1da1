"""The short form of the simulation: fixed seeds, in this process. README.md says what it is."""

import pytest

from streams import defences
from streams.defences import Defence
from tests.simulation.many import PORTION, explained, portion
from tests.simulation.run import Outcome, plan_of, play
from tests.simulation.run import explain as story_of

#: Defences, within how many seeds their loss is seen, and by which invariant among others.
CAUGHT = [
    (Defence.STORED_VERDICT, 20, "event ids"),
    (Defence.REEMIT, 40, "outcome"),
    (Defence.STATE_FIRST, 20, "event ids"),
    (Defence.FLOOR, 20, "outcome"),
    (Defence.ACKS, 60, "outcome"),
    (Defence.EXEC_ID, 120, "position"),
    (Defence.FENCE, 120, "tables"),
]


@pytest.mark.parametrize("first", range(0, 1_200, 3 * PORTION))
def test_everything_holds(first: int) -> None:
    """Whatever crashes, repeats and moves; and enough does."""
    tally = portion(range(first, first + 3 * PORTION))
    failure = tally.first_failure()
    assert failure is None, explained(failure[1], failure[0], "")
    assert tally.crashes > PORTION
    assert tally.redelivered > 5 * PORTION


@pytest.mark.parametrize(("defence", "within", "invariant"), CAUGHT)
def test_the_loss_of_a_defence_is_seen(defence: Defence, within: int, invariant: str) -> None:
    """Each of these runs passes with the defence in place: see above."""
    tally = portion(range(within), defence)
    assert invariant in tally.failed
    assert defences.on(defence)


def outcome(seed: int) -> Outcome:
    """Return what a seed comes to without one of the defences."""
    defences.switch_off(Defence.ACKS)
    try:
        return play(plan_of(seed))
    finally:
        defences.switch_off("")


@pytest.mark.parametrize("seed", [2, 3, 40])
def test_a_seed_repeats_exactly(seed: int) -> None:
    """What happened and what failed, to the letter."""
    assert story_of(outcome(seed)) == story_of(outcome(seed))


def test_a_failure_is_told_in_few_lines() -> None:
    """What it does not take to fail is left out of the story."""
    whole = outcome(2)
    assert whole.found
    told = explained(2, whole.invariant, Defence.ACKS)
    assert told.startswith(f"seed 2\n  {whole.invariant}: ")
    assert len(told.splitlines()) < len(story_of(whole).splitlines())
