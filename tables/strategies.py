"""What the strategies agent remembers: each strategy on each symbol, and the newest signals."""

from streams.domain.strategies.rows import StrategiesRecord
from tables.base import TableSpec

STRATEGIES = TableSpec(
    name="strategies",
    key="symbol|strategy; signals ~|topic|offset, ~timer|symbol|strategy|version",
    value=StrategiesRecord,
    written_by="strategies",
    doc="How each strategy stands on each symbol, with its state; signals for ten minutes.",
    bound=(
        "One record per strategy and symbol that was ever configured, of at most 200 kB of state"
        " (30 closes: about 800 bytes). One per record that led to signals, of about 400 bytes"
        " each, for ten minutes."
    ),
)
