"""Which indicators of which frames are asked for, as it is written in the setting `indicators`.

`1m: sma(20) rsi vwap; 5m 1h: ema(12); AIG IBM 5m: sma(50)`: what names symbols holds for them in
place of what is said of the same frame for all.
"""

import re
from collections.abc import Callable
from typing import Final

from streams.domain.bars.frames import frame_of
from streams.domain.indicators.averages import bbands, ema, macd, sma
from streams.domain.indicators.rules import Rule
from streams.domain.indicators.volumes import obv, vwap
from streams.domain.indicators.wilder import atr, rsi

Rules = tuple[Rule, ...]
#: Makes a rule of a name and parameters that are none of ours; raises ValueError if it cannot.
Others = Callable[[str, tuple[float, ...]], Rule]

#: The longest period: a window of closes is stored with each series.
MAX_PERIOD: Final = 500
#: What begins like this is asked of others: functions of TA-Lib.
FOREIGN: Final = "ta_"

_WRITTEN = re.compile(r"([a-z][a-z0-9_]{0,31})(?:\(([0-9.,]{1,64})\))?")
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9./-]{0,19}")
_KINDS: dict[str, tuple[Callable[..., Rule], tuple[float, ...]]] = {
    "sma": (sma, (20,)),
    "ema": (ema, (20,)),
    "macd": (macd, (12, 26, 9)),
    "bbands": (bbands, (20, 2)),
    "rsi": (rsi, (14,)),
    "atr": (atr, (14,)),
    "vwap": (vwap, ()),
    "obv": (obv, ()),
}


def rule_of(text: str, others: Others) -> Rule:
    """Return the rule of `sma(20)`, or of `sma` with the usual parameters.

    Raises ValueError for what is no indicator, and for parameters that it does not take.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no indicator; write sma(20), macd(12,26,9) or vwap")
    name, given = match[1], _numbers(text, match[2])
    if name.startswith(FOREIGN):
        return others(name, given)
    if name not in _KINDS:
        known = ", ".join(_KINDS)
        raise ValueError(f"there is no indicator {name!r}; there are {known}, and TA-Lib's as ta_…")
    make, usual = _KINDS[name]
    numbers = given or usual
    if len(numbers) != len(usual):
        raise ValueError(f"{text!r}: {name} takes {len(usual)} parameters, {len(given)} are given")
    # The width of bands may be any; everything else is a period.
    periods = numbers[:1] if name == "bbands" else numbers
    if any(one != int(one) or not 2 <= one <= MAX_PERIOD for one in periods):
        raise ValueError(f"{text!r}: a period is a whole number from 2 to {MAX_PERIOD}")
    if name == "macd" and numbers[0] >= numbers[1]:
        raise ValueError(f"{text!r}: the first period has to be shorter than the second")
    if name == "bbands":
        return make(named(name, numbers), int(numbers[0]), numbers[1])
    return make(named(name, numbers), *map(int, numbers))


def named(name: str, numbers: tuple[float, ...]) -> str:
    """Return the name of an indicator with its parameters, as it is published."""
    return f"{name}({','.join(f'{one:g}' for one in numbers)})" if numbers else name


def _numbers(text: str, given: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in given.split(",")) if given else ()
    except ValueError:
        raise ValueError(f"{text!r}: parameters are numbers, separated by commas") from None


class Asked:
    """The indicators of every symbol and frame."""

    def __init__(self, text: str, others: Others) -> None:
        """Read the setting; raises ValueError for what cannot be read."""
        self._general: dict[str, Rules] = {}
        self._own: dict[tuple[str, str], Rules] = {}
        for part in text.split(";"):
            if part.strip():
                self._read(part.strip(), others)

    def of(self, symbol: str, frame: str) -> Rules:
        """Return the indicators of a frame of a symbol, in the order they are written."""
        own = self._own.get((symbol, frame))
        return self._general.get(frame, ()) if own is None else own

    def _read(self, part: str, others: Others) -> None:
        where, colon, what = part.partition(":")
        if not colon:
            raise ValueError(f"{part!r} says not of what; write `1m: sma(20)`")
        symbols, frames = _told_apart(where, part)
        rules: dict[str, Rule] = {}
        for rule in (rule_of(word, others) for word in re.sub(r",\s+", ",", what).split()):
            rules[rule.name] = rule
        for frame in frames:
            keys = [(symbol, frame) for symbol in symbols]
            if frame in self._general if not symbols else any(key in self._own for key in keys):
                raise ValueError(f"{part!r}: something was said of {frame} before")
            self._own |= dict.fromkeys(keys, tuple(rules.values()))
            if not symbols:
                self._general[frame] = tuple(rules.values())


def _told_apart(where: str, part: str) -> tuple[list[str], list[str]]:
    """Return the symbols and the frames before a colon: only frames have small letters."""
    words = where.split()
    frames = [word for word in words if not _SYMBOL.fullmatch(word)]
    for frame in frames:
        frame_of(frame)
    if not frames:
        raise ValueError(f"{part!r} names no frame; write `AIG IBM 5m: sma(50)`")
    return [word for word in words if word not in frames], frames
