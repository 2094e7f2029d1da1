"""Strategies of other packages, found by their entry points.

A package names them in its `pyproject.toml`:

    [project.entry-points."orderflow.strategies"]
    my_strategy = "my_package.strategies:MyStrategy"
"""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, get_args

import structlog
from pydantic import BaseModel

from streams.domain.strategies.protocol import AnyStrategy, Callback
from streams.domain.strategies.registry import BUILT_IN

log = structlog.get_logger(__name__)

GROUP = "orderflow.strategies"


def known_strategies() -> Mapping[str, AnyStrategy]:
    """Return the strategies that come with Orderflow and those of installed packages, by name.

    One that cannot be loaded, or is none, is logged and left out; what is to run it then fails.
    """
    found = dict(BUILT_IN)
    for point in entry_points(group=GROUP):
        try:
            found[point.name] = _checked(point.load())
        except Exception:
            log.exception("strategy_not_loaded", name=point.name, of=point.value)
    return found


def _checked(loaded: Any) -> AnyStrategy:
    """Return a strategy, made if a class was given; raises TypeError for what is none."""
    strategy: AnyStrategy = loaded() if isinstance(loaded, type) else loaded
    models: list[Any] = [strategy.state, strategy.params]
    if not all(isinstance(model, type) and issubclass(model, BaseModel) for model in models):
        raise TypeError("`state` and `params` have to be pydantic models")
    if unknown := frozenset(strategy.wants) - frozenset(get_args(Callback)):
        raise TypeError(f"`wants` has {sorted(unknown)}; there are {get_args(Callback)}")
    if missing := [name for name in strategy.wants if not hasattr(strategy, f"on_{name}")]:
        raise TypeError(f"it has no on_{missing[0]}")
    return strategy
