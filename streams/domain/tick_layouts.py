"""Which column of a tick file means what: known layouts, told by their columns, and given ones.

A plan is made once per file from its columns and applied to each row, so a row costs a few
look-ups beside the model's own validation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from decimal import Decimal
from typing import Any

from streams.domain.tick_times import TimeFormat, time_ns
from streams.domain.ticks import Tick, tick_of_row
from streams.models.market import Quote, Trade

#: What can be mapped: every field of a trade or a quote.
FIELDS = tuple(dict.fromkeys((*Trade.model_fields, *Quote.model_fields)))
_NUMBERS = ("price", "size", "bid", "bid_size", "ask", "ask_size")
_TEXTS = ("symbol", "exchange", "conditions")
_TIME = "ts_event_ns"


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout: columns that tell it (all of one set), and the column of each field.

    An empty `fields` means that the columns have the fields' own names.
    """

    name: str
    signs: tuple[frozenset[str], ...]
    fields: Mapping[str, str]


def _signs(*sets: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(words.split()) for words in sets)


#: In this order; the first whose columns are there holds.
LAYOUTS = (
    Layout(
        "sample", _signs(*(f"ts_event_ns kind {side}_e4" for side in ("price", "bid", "ask"))), {}
    ),
    Layout(
        "orderflow",
        _signs("ts_event_ns price size", "ts_event_ns bid", "ts_event_ns ask"),
        {},
    ),
    Layout(
        "massive",  # flat files, formerly Polygon's: trades_v1 and quotes_v1
        _signs(
            "ticker participant_timestamp sequence_number price size",
            "ticker participant_timestamp sequence_number bid_price ask_price",
        ),
        {
            "symbol": "ticker",
            _TIME: "participant_timestamp",
            "seq": "sequence_number",
            "price": "price",
            "size": "size",
            "bid": "bid_price",
            "bid_size": "bid_size",
            "ask": "ask_price",
            "ask_size": "ask_size",
            "exchange": "exchange",
            "conditions": "conditions",
        },
    ),
    Layout(
        "alpaca",  # trades and quotes of its API, historical (without `S`) and streamed
        _signs("t p s", "t bp ap"),
        {
            "symbol": "S",
            _TIME: "t",
            "price": "p",
            "size": "s",
            "bid": "bp",
            "bid_size": "bs",
            "ask": "ap",
            "ask_size": "as",
            "exchange": "x",
            "conditions": "c",
        },
    ),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the user says about the files: see the options of `./orderflow import`."""

    columns: Mapping[str, str]
    symbol: str | None = None
    time: TimeFormat = "auto"
    zone: tzinfo | None = None
    decimals: int | None = None


#: Nothing is said: known layouts alone.
AS_IS = Reading({})


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows of one file become ticks.

    `fields` has the column of each field that is taken by another name. `whole`: the other
    cells go along under their own names. `as_is`: nothing is to be done but that.
    """

    layout: str
    fields: tuple[tuple[str, str], ...]
    reading: Reading
    whole: bool
    reads_time: bool
    as_is: bool

    def tick(self, cells: Mapping[str, Any], seq: int) -> Tick:
        """Return a row's tick; raises ValueError for a row that is none."""
        if self.as_is:
            return tick_of_row(cells, seq)
        named = dict(cells) if self.whole else {}
        for field, column in self.fields:
            named[field] = cells.get(column)
        if self.reading.symbol is not None and named.get("symbol") in (None, ""):
            named["symbol"] = self.reading.symbol
        if self.reads_time and named.get(_TIME) not in (None, ""):
            named[_TIME] = time_ns(named[_TIME], self.reading.time, self.reading.zone)
        for field in _TEXTS:
            named[field] = _text(named.get(field))
        for field in _NUMBERS:
            number = named.get(field)
            if isinstance(number, float):
                named[field] = self._exact(field, number)
        return tick_of_row(named, seq)

    def _exact(self, field: str, value: float) -> Decimal:
        if self.reading.decimals is None:
            raise ValueError(f"{field}: a float is not exact; --decimals 4 takes it so rounded")
        return round(Decimal(repr(value)), self.reading.decimals)


def plan_for(columns: Iterable[str], reading: Reading) -> Plan:
    """Return the plan of a file with these columns; raises ValueError if none is known.

    Given columns go before those of the layout. A file in which the given columns and those
    named as fields are make a tick needs no known layout.
    """
    names = frozenset(columns)
    missing = [column for column in reading.columns.values() if column not in names]
    if missing:
        raise ValueError(f"there is no column {', '.join(missing)}, only {_listed(names)}")
    layout = next((one for one in LAYOUTS if any(signs <= names for signs in one.signs)), None)
    if layout is None and not _suffices(reading.columns, names):
        raise ValueError(
            f"columns {_listed(names)} are no known layout; say which is which, as in"
            " --map ts_event_ns=time --map price=px --map size=qty"
        )
    whole = layout is not None and not layout.fields
    own = {field: field for field in FIELDS if field in names}
    fields = {} if whole else own if layout is None else dict(layout.fields)
    fields |= reading.columns
    return Plan(
        layout.name if layout is not None else "given",
        tuple(fields.items()),
        reading,
        whole=whole,
        reads_time=fields.get(_TIME, _TIME) != _TIME or reading.time != "auto",
        as_is=whole and reading == AS_IS,
    )


def _text(value: Any) -> Any:
    """Return codes as the models take them: numbers and lists of them as text."""
    if isinstance(value, list | tuple):
        return ",".join(str(each) for each in value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _suffices(columns: Mapping[str, str], names: frozenset[str]) -> bool:
    """Return whether a time and a price are known by the given columns and the fields' names."""
    known = {*columns, *(names & set(FIELDS))}
    return _TIME in known and not known.isdisjoint(("price", "bid", "ask"))


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)[:20])
