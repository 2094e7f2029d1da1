"""What the bars agent remembers: prints whose bars can change, those bars, symbols' clocks."""

from streams.domain.bars.rows import BarsRecord
from tables.base import TableSpec

BARS = TableSpec(
    name="bars",
    key="symbol; symbol|p|start|offset; symbol|b|frame|start; symbol|c|frame",
    value=BarsRecord,
    written_by="bars",
    doc="Prints whose bars can still change, the bars that can, the clock of each symbol.",
    bound=(
        "One record per symbol, and one per counted frame. Per print of the last `bars_keep_s`"
        " seconds of a symbol's market time about 45 bytes, and 150 per batch that brought some."
        " Per bar about 600 bytes, until the next larger one can no longer be restated: some 60"
        " bars per symbol with the default frames and times."
    ),
)
