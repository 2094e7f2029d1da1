"""Every table of the pipeline: their changelogs are created together with the topics."""

from tables.bars import BARS
from tables.base import TableSpec
from tables.indicators import INDICATORS_TABLE
from tables.orders import ORDERS
from tables.positions import POSITIONS
from tables.risk import RISK
from tables.routes import ROUTES
from tables.sends import SENDS
from tables.strategies import STRATEGIES
from tables.venue import VENUE

TABLES: tuple[TableSpec, ...] = (
    BARS,
    INDICATORS_TABLE,
    ORDERS,
    POSITIONS,
    RISK,
    ROUTES,
    SENDS,
    STRATEGIES,
    VENUE,
)
