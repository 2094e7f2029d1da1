"""What each event may lead to, status by status: the state machine as a table.

The machine does not run on this table: a status follows from all that is known of an order
(`order_table.STATUS_RULES`). The table says what that comes to, for readers
(`docs/reference/order-states.md` is made from it), and a test walks all its cells.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from streams.models.orders import EventType, OrderStatus

E = EventType
S = OrderStatus


@dataclass(frozen=True, slots=True)
class Transition:
    """Where an event may lead from a status. Not `expected`: late, or a venue's contradiction.

    What is not expected is remembered all the same: it may be an earlier event that came late.
    """

    to: frozenset[OrderStatus]
    expected: bool = False
    note: str = "late or contradictory; the status stays"


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one event under several statuses.

    `keeps`: or the status stays. `odd`: only late events, or a venue that contradicts itself.
    """

    event: EventType
    sources: frozenset[OrderStatus]
    to: frozenset[OrderStatus]
    note: str
    keeps: bool = False
    odd: bool = False


_NONE: frozenset[OrderStatus] = frozenset()
_NEW = frozenset({S.PENDING_NEW})
_REJECTED = frozenset({S.REJECTED})
_CANCELED = frozenset({S.CANCELED})
_EXPIRED = frozenset({S.EXPIRED})
_FILLED = frozenset({S.FILLED})
_PARTLY = frozenset({S.PARTIALLY_FILLED})
_PAUSED = frozenset({S.DONE_FOR_DAY, S.SUSPENDED})
_BOOKED = frozenset({S.PENDING_NEW, S.HELD, S.ACCEPTED, S.TRIGGERED})
_PENDING_CANCEL = frozenset({S.PENDING_CANCEL})
_PENDING_REPLACE = frozenset({S.PENDING_REPLACE})
_PENDING = _PENDING_CANCEL | _PENDING_REPLACE
_WORKING = _BOOKED | _PAUSED | _PARTLY
_OPEN = _WORKING | _PENDING
_ALL = frozenset(OrderStatus)

_VENUE_HAS_IT = "refused before a venue saw it, and yet a venue has it: the venue's word holds"
_LATEST = "the latest news of where it is holds"
_BELOW = "what the pending request covers changes; it still waits"
_UNCOVERED = "what lies below shows again"
_NO_QUESTION = "answers another request, or came before its question"
_REPEATED = "a command was sent again; nothing changes"


def _news(event: EventType, status: OrderStatus) -> tuple[Row, ...]:
    """Return the rows of an event that says where a working order is."""
    here = frozenset({status})
    back = frozenset({S.TRIGGERED}) - here
    return (
        Row(event, _BOOKED - back, here, _LATEST),
        Row(event, back, here, "an election is not undone: an odd word, but the latest", odd=True),
        Row(event, _PAUSED, here | _PARTLY, "taken up again"),
        Row(event, _PARTLY, _PARTLY, "partially filled says more"),
        Row(event, _PENDING, _NONE, _BELOW, keeps=True),
        Row(event, _REJECTED, here, _VENUE_HAS_IT, keeps=True, odd=True),
    )


def _pause(event: EventType, status: OrderStatus) -> tuple[Row, ...]:
    """Return the rows of an event that says that an order rests."""
    here = frozenset({status})
    return (
        Row(event, _WORKING, here, "until the venue takes it up again or fills it"),
        Row(event, _PENDING, _NONE, _BELOW, keeps=True),
        Row(event, _REJECTED, here, _VENUE_HAS_IT, keeps=True, odd=True),
    )


_ROWS: tuple[Row, ...] = (
    Row(E.APPROVED, _NEW, _NEW, "brings the terms"),
    Row(
        E.APPROVED,
        _PARTLY | _PENDING | _CANCELED | _EXPIRED,
        _FILLED,
        "came late: only now is it known how much was ordered",
        keeps=True,
        odd=True,
    ),
    Row(E.ROUTED, _NEW, _NEW, "a broker was chosen; it has not answered"),
    Row(E.ROUTED, _REJECTED, _NEW, _VENUE_HAS_IT, keeps=True, odd=True),
    *_news(E.HELD, S.HELD),
    *_news(E.ACCEPTED, S.ACCEPTED),
    *_news(E.TRIGGERED, S.TRIGGERED),
    *_pause(E.DONE_FOR_DAY, S.DONE_FOR_DAY),
    *_pause(E.SUSPENDED, S.SUSPENDED),
    Row(E.FILL, _WORKING, _PARTLY | _FILLED, "by the quantity that was executed in all"),
    Row(E.FILL, _PENDING, _FILLED, "the request waits on, unless all is executed", keeps=True),
    Row(E.FILL, _CANCELED, _FILLED, "crossed the cancel: counts, reopens nothing", keeps=True),
    Row(E.FILL, _EXPIRED, _FILLED, "crossed the expiry: counts, reopens nothing", keeps=True),
    Row(E.FILL, _FILLED, _FILLED, "more than ordered: booked, shown as overfill", odd=True),
    Row(
        E.FILL,
        _REJECTED,
        _CANCELED | _PARTLY | _FILLED,
        "no rejection, then: canceled with the refusal; if no venue had refused it, it works",
        odd=True,
    ),
    Row(E.FILL_BUSTED, _PARTLY, _BOOKED, "nothing is executed any more", keeps=True),
    Row(E.FILL_BUSTED, _FILLED, _ALL - _PAUSED, _UNCOVERED),
    Row(E.FILL_BUSTED, _PAUSED | _PENDING | _EXPIRED, _NONE, "cum_qty goes down", keeps=True),
    Row(E.FILL_BUSTED, _CANCELED, _REJECTED, "cum_qty goes down (FIX D35)", keeps=True),
    Row(E.FILL_BUSTED, _REJECTED, _NEW, _VENUE_HAS_IT, keeps=True, odd=True),
    Row(E.FILL_CORRECTED, _PARTLY, _FILLED, "by the quantity as corrected", keeps=True),
    Row(
        E.FILL_CORRECTED,
        _FILLED,
        _PARTLY | _PENDING | _CANCELED | _EXPIRED | _FILLED,
        "where less was executed, " + _UNCOVERED,
    ),
    Row(E.FILL_CORRECTED, _PAUSED | _PENDING, _FILLED, "by the quantity", keeps=True),
    Row(E.FILL_CORRECTED, _CANCELED | _EXPIRED, _FILLED, "counts, reopens nothing", keeps=True),
    Row(
        E.FILL_CORRECTED,
        _BOOKED,
        _PARTLY | _FILLED,
        "counts before the fill that it corrects is here; not if that is busted",
        keeps=True,
        odd=True,
    ),
    Row(
        E.FILL_CORRECTED,
        _REJECTED,
        _CANCELED | _PARTLY | _FILLED,
        "as a fill; not if the one it corrects is busted",
        keeps=True,
        odd=True,
    ),
    Row(E.PENDING_CANCEL, _OPEN, _PENDING_CANCEL, "a cancel outranks a replace (FIX)"),
    Row(E.PENDING_REPLACE, _WORKING | _PENDING_REPLACE, _PENDING_REPLACE, "a replace was asked"),
    Row(E.PENDING_REPLACE, _PENDING_CANCEL, _PENDING_CANCEL, "the cancel outranks it", odd=True),
    Row(E.CANCEL_REJECTED, _PENDING_CANCEL, _WORKING | _PENDING_REPLACE, _UNCOVERED),
    Row(E.CANCEL_REJECTED, _ALL - _PENDING_CANCEL, _NONE, _NO_QUESTION, keeps=True),
    Row(
        E.REPLACED,
        _PENDING_REPLACE,
        _WORKING | _FILLED,
        "the new terms hold; a quantity that is filled already fills the order (FIX D11)",
    ),
    Row(E.REPLACED, _BOOKED, _NONE, "unasked: the venue's own restatement", keeps=True),
    Row(
        E.REPLACED,
        _PARTLY | _PAUSED | _PENDING_CANCEL,
        _FILLED,
        "unasked: the venue's own restatement",
        keeps=True,
    ),
    Row(
        E.REPLACED,
        _FILLED,
        _PARTLY | _PENDING_CANCEL | _CANCELED | _EXPIRED | _FILLED,
        "the answer came late: there is more to fill",
        odd=True,
    ),
    Row(
        E.REPLACED,
        _CANCELED | _EXPIRED,
        _FILLED,
        "the answer came late: all of it was filled",
        keeps=True,
        odd=True,
    ),
    Row(E.REPLACED, _REJECTED, _NEW, _VENUE_HAS_IT, keeps=True, odd=True),
    Row(E.REPLACE_REJECTED, _PENDING_REPLACE, _WORKING, _UNCOVERED),
    Row(E.REPLACE_REJECTED, _ALL - _PENDING_REPLACE, _NONE, _NO_QUESTION, keeps=True),
    Row(E.REJECTED, _BOOKED, _REJECTED, "by the broker"),
    Row(E.REJECTED, _PARTLY, _CANCELED, "a part is executed: canceled, with the refusal"),
    Row(E.REJECTED, _PAUSED | _PENDING, _REJECTED | _CANCELED, "canceled if a part is executed"),
    Row(E.CANCELED, _OPEN, _CANCELED, "on request, by the venue, or what an IOC left over"),
    Row(E.CANCELED, _EXPIRED | _REJECTED, _CANCELED, "outranks the other ends", odd=True),
    Row(E.EXPIRED, _OPEN, _EXPIRED, "its time in force is over"),
    Row(E.EXPIRED, _REJECTED, _EXPIRED, "outranks a rejection", odd=True),
    Row(
        E.EXPIRED,
        _CANCELED,
        _EXPIRED,
        "outranks a rejection with fills; not a cancel",
        keeps=True,
        odd=True,
    ),
    *(Row(E.DUPLICATE, frozenset({status}), frozenset({status}), _REPEATED) for status in S),
)


def _table() -> dict[tuple[OrderStatus, EventType], Transition]:
    table = {(status, event): Transition(frozenset({status})) for status in S for event in E}
    for row in _ROWS:
        for status in row.sources:
            to = row.to | {status} if row.keeps else row.to
            table[status, row.event] = Transition(to, not row.odd, row.note)
    return table


#: Every status with every event: 13 by 19 cells.
TRANSITIONS: Mapping[tuple[OrderStatus, EventType], Transition] = MappingProxyType(_table())
