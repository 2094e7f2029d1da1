"""Quix Streams: its tumbling window of one minute, reduced to a bar; final ones come out.

Its defaults, but for an idempotent producer with acks of all replicas. It decodes with its own
JSON and checks nothing. A window is closed by the first tick of the symbol after it, as nothing
is waited for. What is open is in its RocksDB and, when it commits, every 5 s, in its changelog:
prices and sums as text there, since its state is JSON and sums have to be exact.
"""

from decimal import Decimal
from typing import Any

from quixstreams import Application  # type: ignore[import-not-found] # the rivals have it

from benchmarks import job
from benchmarks.bars_job import MINUTE_NS, Open
from benchmarks.job import Chain
from streams.domain.decimals import EXACT

MILLISECOND_NS = 1_000_000

#: Open, high, low, close, volume, notional, count.
Kept = list[Any]


def _event_ms(tick: Any, _headers: Any, _timestamp: int, _kind: Any) -> int:
    return int(tick["ts_event_ns"]) // MILLISECOND_NS


def _first(tick: dict[str, str]) -> Kept:
    price, size = tick["price"], tick["size"]
    return [price, price, price, price, size, str(_money(price, size)), 1]


def _add(kept: Kept, tick: dict[str, str]) -> Kept:
    first, high, low, _, volume, notional, trades = kept
    price, size = tick["price"], tick["size"]
    exact = Decimal(price)
    high = price if exact > Decimal(high) else high
    low = price if exact < Decimal(low) else low
    volume = str(EXACT.add(Decimal(volume), Decimal(size)))
    notional = str(EXACT.add(Decimal(notional), _money(price, size)))
    return [first, high, low, price, volume, notional, trades + 1]


def _money(price: str, size: str) -> Decimal:
    return EXACT.multiply(Decimal(price), Decimal(size))


def _bar(window: dict[str, Any], symbol: str, _timestamp: int, _headers: Any) -> bytes:
    *figures, trades = window["value"]
    opened = [window["start"] * MILLISECOND_NS, *map(Decimal, figures), trades]
    return job.encode(Open._make(opened).bar(symbol))


def main() -> None:
    """Run until a signal ends it."""
    chain = Chain.from_environment()
    app = Application(
        broker_address=chain.bootstrap,
        consumer_group=chain.group,
        auto_offset_reset="earliest",
        state_dir=chain.folder,
        loglevel="WARNING",
        producer_extra_config={"enable.idempotence": True, "acks": "all"},
    )
    kinds = {"key_deserializer": "str", "value_deserializer": "json"}
    source = app.topic(chain.topics[0], **kinds, timestamp_extractor=_event_ms)
    target = app.topic(chain.topics[1], key_serializer="str", value_serializer="bytes")
    window = app.dataframe(source).tumbling_window(MINUTE_NS // MILLISECOND_NS)
    bars = window.reduce(_add, _first).final().apply(_bar, metadata=True)
    bars.to_topic(target)
    app.run()


if __name__ == "__main__":
    main()
