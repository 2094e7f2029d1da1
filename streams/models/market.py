"""Ticks: trades and quotes, the last price that follows from them, and those that were refused."""

from pydantic import ConfigDict, Field

from streams.models.base import Dec, Message, Nanos, Symbol, Word


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


class TickReason(Word):
    """What a check found about a tick; `NOTED` ones are counted and taken all the same."""

    PRICE = "price"
    SIZE = "size"
    MARKED = "marked"
    FAR_OFF = "far_off"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    STALE = "stale"
    AHEAD = "ahead"
    CROSSED = "crossed"
    LOCKED = "locked"
    OUTDATED_SIDE = "outdated_side"
    UNKNOWN_CONDITION = "unknown_condition"


class RefusedTicks(Message):
    """How many ticks of a symbol a check found, for one reason and minute. Key: `symbol`.

    A count goes out again while it grows: of the records with equal `symbol`, `reason`,
    `ts_minute_ns` and source place, the largest `ticks` holds.
    """

    symbol: Symbol
    reason: TickReason
    refused: bool = Field(description="False: counted only, the tick was taken.")
    ticks: int = Field(ge=1)
    ts_minute_ns: Nanos = Field(description="Begin of the minute, by the worker's clock.")
    source_topic: str
    source_partition: int = Field(ge=0)
    source_offset: int = Field(ge=0, description="Where the first of them stands.")
    sample: str = Field("", max_length=500, description="The first of them, as JSON.")
    ts_event_ns: Nanos = Field(description="Venue time of the first of them.")
    ts_init_ns: Nanos
