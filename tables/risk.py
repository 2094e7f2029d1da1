"""What the validator remembers: accounts with what they have at stake, orders, requests."""

from streams.domain.aging import GONE_DAYS, KEEP_DAYS, Expiry, Gone, day_after, due_key
from streams.domain.build import make
from streams.domain.exposure import day_of
from streams.domain.exposure_models import RiskOrder, RiskRecord
from streams.ports import Unit
from tables.aging import Sweeps
from tables.base import TableSpec


def expire(unit: Unit[RiskRecord], name: str, from_ns: int, days: int = KEEP_DAYS) -> None:
    """Note when the records of an order are due."""
    day = day_after(day_of(from_ns), days)
    unit.put(due_key(day, name), make(Expiry, order=name))


def sweep(unit: Unit[RiskRecord], sweeps: Sweeps) -> None:
    """Let orders go whose day has come and that are closed; look at open ones later again."""
    for due in sweeps.records(unit):
        if isinstance(due, Expiry):
            _leave(unit, due.order)


def _leave(unit: Unit[RiskRecord], name: str) -> None:
    known = unit.get(name)
    if isinstance(known, RiskOrder) and (known.live or known.children):
        expire(unit, name, unit.now_ns)
        return
    for request, _ in list(unit.scan(f"{name}|")):
        unit.delete(request)
    today = day_of(unit.now_ns)
    if isinstance(known, RiskOrder):
        unit.put(name, make(Gone, day=today, content=known.content))
        expire(unit, name, unit.now_ns, GONE_DAYS)
    elif isinstance(known, Gone) and day_after(known.day, GONE_DAYS) < today:
        unit.delete(name)


RISK = TableSpec(
    name="risk",
    key="account, account|order_id, account|order_id|request_id, ~day|account|order_id",
    value=RiskRecord,
    written_by="validator",
    doc=(
        "Positions, money, reservations and rate of each account; each order with its verdict"
        " and what it reserves; each cancel and replace with its answer."
    ),
    bound=(
        "One record per account, 150 bytes a symbol. One per order of about 1.4 kB, and one of"
        f" 500 bytes per request; both go {KEEP_DAYS} days after the order was judged, if it is"
        f" closed then, else as many days later again. What stays of an order, for {GONE_DAYS} days"
        " more, is its id with a digest, about 200 bytes with what says when it is due."
    ),
)
