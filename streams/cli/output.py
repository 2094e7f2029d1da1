"""Print what a command found: a table for people, one line of JSON for programs.

Standard output carries the result and nothing else; progress, warnings and errors go to
standard error.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from streams.errors import OrderflowError

Row = Mapping[str, Any]

_WIDTH_OF_A_PIPE = 240  # rich would cut lines at 80 columns where there is no terminal


def emit(found: Row | Sequence[Row], as_json: bool) -> None:
    """Print one object or several rows; rows may differ in their keys."""
    if as_json:
        print(json.dumps(found, default=_plain, ensure_ascii=False))
    elif isinstance(found, Mapping):
        _print_table([{"": key, " ": value} for key, value in found.items()], header=False)
    elif found:
        _print_table(found, header=True)
    else:
        print("none")


def print_error(error: OrderflowError) -> None:
    """Print an error to standard error: what happened, then what to do."""
    print(f"error: {error}", file=sys.stderr)
    print(f"       {error.advice}", file=sys.stderr)


def cell(value: Any) -> str:
    """Return a value as it stands in a table: lists and objects as JSON, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=_plain, ensure_ascii=False)
    return str(value)


def _print_table(rows: Sequence[Row], *, header: bool) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(box=box.SIMPLE_HEAD if header else None, show_header=header, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(row.get(column))) for column in columns))
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE)
    console.print(table)


def _plain(value: Any) -> Any:
    """Return what JSON cannot hold as a list or as text; a Decimal keeps its digits."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)
