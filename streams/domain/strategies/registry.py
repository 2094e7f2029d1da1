"""The strategies that come with Orderflow, by the name that `implementation` gives them."""

from collections.abc import Mapping
from types import MappingProxyType

from streams.domain.strategies.ma_cross import MaCross
from streams.domain.strategies.mean_reversion import MeanReversion
from streams.domain.strategies.protocol import AnyStrategy

BUILT_IN: Mapping[str, AnyStrategy] = MappingProxyType(
    {"ma_cross": MaCross(), "mean_reversion": MeanReversion()}
)
