"""Ticks: trades and quotes; what follows from them: the last price, bars, those refused."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from streams.models.base import Dec, Message, Nanos, Symbol, WideDec, Word

#: `1s` … `1d`: time; `100t`: prints; `50000v`: shares; `1000000n`: money (notional).
FrameName = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,11}[smhdtvn]$")]


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
    correction_of: int | None = Field(
        None,
        gt=0,
        description="The `seq` of an earlier print of this exchange and `ts_event_ns`, which this "
        "one replaces. Such a record has a `seq` of its own.",
    )
    canceled: bool = Field(False, description="With `correction_of`: that print never was.")

    @property
    def amends(self) -> bool:
        """Say whether this is about an earlier print, and none of now: the checks pass it over."""
        return self.canceled or self.correction_of is not None


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
    ts_last_ns: Nanos | None = Field(None, description="Venue time of the print behind `last`.")
    ts_quote_ns: Nanos | None = Field(None, description="Venue time of the newest quote.")
    volume: WideDec | None = Field(
        None, description="Shares printed since `volume_since_ns`, of prints that count."
    )
    volume_since_ns: Nanos | None = Field(
        None,
        description="When this counting began, by the worker's clock; a worker that starts begins"
        " anew. Volumes of different ones cannot be compared.",
    )
    ts_event_ns: Nanos = Field(description="The newer of `ts_last_ns` and `ts_quote_ns`.")
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


class Bar(Message):
    """What traded from `ts_start_ns` until before `ts_end_ns`. Record key: `symbol`.

    A bar is known by symbol, frame and start; of several revisions the one with the highest `rev`
    counts. Open, high, low and close are absent where no print of the bar may set a price.
    """

    symbol: Symbol
    frame: FrameName
    session: str = Field(description="Date of the trading day, that of the exchange.")
    ts_start_ns: Nanos = Field(description="Belongs to the bar.")
    ts_end_ns: Nanos = Field(description="Belongs to the next one.")
    status: Literal["final", "revised"]
    rev: int = Field(ge=1, description="1 for the first, one more with each revision.")
    open: Dec | None = None
    high: Dec | None = None
    low: Dec | None = None
    close: Dec | None = None
    volume: WideDec = Field(Decimal(0), description="Shares.")
    notional: WideDec = Field(Decimal(0), description="Sum of price x size of the same prints.")
    vwap: WideDec | None = Field(
        None, description="notional / volume, rounded half-even to nine places."
    )
    trades: int = Field(0, ge=0, description="Prints behind volume and notional.")
    ts_init_ns: Nanos
