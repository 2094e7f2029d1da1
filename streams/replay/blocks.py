"""Ticks as records of their topics, in blocks, with where a block must not be taken at once."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from streams.domain.ticks import Tick
from streams.models.market import Trade
from streams.ports import Record
from streams.topics import MARKET_QUOTES, MARKET_TRADES


class Places:
    """The partition of each symbol: each has its own, in the order in which they come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, symbol: str) -> int:
        """Return the partition of a symbol."""
        return self._numbers.setdefault(symbol, len(self._numbers))

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._numbers

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers.values())


@dataclass(slots=True)
class Block:
    """Ticks in the order in which they came.

    `times` is the time at each, which never goes back. `alone`: places of ticks that are given
    one by one, because what they bring about cannot be foreseen: the first of a symbol, one that
    is late, a correction.
    """

    records: list[Record] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    alone: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Symbol:
    """A symbol's partition, key, and next offsets."""

    partition: int
    key: bytes
    trades: int = 0
    quotes: int = 0


class Blocks:
    """Cuts ticks into blocks; offsets grow over all blocks."""

    def __init__(self, places: Places, size: int, fresh: Callable[[str], None]) -> None:
        """`fresh` is told each symbol when its first tick is next."""
        self._places = places
        self._size = size
        self._fresh = fresh
        self._symbols: dict[str, _Symbol] = {}

    # In one piece: this is done for every tick.
    def of(self, ticks: Iterable[Tick], until_ns: int | None = None) -> Iterator[Block]:
        """Yield blocks. A new symbol begins one, so that it is known when its first tick is."""
        symbols, size, now = self._symbols, self._size, 0
        trades, quotes = MARKET_TRADES.name, MARKET_QUOTES.name
        block = Block()
        records, times = block.records, block.times
        add, add_time = records.append, times.append
        for tick in ticks:
            fields = tick.__dict__
            name, ts = fields["symbol"], fields["ts_event_ns"]
            if until_ns is not None and ts >= until_ns:
                break
            symbol, alone = symbols.get(name), ts < now
            if symbol is None or len(times) == size:
                if records:
                    yield block
                block = Block()
                records, times = block.records, block.times
                add, add_time = records.append, times.append
                if symbol is None:
                    self._fresh(name)
                    symbol = symbols[name] = _Symbol(self._places.of(name), name.encode())
                    alone = True
            if ts > now:  # noqa: PLR1730 - `max` is a call, and this is every tick
                now = ts
            if type(tick) is Trade:
                topic, offset = trades, symbol.trades
                symbol.trades = offset + 1
                alone = alone or fields["canceled"] or fields["correction_of"] is not None
            else:
                topic, offset = quotes, symbol.quotes
                symbol.quotes = offset + 1
            if alone:
                block.alone.append(len(records))
            add(Record(topic, symbol.partition, offset, symbol.key, tick, None, now // 1_000_000))
            add_time(now)
        if records:
            yield block
