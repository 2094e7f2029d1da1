"""What is read out of the market: indicators, signals, and how strategies stand."""

from typing import Annotated, Literal

from pydantic import Field

from streams.models.base import Dec, LongId, Message, Nanos, Symbol
from streams.models.market import FrameName

#: `sma(20)`, `macd(12,26,9)`, `vwap`: the name and its parameters, as the settings write them.
IndicatorName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}(\([0-9.,]{1,64}\))?$")]
StrategyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")]


class Indicator(Message):
    """An indicator's values after one bar. Record key: `symbol`.

    Known by symbol, frame, name and start of the bar; of several the one with the highest `rev`
    counts. There is none before its warm-up is over.
    """

    symbol: Symbol
    frame: FrameName
    name: IndicatorName
    ts_start_ns: Nanos = Field(description="Of the bar.")
    ts_end_ns: Nanos = Field(description="Of the bar: from here on the values can be known.")
    rev: int = Field(
        ge=1,
        description="1 for the first, higher when a restated bar changed it; the indicators of a "
        "bar count together, so one of them may leave numbers out.",
    )
    values: dict[str, float] = Field(
        description="By output: `value`, or `macd`, `signal`, `histogram`, `upper`, … "
        "Empty: what was said before no longer holds, and nothing stands in its place."
    )
    ts_init_ns: Nanos


class Signal(Message):
    """What a strategy wants to hold of a symbol from now on. Record key: `symbol`.

    Written by the strategies agent, or by any program that is a strategy.
    """

    signal_id: LongId = Field(description="The same decision has the same id, however often told.")
    strategy: StrategyName
    symbol: Symbol
    strength: Dec = Field(
        ge=-1, le=1, description="1: as long as the strategy may be; -1: as short; 0: flat."
    )
    price: Dec | None = Field(None, gt=0, description="Price that the decision was made at.")
    reason: str = Field("", max_length=256, description="For people.")
    cause_topic: str = Field("", description="Topic of the record that it was decided on.")
    cause_partition: int = Field(0, ge=0)
    cause_offset: int = Field(0, ge=0)
    ts_event_ns: Nanos = Field(description="Market time of the cause.")
    ts_init_ns: Nanos


class StrategyState(Message):
    """How a strategy stands on one symbol; compacted. Record key: `strategy|symbol`."""

    strategy: StrategyName
    symbol: Symbol
    implementation: str = Field(description="Which of the strategies that the worker knows.")
    status: Literal["running", "stopped", "failed"]
    text: str = Field("", max_length=1000, description="Why it failed, or was stopped.")
    version: int = Field(ge=1, description="One more with each change.")
    controls_version: int = Field(0, ge=0, description="Of the parameters; 0: of the settings.")
    params: dict[str, str] = Field(default_factory=dict)
    signals: int = Field(0, ge=0, description="Signals so far.")
    errors: int = Field(0, ge=0, description="Errors of its code so far.")
    strength: Dec | None = Field(None, description="Of the newest signal.")
    ts_signal_ns: Nanos | None = Field(None, description="Market time of the same.")
    ts_updated_ns: Nanos
