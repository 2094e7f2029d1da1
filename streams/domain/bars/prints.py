"""Prints as they are kept until their bars can no longer change.

A print is a plain tuple, because there are very many; sorted, prints are in the order of the
market: venue time, the source's number, exchange, and where they stood on the topic.
"""

from collections.abc import Iterable
from decimal import Decimal

from streams.domain.bars.conditions import CANCELED

#: ts_event_ns, seq, exchange, offset, price, size, rights, seq of the print it replaces or 0.
Print = tuple[int, int, str, int, Decimal, Decimal, int, int]

_TEXT = "%d,%d,%s,%d,%s,%s,%d,%d"
_ESCAPED = str.maketrans({",": "%2C", ";": "%3B", "%": "%25"})


def escaped(exchange: str) -> str:
    """Return the name of an exchange without what separates prints; two names stay two."""
    return exchange if exchange.isalnum() else exchange.translate(_ESCAPED)


def packed(prints: Iterable[Print]) -> str:
    """Return prints as text: 40 bytes each, about."""
    return ";".join([_TEXT % one for one in prints])


def unpacked(text: str) -> list[Print]:
    """Return the prints of a text that `packed` made."""
    found: list[Print] = []
    for one in text.split(";"):
        ts, seq, exchange, offset, price, size, rights, amends = one.split(",")
        figures = Decimal(price), Decimal(size), int(rights), int(amends)
        found.append((int(ts), int(seq), exchange, int(offset), *figures))
    return found


def standing(prints: list[Print]) -> list[Print]:
    """Return, in order, the prints that hold: corrected ones as corrected, canceled ones not.

    Of several records about one print the one with the highest `seq` holds; a correction of a
    correction is one of the print itself. A corrected print stays where the first one stood. A
    correction whose print never came stands for it.
    """
    amendments = sorted(one for one in prints if one[7])
    if not amendments:
        return sorted(prints)
    newest = {(one[0], one[2], one[7]): one for one in amendments}
    by_seq = {(one[0], one[2], one[1]): one for one in amendments}
    held: list[Print] = []
    for one in prints:
        ts, seq, exchange, offset, price, size, rights, amends = one
        if seq and (ts, exchange, seq) in newest:
            continue
        if not amends:
            held.append(one)
        elif newest[ts, exchange, amends] is one and not rights & CANCELED:
            place = amends  # amends < seq, so this ends
            while (earlier := by_seq.get((ts, exchange, place))) is not None:
                place = earlier[7]
            held.append((ts, place, exchange, offset, price, size, rights, amends))
    return sorted(held)
