"""Strategies of other packages, found by their entry points.

A package names them in its `pyproject.toml`:

    [project.entry-points."orderflow.strategies"]
    my_strategy = "my_package.strategies:MyStrategy"
"""

from collections.abc import Mapping
from importlib.metadata import entry_points

import structlog

from streams.domain.strategies.protocol import AnyStrategy
from streams.domain.strategies.registry import BUILT_IN

log = structlog.get_logger(__name__)

GROUP = "orderflow.strategies"


def known_strategies() -> Mapping[str, AnyStrategy]:
    """Return the strategies that come with Orderflow and those of installed packages, by name.

    One that cannot be loaded is logged and left out; what is configured to run it then fails.
    """
    found = dict(BUILT_IN)
    for point in entry_points(group=GROUP):
        try:
            loaded = point.load()
            found[point.name] = loaded() if isinstance(loaded, type) else loaded
        except Exception:
            log.exception("strategy_not_loaded", name=point.name, of=point.value)
    return found
