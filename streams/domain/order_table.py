"""The order state machine as data: what decides an order's status, and its terms.

The status is not stepped from event to event. It follows from everything that is known of the
order, by the first row of `STATUS_RULES` that holds; so the order in which events arrive does
not matter. `order_transitions` says what that comes to, status by status.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from streams.models.orders import EventType, OrderStatus

E = EventType
S = OrderStatus

#: How good an event's word on the order's terms is, within one revision.
TERMS_RANK: Mapping[EventType, int] = {
    E.REPLACED: 4,  # what the venue made of it, a quantity raised to what was filled included
    E.APPROVED: 3,
    E.ACCEPTED: 2,  # of a bracket's child, which has no approval of its own
    E.HELD: 1,
}

#: News of where an order is. The latest `ts_event_ns` holds; at the same time, the higher rank.
NEWS_RANK: Mapping[EventType, int] = {
    E.HELD: 1,
    E.ACCEPTED: 2,
    E.TRIGGERED: 3,
    E.SUSPENDED: 4,
    E.DONE_FOR_DAY: 5,
}

#: What may end an order, strongest first, where a venue or the legs of a split say several.
ENDS: tuple[EventType, ...] = (
    E.CANCELED,  # says that the order had been on a book, which `rejected` denies
    E.EXPIRED,
    E.REJECTED,
)

#: Events about an order at a venue, with the client order id of one leg. `rejected` is one too
#: if it names a broker: without one it is the answer to a request, before any venue saw it.
LEG_EVENTS = frozenset(
    {
        E.ROUTED,
        E.ACCEPTED,
        E.HELD,
        E.TRIGGERED,
        E.FILL,
        E.FILL_BUSTED,
        E.FILL_CORRECTED,
        E.REPLACED,
        E.CANCELED,
        E.EXPIRED,
        E.DONE_FOR_DAY,
        E.SUSPENDED,
    }
)

#: Legs that one order was split into; a bracket's children are orders of their own.
SPLIT_LEGS = frozenset({"close", "open"})

ASKS_CANCEL = frozenset({E.PENDING_CANCEL})
ASKS_REPLACE = frozenset({E.PENDING_REPLACE})
ANSWERS = frozenset({E.CANCEL_REJECTED, E.REPLACED, E.REPLACE_REJECTED})

#: Events that do not prove that the order exists: somebody may have mistyped its id.
NO_PROOF = frozenset({E.CANCEL_REJECTED, E.REPLACE_REJECTED})


class Facts(NamedTuple):
    """What the status follows from."""

    full: bool
    ended: EventType | None
    cancel_asked: bool
    replace_asked: bool
    some: bool
    news: EventType | None


@dataclass(frozen=True, slots=True)
class StatusRule:
    """The status while `holds`, and why the row stands where it stands."""

    status: OrderStatus
    holds: Callable[[Facts], bool]
    why: str


STATUS_RULES: tuple[StatusRule, ...] = (
    StatusRule(
        S.FILLED,
        lambda facts: facts.full,
        "All of the quantity was executed. This is counted, never taken from a venue's word. It"
        " stands above canceled (FIX: Filled outranks Canceled): it does not matter whether the"
        " cancel came first. A bust that takes some back uncovers what lies below.",
    ),
    StatusRule(
        S.CANCELED,
        lambda facts: facts.ended is E.CANCELED or (facts.ended is E.REJECTED and facts.some),
        "Late fills raise cum_qty and do not reopen the order (FIX D35). Rejected with fills is"
        " canceled: a part was executed, the refusal is about the rest.",
    ),
    StatusRule(S.EXPIRED, lambda facts: facts.ended is E.EXPIRED, "Late fills as with canceled."),
    StatusRule(S.REJECTED, lambda facts: facts.ended is E.REJECTED, "Nothing was executed."),
    StatusRule(
        S.PENDING_CANCEL,
        lambda facts: facts.cancel_asked,
        "A cancel waits for its answer; fills do not end the waiting (FIX D4).",
    ),
    StatusRule(
        S.PENDING_REPLACE,
        lambda facts: facts.replace_asked,
        "A replace waits for its answer; fills do not end the waiting (FIX D10).",
    ),
    StatusRule(
        S.DONE_FOR_DAY,
        lambda facts: facts.news is E.DONE_FOR_DAY,
        "Until the venue takes it up again or fills it. Not terminal.",
    ),
    StatusRule(
        S.SUSPENDED,
        lambda facts: facts.news is E.SUSPENDED,
        "Until the venue takes it up again or fills it.",
    ),
    StatusRule(S.PARTIALLY_FILLED, lambda facts: facts.some, "Working, and a part is executed."),
    StatusRule(S.TRIGGERED, lambda facts: facts.news is E.TRIGGERED, "Its stop price was met."),
    StatusRule(S.ACCEPTED, lambda facts: facts.news is E.ACCEPTED, "On the book."),
    StatusRule(S.HELD, lambda facts: facts.news is E.HELD, "The broker has it, not at work yet."),
    StatusRule(S.PENDING_NEW, lambda _: True, "No broker has answered."),
)


def status_of(facts: Facts) -> OrderStatus:
    """Return the status that follows from the facts."""
    for rule in STATUS_RULES:
        if rule.holds(facts):
            return rule.status
    raise AssertionError("the last rule holds always")
