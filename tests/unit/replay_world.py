"""Replays of made-up ticks: the real agents, everything in memory."""

from collections.abc import Iterable, Sequence
from typing import Any

from streams.domain.ticks import Tick
from streams.ports import Agent
from streams.replay.check import Recorder
from streams.replay.engine import Engine, Input
from streams.replay.world import Rules, World
from streams.settings import Settings
from streams.topics import ORDERS_REQUESTED
from streams.wiring import AgentSpec
from tests.builders import SECOND, quote, submit, trade
from tests.unit.bars_world import OPEN_NS

SYMBOLS = ("AIG", "BAC", "IBM")


def ticks(count: int = 900, every_ms: int = 400) -> list[Tick]:
    """Return ticks of three symbols around the open: quotes and prints in turn."""
    found: list[Tick] = []
    for number in range(count):
        symbol = SYMBOLS[number % 7 % 3]
        ts = OPEN_NS + number * every_ms * 1_000_000
        cents = 5_000 + (number * 7_919) % 61 - 30
        mid = f"{cents // 100}.{cents % 100:02d}"
        if number % 2:
            found.append(trade(symbol, mid, ts_event_ns=ts, seq=number + 1, exchange="N"))
        else:
            bid, ask = f"{(cents - 1) / 100:.2f}", f"{(cents + 1) / 100:.2f}"
            found.append(quote(symbol, bid, ask, ts_event_ns=ts, seq=number + 1))
    return found


def order(number: int, after_s: float, **fields: Any) -> Input:
    """Return an order so many seconds after the open; numbered, buys and sales in turn."""
    ts = OPEN_NS + round(after_s * SECOND)
    given = {
        "order_id": f"o{number}",
        "symbol": SYMBOLS[number % 3],
        "side": "buy" if number % 2 else "sell",
        "type": "market",
        "ts_event_ns": ts,
    }
    return Input(ts, ORDERS_REQUESTED, "A1", submit(**given | fields))


def orders(count: int = 12) -> list[Input]:
    """Return market orders and resting limit orders."""
    found = []
    for number in range(count):
        rests = {"type": "limit", "limit_price": "49.80" if number % 2 else "50.20"}
        found.append(order(number, 5 + number * 20.3, **(rests if number % 3 == 0 else {})))
    return found


def recorded(
    given: Iterable[Tick],
    inputs: Sequence[Input] = (),
    *,
    chunk: int = 2_000,
    rules: Rules | None = None,
    more: Iterable[tuple[AgentSpec, Agent[Any]]] = (),
    until_ns: int | None = None,
) -> list[tuple[int, bytes]]:
    """Run a replay of all agents, and `more` after them; return what was written, with times."""
    world = World(rules or Rules(), Settings())
    recorder = Recorder(world)
    agents = [*world.agents(), *more]
    engine = Engine(agents, recorder, world.places, chunk=chunk)
    engine.run(given, inputs, until_ns=until_ns)
    return recorder.lines
