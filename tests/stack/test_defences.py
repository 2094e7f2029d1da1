"""The test of the tests: without a defence, the test that is to notice it fails.

The simulation has the same for the defences that it sees (`tests/simulation/test_simulation.py`);
between the two there is none without such a test. `docs/guarantees.md` lists them.
"""

import os
import subprocess
import sys

import pytest

from streams.defences import Defence
from streams.dev.reference import ROOT
from tests.simulation.test_simulation import CAUGHT

BOUND_S = 180
#: What pytest ends with when tests failed; more would be an error of its own.
FAILED = 1

NOTICED_BY = {
    Defence.ACKS: "tests/unit/test_publisher.py::test_done_comes_when_all_is_acknowledged",
    Defence.FLOOR: "tests/unit/test_ledger.py::test_the_floor_never_passes_a_batch_under_way",
    Defence.REEMIT: "tests/unit/test_runner_order.py"
    "::test_what_the_table_has_is_marked_as_redelivered",
    Defence.CUMULATIVE: "tests/unit/test_sends.py"
    "::test_a_comparison_fills_up_what_no_execution_tells",
    Defence.FENCE: "tests/unit/test_lease.py::test_standing_still_ends_the_process",
    Defence.FIND_FIRST: "tests/unit/test_sends.py::test_after_a_takeover_the_broker_is_asked_first",
    Defence.UNKNOWN: "tests/unit/test_sends.py::test_without_an_answer_the_broker_is_asked",
    Defence.STABLE_ID: "tests/unit/test_sends.py::test_after_a_takeover_the_broker_is_asked_first",
    Defence.VALID_UNTIL: "tests/unit/test_sends.py::test_what_may_not_go_is_refused_at_once",
    Defence.SEEN_OFFSETS: "tests/unit/test_history.py::test_what_is_held_is_skipped",
    Defence.SET_ASIDE: "tests/unit/test_runner_order.py"
    "::test_a_step_that_raises_leaves_only_a_dead_letter",
}


def test_no_defence_is_without_a_test() -> None:
    """A new one has to be added here or to the simulation."""
    assert {*NOTICED_BY, *(defence for defence, *_ in CAUGHT)} == set(Defence)


@pytest.mark.parametrize("defence", NOTICED_BY)
def test_without_a_defence_a_test_fails(defence: Defence) -> None:
    """In a process of its own, which the variable reaches as it would a worker."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", NOTICED_BY[defence]],
        cwd=ROOT,
        env={**os.environ, "ORDERFLOW_TEST_WITHOUT": defence},
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == FAILED, done.stdout[-2_000:]
