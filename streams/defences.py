"""Defences that a test may switch off, one at a time, to see that some test fails without it.

A promise whose test passes with the defence gone is not tested. `ORDERFLOW_TEST_WITHOUT` names
what a worker does without; it is for tests alone, and a worker that runs so says it loudly.
`docs/guarantees.md` says which test catches the loss of which.
"""

from enum import StrEnum


class Defence(StrEnum):
    """What keeps a promise; the value is its name in `ORDERFLOW_TEST_WITHOUT`."""

    STORED_VERDICT = "stored-verdict"  # a command that comes again is answered from its verdict
    REEMIT = "re-emit"  # a redelivered record emits its outputs again
    STATE_FIRST = "state-first"  # no output before the state that explains it is durable
    FLOOR = "floor"  # no commit above a batch that is not durable
    ACKS = "acks"  # a unit is done when Kafka has acknowledged it, not when it was sent
    EXEC_ID = "exec-id"  # an execution counts once, by its id
    CUMULATIVE = "cumulative"  # and by the cumulative quantity, where ids differ
    FENCE = "fence"  # a worker that stood still ends before it writes or sends
    FIND_FIRST = "find-first"  # what may have been sent is asked for before it is sent again
    UNKNOWN = "unknown"  # a call without an answer is unknown, not refused
    STABLE_ID = "stable-id"  # the id at the broker is a function of the order
    VALID_UNTIL = "valid-until"  # an order too old to be wanted is not sent
    SEEN_OFFSETS = "seen-offsets"  # the history skips offsets that it holds
    SET_ASIDE = "set-aside"  # a record that fails goes to the dead letters, not into nothing


_off: set[Defence] = set()


def on(defence: Defence) -> bool:
    """Say whether a defence is in place; it always is, but in a test of the tests."""
    return defence not in _off


def switch_off(names: str) -> frozenset[Defence]:
    """Do without the defences of this comma-separated list from now on; return them.

    Raises ValueError for a name that is none.
    """
    _off.clear()
    _off.update(Defence(name.strip()) for name in names.split(",") if name.strip())
    return frozenset(_off)
