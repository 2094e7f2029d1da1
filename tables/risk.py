"""What the validator remembers: accounts with what they have at stake, orders, requests."""

from streams.domain.exposure_models import RiskRecord
from tables.base import TableSpec

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
        "One record per account, 150 bytes a symbol. One per order of about 1.2 kB, and one per"
        " request; both go with all that is theirs a week after the order was judged, if it is"
        " closed then, else a week later again."
    ),
)
