"""Every table of the pipeline: their changelogs are created together with the topics."""

from tables.allocations import ALLOCATOR
from tables.bars import BARS
from tables.base import TableSpec
from tables.indicators import INDICATORS_TABLE
from tables.orders import ORDERS
from tables.positions import POSITIONS
from tables.risk import RISK
from tables.routes import ROUTES
from tables.sends import SENDS
from tables.slices import SLICES
from tables.strategies import STRATEGIES
from tables.venue import VENUE

TABLES: tuple[TableSpec, ...] = (
    ALLOCATOR,
    BARS,
    INDICATORS_TABLE,
    ORDERS,
    POSITIONS,
    RISK,
    ROUTES,
    SENDS,
    SLICES,
    STRATEGIES,
    VENUE,
)
