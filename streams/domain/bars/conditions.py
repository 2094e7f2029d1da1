"""What a print may do to a bar, by its sale condition.

The rules are those of the consolidated tapes (CTA and UTP, "sale conditions" and their update
rules for the consolidated high and low, the last price and the volume). Several conditions at once
let through only what all of them do. Prints that the tapes let be the last price only while there
is no other (sold last, sold out of sequence, prior reference price, derivatively priced) set no
open and no close. Extended-hours prints set prices outside regular hours alone. `docs/market.md`
has the table for people.

Two notations are read: the letters of the tapes (`@ TI`), and, told by a digit 0 among nothing
but hexadecimal digits, the bit set of the sample ticks (`20000020`).
"""

import re
from functools import lru_cache
from typing import Final

HIGH_LOW: Final = 1
#: May be the open and the close.
LAST: Final = 2
VOLUME: Final = 4
#: A print that is taken back.
CANCELED: Final = 8
#: Prices count outside regular hours alone.
EXTENDED: Final = 16

ALL: Final = HIGH_LOW | LAST | VOLUME
_NOT_LAST: Final = HIGH_LOW | VOLUME
_EXTENDED: Final = ALL | EXTENDED

#: Letters of the tapes that do not let everything through.
LETTERS: dict[str, int] = {
    "B": VOLUME,  # average price (CTA); bunched (UTP) is taken for the same
    "C": VOLUME,  # cash sale
    "G": _NOT_LAST,  # bunched sold
    "H": VOLUME,  # price variation
    "I": VOLUME,  # odd lot
    "L": _NOT_LAST,  # sold last, reported late
    "M": 0,  # market centre official close
    "N": VOLUME,  # next day
    "P": _NOT_LAST,  # prior reference price
    "Q": 0,  # market centre official open
    "R": VOLUME,  # seller
    "T": _EXTENDED,  # Form T: extended hours
    "U": _EXTENDED & ~LAST,  # extended hours, sold out of sequence
    "V": VOLUME,  # contingent
    "W": VOLUME,  # average price (UTP)
    "Z": _NOT_LAST,  # sold out of sequence
    "4": _NOT_LAST,  # derivatively priced
    "7": VOLUME,  # qualified contingent
    "9": HIGH_LOW | LAST,  # corrected consolidated close
}

#: Bits of the sample's notation that do not let everything through.
BITS: dict[int, int] = {
    1 << 1: VOLUME,  # cash
    1 << 2: VOLUME,  # next day
    1 << 3: VOLUME,  # seller
    1 << 9: _NOT_LAST,  # derivatively priced
    1 << 10: _EXTENDED,  # Form T
    1 << 11: _NOT_LAST,  # sold
    1 << 13: _EXTENDED & ~LAST,  # extended hours, out of sequence
    1 << 14: _NOT_LAST,  # out of sequence
    1 << 18: VOLUME,  # stock option
    1 << 20: VOLUME,  # average price
    1 << 22: VOLUME,  # price variation
    1 << 24: 0,  # official close
    1 << 25: _NOT_LAST,  # prior reference price
    1 << 26: 0,  # official open
    1 << 31: VOLUME,  # odd lot
}
_BIT_SET = re.compile(r"(?=.*0)[0-9A-Fa-f]{1,8}")


@lru_cache(4_096)
def rights(conditions: str) -> int:
    """Return what a print with these conditions may do, as bits of this module."""
    if _BIT_SET.fullmatch(conditions):
        value = int(conditions, 16)
        found = [right for bit, right in BITS.items() if value & bit]
    else:
        found = [LETTERS[letter] for letter in conditions if letter in LETTERS]
    allowed = ALL
    for right in found:
        allowed &= right
    return allowed | EXTENDED if any(right & EXTENDED for right in found) else allowed


def in_phase(right: int, *, regular: bool) -> int:
    """Return what is left of a right in regular hours, or outside them."""
    return right & ~(HIGH_LOW | LAST) if regular and right & EXTENDED else right
