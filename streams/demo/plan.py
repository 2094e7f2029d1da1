"""What the demo sends: which ticks when, which orders. Pure: the same input gives the same plan.

The sample's ticks are moved in time so that its first `PREROLL_NS` lie just before now: they
give every symbol a price and the venue a book before the first order. From then on each tick is
due at its moved time, never before it, so prices are as old as they would be live.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

from streams.domain.ticks import Tick
from streams.load import LoadRecord, mixed_orders
from streams.models.market import Trade

SECOND_NS = 1_000_000_000
PREROLL_NS = 25 * SECOND_NS

#: Records that share the prices they are made of.
CHUNK = 500
#: Chunks that a seed has ids for; a load of more records than these would repeat ids.
CHUNKS = 10_000

#: With more of them an account would mostly meet its own resting orders (SELF_TRADE).
ORDERS_PER_ACCOUNT = 5
#: Each position is published again when its price moves, so very many of them are a load too.
MIN_ACCOUNTS, MAX_ACCOUNTS = 4, 1_000

Prices = Mapping[str, Decimal]


class Tape:
    """Ticks in time order, read only as far as somebody asked; taken once, looked at before."""

    def __init__(self, ticks: Iterable[Tick]) -> None:
        """`ticks` must not be empty."""
        self._source = iter(ticks)
        self._ahead: deque[Tick] = deque()
        self._last: dict[str, tuple[int, Decimal]] = {}
        self._read()
        self.first_ns = self._ahead[0].ts_event_ns

    @property
    def ended(self) -> bool:
        """Return whether every tick was taken."""
        return not self._ahead and not self._read()

    def take(self, until_ns: int) -> list[Tick]:
        """Return the ticks up to a time, inclusive, that were not taken yet."""
        self._read_to(until_ns)
        taken = []
        while self._ahead and self._ahead[0].ts_event_ns <= until_ns:
            tick = self._ahead.popleft()
            _move(self._last, tick)
            taken.append(tick)
        return taken

    def prices(self, at_ns: int) -> dict[str, Decimal]:
        """Return each symbol's last trade price at a time, inclusive; takes nothing.

        A symbol that has not traded by then is absent.
        """
        self._read_to(at_ns)
        last = dict(self._last)
        for tick in self._ahead:
            if tick.ts_event_ns > at_ns:
                break
            _move(last, tick)
        return {symbol: price for symbol, (_, price) in sorted(last.items())}

    def _read_to(self, until_ns: int) -> None:
        while (not self._ahead or self._ahead[-1].ts_event_ns <= until_ns) and self._read():
            pass

    def _read(self) -> bool:
        tick = next(self._source, None)
        if tick is not None:
            self._ahead.append(tick)
        return tick is not None


def _move(last: dict[str, tuple[int, Decimal]], tick: Tick) -> None:
    if isinstance(tick, Trade) and not tick.suspicious and tick.size > 0:
        last[tick.symbol] = (tick.ts_event_ns, tick.price)


def shift_to(first_ns: int, now_ns: int) -> int:
    """Return the shift that makes now the moment `PREROLL_NS` after the first tick."""
    return now_ns - first_ns - PREROLL_NS


def run_name(now_ns: int) -> str:
    """Return the name of a run that starts now; its accounts begin with it.

    >>> run_name(1_795_015_800_000_000_000)
    'demo-261118-153000'
    """
    return f"demo-{datetime.fromtimestamp(now_ns // SECOND_NS, UTC):%y%m%d-%H%M%S}"


def accounts_of(run: str, count_: int) -> tuple[str, ...]:
    """Return the accounts of a run, their numbers of equal width."""
    width = len(str(count_))
    return tuple(f"{run}-{number:0{width}}" for number in range(1, count_ + 1))


def fitting_accounts(orders: int) -> int:
    """Return how many accounts share so many orders without running into their limits."""
    return min(max(orders // ORDERS_PER_ACCOUNT, MIN_ACCOUNTS), MAX_ACCOUNTS)


def planned_orders(
    seed: int,
    orders: int,
    accounts: Sequence[str],
    rate: float,
    prices: Callable[[float], Prices],
) -> Iterator[LoadRecord]:
    """Yield records until there are `orders` new order ids among them.

    `prices(s)` are the prices `s` seconds after the first order; they are asked for once per
    `CHUNK` records, for the moment at which the chunk begins at `rate` records a second.
    """
    left = orders
    for number in count():
        near = prices(number * CHUNK / rate)
        chunk = mixed_orders(seed * CHUNKS + number, CHUNK, accounts, tuple(near), near)
        for record in chunk:
            yield record
            left -= record.expected.new_order
            if not left:
                return
