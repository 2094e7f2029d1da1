"""What a comparison of a broker with us found: one record per difference, one per comparison."""

from typing import Literal

from pydantic import Field

from streams.models.base import LongId, Message, Nanos

#: `missing_…` and `unknown_order` as seen from here; `over_` and `open_at_broker`: not so here.
Finding = Literal[
    "summary",
    "missing_fill",
    "extra_fill",
    "over_at_broker",
    "open_at_broker",
    "missing_order",
    "unknown_order",
    "position",
]


class Reconciliation(Message):
    """One difference between a broker and us, or the summary of one comparison.

    Record key: the account; of a summary the broker and the partition. `ours` and `theirs` say what
    differs: filled quantities, statuses, or positions. What is `mended` was published as events.
    """

    finding: Finding
    reconciliation_id: LongId = Field(
        description="A function of what differs: the same difference has the same id in each run."
    )
    run_id: LongId = Field(description="Of one comparison of one partition's accounts.")
    broker: str
    partition: int = Field(ge=0)
    account: str = ""
    symbol: str = ""
    order_id: str = ""
    client_order_id: str = ""
    ours: str = ""
    theirs: str = ""
    mended: bool = False
    orders: int = Field(0, ge=0, description="Of a summary: orders that were compared.")
    positions: int = Field(0, ge=0, description="Of a summary: positions that were compared.")
    differences: int = Field(0, ge=0, description="Of a summary: what differed, mended or not.")
    unmended: int = Field(0, ge=0, description="Of a summary: what still differs.")
    text: str = ""
    ts_event_ns: Nanos
