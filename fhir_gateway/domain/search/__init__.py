"""Query string to Query, resource to index keys, and `matches(query, resource)`: the executable specification of search.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from typing import Any

from .. import strict
from .including import include_refs, points, reference_names, reverse_queries, within
from .indexing import JOIN, keys
from .matching import Lookup, arranged, compare, matches
from .parsing import parse
from .query import Include, Query, Term, Value, with_terms
from .values import DAWN, DUSK, after_all, date_span, fold, local


def decoded(raw: bytes) -> dict[str, Any]:
    """A stored resource as Python values, to be looked at."""
    out: dict[str, Any] = strict.decode(raw)
    return out


__all__ = [
    "DAWN", "DUSK", "JOIN", "Include", "Lookup", "Query", "Term", "Value", "after_all", "arranged", "compare", "date_span",
    "decoded", "fold", "include_refs", "keys", "local", "matches", "parse", "points", "reference_names", "reverse_queries", "with_terms",
    "within",
]  # fmt: skip
