"""Which bars are made of which symbol, as it is written in the setting `bars`.

`1m 5m 1h 1d` for all symbols; `1m 1d; AIG IBM: 1s 1m 1d 100t` gives two of them plans of their
own. Time: `s`, `m`, `h` and `1d`, the trading day. Prints: `t`. Shares: `v`. Money: `n`.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Literal, NamedTuple

SECOND_NS = 1_000_000_000
HOUR_NS = 3_600 * SECOND_NS
DAY = "1d"
Kind = Literal["time", "day", "prints", "shares", "money"]

_UNITS: dict[str, int] = {"s": SECOND_NS, "m": 60 * SECOND_NS, "h": HOUR_NS}
_COUNTED: dict[str, Kind] = {"t": "prints", "v": "shares", "n": "money"}
_FRAME = re.compile(r"([1-9][0-9]{0,11})([smhtvn])|1d")


class Frame(NamedTuple):
    """One frame: its name, what it counts, and how much of it a bar has (time: nanoseconds)."""

    name: str
    kind: Kind
    size: int


class Plan(NamedTuple):
    """The frames of a symbol. Each time frame is made of the one before it in the list."""

    time: tuple[Frame, ...]
    counted: tuple[Frame, ...] = ()

    @property
    def names(self) -> str:
        """Return the frames as they are written."""
        return " ".join(frame.name for frame in self.time + self.counted)


def frame_of(name: str) -> Frame:
    """Return a frame by its name; raises ValueError for what is none."""
    match = _FRAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is no frame; write 1s, 5m, 1h, 1d, 100t, 50000v or 1000000n")
    if name == DAY:
        return Frame(name, "day", 24 * HOUR_NS)
    count, unit = int(match[1]), match[2]
    if unit in _COUNTED:
        return Frame(name, _COUNTED[unit], count)
    return Frame(name, "time", count * _UNITS[unit])


def plan_of(text: str) -> Plan:
    """Return the plan of a list of frames.

    Raises ValueError if no frame is of an hour or less, or if one does not divide the next.
    """
    frames = [frame_of(name) for name in dict.fromkeys(text.split())]
    time = sorted((one for one in frames if one.kind in ("time", "day")), key=lambda one: one.size)
    if not time or time[0].size > HOUR_NS:
        raise ValueError(f"{text!r} has no frame of an hour or less, of which the others are made")
    for lower, higher in pairwise(time):
        if higher.size % lower.size or (higher.kind == "time" and higher.size >= 24 * HOUR_NS):
            raise ValueError(f"{higher.name} cannot be made of {lower.name}")
    counted = tuple(one for one in frames if one.kind not in ("time", "day"))
    return Plan(tuple(time), counted)


class Plans:
    """The plan of every symbol."""

    def __init__(self, text: str) -> None:
        """Read the setting; raises ValueError for what cannot be read."""
        general, *special = [part.strip() for part in text.split(";")]
        self._general = plan_of(general)
        own: dict[str, Plan] = {}
        for part in special:
            symbols, colon, frames = part.partition(":")
            if not colon:
                raise ValueError(f"{part!r} names no symbols; write `AIG IBM: 1s 1m`")
            own |= dict.fromkeys(symbols.split(), plan_of(frames))
        self._own: Mapping[str, Plan] = own

    def of(self, symbol: str) -> Plan:
        """Return the plan of a symbol."""
        return self._own.get(symbol, self._general)
