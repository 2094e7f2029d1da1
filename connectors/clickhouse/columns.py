"""How columns of history tables get their arrays, from values as pydantic has them.

Numbers are exact: `dec` holds every `Dec`; `wide` rounds a `WideDec` half-even to 12 places (the
`raw` column keeps all of them). Arrow takes decimals from text many times faster than from Decimal
objects.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

import pyarrow as pa

WIDE_PLACES = 12
_DIGITS = 38
_WIDE_STEP = Decimal(1).scaleb(-WIDE_PLACES)
_WIDE_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)

_FLOATS = pa.map_(pa.string(), pa.float64())

Values = list[Any]
Build = Callable[[Values], pa.Array]


def text(values: Values) -> pa.Array:
    """Return an array of text; absent: empty."""
    return pa.array([value or "" for value in values], pa.string())


def dec(values: Values) -> pa.Array:
    """Return an array of decimals of nine places."""
    return _decimals(values, 9)


def wide(values: Values) -> pa.Array:
    """Return an array of decimals of twelve places."""
    try:
        return _decimals(values, WIDE_PLACES)
    except pa.ArrowInvalid:
        return _decimals([_rounded(value) for value in values], WIDE_PLACES)


def _decimals(values: Values, places: int) -> pa.Array:
    type_ = pa.decimal128(_DIGITS, places)
    texts = [None if value is None else str(value) for value in values]
    if any(text is not None and len(text) > _DIGITS for text in texts):
        # Arrow 26 does not check the digits of longer text: 1000…0 comes out as another number.
        return pa.array(values, type_)
    return pa.array(texts, pa.string()).cast(type_)


def _rounded(value: Decimal | None) -> Decimal | None:
    if value is None:
        return None
    return value.quantize(_WIDE_STEP, context=_WIDE_CONTEXT)


def time(values: Values) -> pa.Array:
    """Return an array of nanoseconds."""
    return pa.array(values, pa.int64()).view(pa.timestamp("ns", "UTC"))


def u32(values: Values) -> pa.Array:
    """Return an array of integers below 2^32; absent: null."""
    return pa.array(values, pa.uint32())


def u64(values: Values) -> pa.Array:
    """Return an array of integers; absent: 0."""
    return pa.array([value or 0 for value in values], pa.uint64())


def floats(values: Values) -> pa.Array:
    """Return an array of maps of names to floats; absent: empty."""
    return pa.array([tuple((value or {}).items()) for value in values], _FLOATS)


def boolean(values: Values) -> pa.Array:
    """Return an array of booleans; absent: false."""
    return pa.array([bool(value) for value in values], pa.bool_())


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, how its array is built, and where its values stand in the message.

    Of several paths the first one that is not null gives the value.
    """

    name: str
    build: Build
    paths: tuple[str, ...]


def columns(build: Build, words: str) -> tuple[Column, ...]:
    """Return columns from words `name`, `name=path` or `name=path|path`."""
    found = []
    for word in words.split():
        name, _, paths = word.partition("=")
        found.append(Column(name, build, tuple((paths or name).split("|"))))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class HistoryTable:
    """Where the records of a topic go. `raw` keeps the JSON of the whole message."""

    name: str
    columns: tuple[Column, ...]
    raw: bool = True
