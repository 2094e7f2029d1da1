"""What the allocator remembers: positions by strategy, targets on the way, fills by order."""

from streams.domain.aging import GONE_DAYS, KEEP_DAYS
from streams.domain.allocating.rows import AllocatorRow
from tables.base import TableSpec

ALLOCATOR = TableSpec(
    name="allocator",
    key="account|h|strategy|symbol; account|a|allocation_id; account|l|allocation_id|symbol;"
    " account|d|allocation_id|part's account;"
    " account#order_id; ~day|time of a batch",
    value=AllocatorRow,
    written_by="allocator",
    doc="Positions by account, strategy and symbol; targets and how far they are; fills by order.",
    bound=(
        "One record per account, strategy and symbol that ever traded, with at most one child"
        " order. Per order with fills about 100 bytes and 40 per execution, for"
        f" {KEEP_DAYS} days after the last one. An allocation, about 300 bytes and 400 per symbol,"
        f" goes {KEEP_DAYS} days after it was over, {GONE_DAYS} if it was divided; its id stays for"
        f" {GONE_DAYS} days more. Those that are not over stay."
    ),
)
