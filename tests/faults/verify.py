"""The invariants: what must hold when a run has come to rest, whatever happened during it.

    I1  every order that was requested has exactly one outcome, or is open at the broker
    I2  no order is at the broker twice
    I3  a position is the sum of its distinct fills, in the topics, the table, the history, the
        views and at the broker
    I4  the history has every offset of every topic once
    I5  a table is what a rebuild from the topics gives
    I6  every input is in exactly one of: answered, rejected, dead letters

Each check looks at `Facts` and yields violations. It fails by what it finds, so `test_verify.py`
shows each of them a run that breaks it.
"""

from collections.abc import Callable, Iterator

from tests.faults import books, orders
from tests.faults.facts import Facts, Seen
from tests.faults.findings import Verdict, Violation

Check = Callable[[Facts], Iterator[Violation]]


def verify(seen: Seen) -> Verdict:
    """Return everything that is wrong with a run."""
    facts = Facts(seen)
    return Verdict(tuple(violation for check in CHECKS for violation in check(facts)))


CHECKS: tuple[Check, ...] = (
    orders.came_to_rest,
    orders.acknowledged_is_kept,
    orders.inputs_are_answered_once,
    orders.ticks_are_taken_once,
    orders.own_records_are_sound,
    orders.orders_have_one_outcome,
    orders.every_step_was_taken,
    orders.nothing_is_sent_twice,
    books.executions_add_up,
    books.positions_are_their_fills,
    books.the_broker_agrees,
    books.the_other_broker_agrees,
    books.the_history_is_the_topics,
    books.tables_can_be_rebuilt,
)
