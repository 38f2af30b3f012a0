"""A number as people write it. Pure.

In English, Welsh and Urdu a comma groups thousands and a full stop begins the part of a whole (CLDR): 1,250.5 is more than a thousand.
https://cldr.unicode.org/translation/number-currency-formats/number-symbols
"""

from __future__ import annotations

import re
from typing import Final

_GROUPED: Final = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")


def ungrouped(text: str) -> str:
    """`1,250` as `1250`. Where the commas do not group by three (`1,5`, `0,250`) nobody can tell what was meant: it stays as it is."""
    return text.replace(",", "") if _GROUPED.fullmatch(text) else text


__all__ = ["ungrouped"]
