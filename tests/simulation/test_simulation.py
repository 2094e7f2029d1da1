"""The short form of the simulation: fixed seeds, in this process. README.md says what it is."""

import pytest

from streams import defences
from streams.defences import Defence
from tests.simulation.many import PORTION, explained, first_failing, portion
from tests.simulation.run import NETWORK_EVERY, Outcome, has_network, plan_of, play
from tests.simulation.run import explain as story_of

#: Defences, within how many seeds their loss is seen, and by which invariant among others.
CAUGHT = [
    (Defence.STORED_VERDICT, 20, "event ids"),
    (Defence.REEMIT, 40, "outcome"),
    (Defence.STATE_FIRST, 40, "event ids"),
    (Defence.FLOOR, 40, "outcome"),
    (Defence.ACKS, 60, "outcome"),
    (Defence.EXEC_ID, 150, "position"),
    (Defence.FENCE, 150, "event ids"),
    (Defence.CUMULATIVE, 50, "broker"),
    (Defence.SET_ASIDE, 60, "inputs"),
]
#: Those of the sender, within how many of the seeds that have a broker across a network.
CAUGHT_SENDING = [
    (Defence.FIND_FIRST, 80, "outcome"),
    (Defence.UNKNOWN, 160, "outcome"),
    (Defence.STABLE_ID, 80, "sent"),
    (Defence.VALID_UNTIL, 40, "sent"),
]


@pytest.mark.parametrize("first", range(0, 1_200, 3 * PORTION))
def test_everything_holds(first: int) -> None:
    """Whatever crashes, repeats and moves; and enough does."""
    tally = portion(range(first, first + 3 * PORTION))
    failure = tally.first_failure()
    assert failure is None, explained(failure[1], failure[0], "")
    assert tally.crashes > PORTION
    assert tally.redelivered > PORTION


@pytest.mark.parametrize(("defence", "within", "invariant"), CAUGHT)
def test_the_loss_of_a_defence_is_seen(defence: Defence, within: int, invariant: str) -> None:
    """Each of these runs passes with the defence in place: see above."""
    assert first_failing(range(within), defence, invariant) is not None
    assert defences.on(defence)


@pytest.mark.parametrize(("defence", "within", "invariant"), CAUGHT_SENDING)
def test_the_loss_of_a_defence_of_the_sender_is_seen(
    defence: Defence, within: int, invariant: str
) -> None:
    """So does each of these."""
    seeds = [seed for seed in range(within * NETWORK_EVERY) if has_network(seed)]
    assert first_failing(seeds, defence, invariant) is not None


def outcome(seed: int) -> Outcome:
    """Return what a seed comes to without one of the defences."""
    defences.switch_off(Defence.ACKS)
    try:
        return play(plan_of(seed))
    finally:
        defences.switch_off("")


@pytest.mark.parametrize("seed", [14, 41, 71])
def test_a_seed_repeats_exactly(seed: int) -> None:
    """What happened and what failed, to the letter; one through JSON, one across a network."""
    assert story_of(outcome(seed)) == story_of(outcome(seed))


def test_a_failure_is_told_in_few_lines() -> None:
    """What it does not take to fail is left out of the story."""
    whole = outcome(14)
    assert whole.found
    told = explained(14, whole.invariant, Defence.ACKS)
    assert told.startswith(f"seed 14\n  {whole.invariant}: ")
    assert len(told.splitlines()) < len(story_of(whole).splitlines())
