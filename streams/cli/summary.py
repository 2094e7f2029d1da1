"""A record's value as one short line, and the simple filter of `tail --where`."""

import json
from collections.abc import Mapping
from typing import Any

WIDTH = 160

# What tells one record from another, in the order people say it; what a record has not is left
# out. Names with a dot are inside a part of the message.
FIELDS = (
    "kind", "scope", "command", "event", "status", "state",
    "order_id", "client_order_id", "broker", "side", "terms.side", "qty", "terms.qty",
    "symbol", "terms.symbol", "type", "terms.type", "limit_price", "terms.limit_price",
    "stop_price", "terms.stop_price", "fill.last_qty", "fill.last_px", "cum_qty", "avg_px",
    "price", "size", "bid", "bid_size", "ask", "ask_size", "last", "exchange",
    "avg_entry_px", "cash", "realized_pl", "refusal.code", "refusal.text", "version", "text",
)  # fmt: skip
#: Said by their value alone; all others as `name=value`.
BARE = frozenset(
    {"kind", "scope", "command", "event", "status", "state", "order_id", "side", "symbol"}
)


def decoded(value: bytes | None) -> Any:
    """Return the JSON value of a record, or None where it has none."""
    if value is None:
        return None
    try:
        return json.loads(value, parse_float=str)
    except (ValueError, RecursionError):
        return None


def summary(value: bytes | None) -> str:
    """Return the value in at most `WIDTH` characters, control characters escaped."""
    if value is None:
        return "(null)"
    message = decoded(value)
    text = _said(message) if isinstance(message, Mapping) else ""
    return cut(text or safe_text(value), WIDTH)


def field_of(message: Any, path: str) -> Any:
    """Return what is at a dotted path, or None."""
    for name in path.split("."):
        message = message.get(name) if isinstance(message, Mapping) else None
    return message


def matches(message: Any, wanted: Mapping[str, str]) -> bool:
    """Return whether every dotted path has its text; JSON's true is `true`."""
    return all(_text(field_of(message, path)) == text for path, text in wanted.items())


def safe_text(data: bytes) -> str:
    """Return bytes as text if they are printable UTF-8, or else as `0x…` hexadecimal.

    Control characters come out as escapes, so that a record cannot steer the terminal.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "0x" + data.hex()
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def cut(text: str, width: int) -> str:
    """Return at most `width` characters, the last one `…` where something was cut off."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _said(message: Mapping[str, Any]) -> str:
    words = []
    for path in FIELDS:
        value = field_of(message, path)
        if value is None or value == "":
            continue
        name = path.rpartition(".")[2]
        shown = safe_text(_text(value).encode(errors="backslashreplace"))
        words.append(shown if name in BARE else f"{name}={shown}")
    return " ".join(words)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
