"""Sale conditions as sources write them: which are known, and by which notation.

Three notations are read, since a tick carries its source's own: the characters of the US tapes
(CTA and UTP: `@`, `F`, `@ TI`), the numbers of Massive, formerly Polygon (`12,37`), and the bit
set in hexadecimal that AlgoSeek and QuantConnect write (`20000020`).
"""

import re
from functools import lru_cache

#: The characters that CTA and UTP give a sale condition; a blank stands for "none" in its place.
TAPE = frozenset("@ABCDEFGHIKLMNOPQRSTUVWXYZ123456789 ")
#: Bit 30 of the bit set is the source's own "undocumented".
UNDOCUMENTED = 1 << 30
_NUMBERS = re.compile(r"\d{1,2}(,\s?\d{1,2})*")
_BITS = re.compile(r"[0-9a-f]{1,8}")
_TAPE = re.compile(r".{1,4}(,.)*|.(,.)*")


@lru_cache(maxsize=4096)
def is_known(conditions: str) -> bool:
    """Return whether a notation reads this; none at all is known too.

    >>> [is_known(text) for text in ("", "@ TI", "12,37", "20000020", "40000000", "J")]
    [True, True, True, True, False, False]
    """
    if not conditions or _NUMBERS.fullmatch(conditions):
        return True
    if _BITS.fullmatch(conditions) and not int(conditions, 16) & UNDOCUMENTED:
        return True
    return bool(_TAPE.fullmatch(conditions)) and TAPE.issuperset(conditions.replace(",", ""))
