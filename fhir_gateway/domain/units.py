"""Comparing two quantities in UCUM units: the few that care records use. https://ucum.org/ucum"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

UCUM = "http://unitsofmeasure.org"
_PREFIXES = {"": "1", "k": "1e3", "d": "0.1", "c": "0.01", "m": "0.001", "u": "1e-6", "n": "1e-9"}
_SINGLE = {
    "min": ("s", "60"), "h": ("s", "3600"), "d": ("s", "86400"), "wk": ("s", "604800"), "mo": ("s", "2629800"), "a": ("s", "31557600"),
    "[in_i]": ("m", "0.0254"), "[ft_i]": ("m", "0.3048"), "[mi_i]": ("m", "1609.344"), "[lb_av]": ("g", "453.59237"), "%": ("1", "0.01"),
    "[oz_av]": ("g", "28.349523125"), "1": ("1", "1"), "l": ("L", "1"),
}  # fmt: skip
SCALE: dict[str, tuple[str, Decimal]] = {
    **{u: (base, Decimal(factor)) for u, (base, factor) in _SINGLE.items()},
    **{p + base: (base, Decimal(f)) for base in ("m", "g", "L", "s", "mol", "Pa", "J") for p, f in _PREFIXES.items()},
}


def compare(a: dict[str, Any], b: dict[str, Any]) -> int | None:
    """-1, 0 or 1; None when their units cannot be compared: no code, another system, another dimension, or not known here."""
    x, y = a.get("value"), b.get("value")
    if type(x) not in (int, Decimal, float) or type(y) not in (int, Decimal, float):
        return None
    one, two = Decimal(str(x)), Decimal(str(y))
    if a.get("code") is None or a.get("system") != b.get("system"):
        return None
    if a["code"] != b.get("code"):
        first, second = SCALE.get(str(a["code"])), SCALE.get(str(b.get("code")))
        if a.get("system") != UCUM or first is None or second is None or first[0] != second[0]:
            return None
        one, two = one * first[1], two * second[1]
    return (one > two) - (one < two)
