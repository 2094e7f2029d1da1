"""Ticks: trades and quotes, and the last price that follows from them."""

from pydantic import ConfigDict, Field

from streams.models.base import Dec, Message, Nanos, Symbol


class Tick(Message):
    """What trades and quotes share; unknown fields of a source are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    symbol: Symbol
    ts_event_ns: Nanos = Field(description="Venue time.")
    seq: int = Field(0, ge=0, description="Number within the source; tells repetitions.")
    exchange: str = Field("", max_length=8)
    conditions: str = Field("", max_length=32, description="As the source writes them.")


class Trade(Tick):
    """One print. Record key: `symbol`."""

    price: Dec
    size: Dec
    suspicious: bool = Field(False, description="The source's own mark of a far-off print.")


class Quote(Tick):
    """The best bid and offer, or one side of them, as set by `exchange`. Record key: `symbol`.

    A side that is absent did not change. The newest row of a side is the best price.
    """

    bid: Dec | None = None
    bid_size: Dec | None = None
    ask: Dec | None = None
    ask_size: Dec | None = None


class LastPrice(Message):
    """Newest prices of a symbol; compacted, at most one per symbol and batch. Key: `symbol`."""

    symbol: Symbol
    last: Dec | None = None
    bid: Dec | None = None
    ask: Dec | None = None
    ts_event_ns: Nanos
    ts_init_ns: Nanos
