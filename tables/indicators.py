"""What the indicators agent remembers: the newest bars of each series, and what was before."""

from streams.domain.indicators.rows import SeriesRow
from tables.base import TableSpec

INDICATORS_TABLE = TableSpec(
    name="indicators",
    key="symbol|frame",
    value=SeriesRow,
    written_by="indicators",
    doc="The newest bars of each symbol and frame, the states of indicators before them.",
    bound=(
        "One record per symbol and frame that indicators are asked of. 32 bars of about 120 bytes,"
        " more only while their outputs are under way; per indicator 20 to 80 bytes, those with a"
        " window 20 bytes per bar of it: 5 KB with the default indicators."
    ),
)
