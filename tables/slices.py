"""What the slicer remembers: parents, and each of their children."""

from streams.domain.aging import GONE_DAYS, KEEP_DAYS
from streams.domain.slicing.rows import SlicerRow
from tables.base import TableSpec

SLICES = TableSpec(
    name="slices",
    key="account|p|parent_id; account|c|order_id; ~day|time of a batch",
    value=SlicerRow,
    written_by="slicer",
    doc="Each sliced order, and its child orders.",
    bound=(
        "Per parent about 900 bytes; per child about 1,300, and 370 per execution. Both go"
        f" {KEEP_DAYS} days after the parent was over; its id stays for {GONE_DAYS} days more."
    ),
)
