"""Scopes cut down to what a client is registered for.

SMART v2: https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from __future__ import annotations

import re

RESOURCE_SCOPE = re.compile(r"(patient|user|system)/(\*|[A-Z][A-Za-z]+)\.(read|write|\*|c?r?u?d?s?)(\?.+)?")
V1 = {"read": "rs", "write": "cud", "*": "cruds"}


def narrow(wanted: str, most: str) -> str:
    """The scopes of `wanted` as far as `most` goes, in the order asked: never more than either."""
    out: list[str] = []
    for scope in wanted.split():
        for limit in most.split():
            both = _meet(scope, limit)
            if both and both not in out:
                out.append(both)
    return " ".join(out)


def _meet(a: str, b: str) -> str | None:
    """What two scopes have in common; None when nothing. SMART v1 endings count as their v2 letters."""
    left, right = RESOURCE_SCOPE.fullmatch(a), RESOURCE_SCOPE.fullmatch(b)
    if left is None or right is None:
        return a if a == b and left is None else None
    (level, type, may, query), (level2, type2, may2, query2) = left.groups(), right.groups()
    letters = "".join(c for c in V1.get(may, may) if c in V1.get(may2, may2))
    if level != level2 or ("*" not in (type, type2) and type != type2) or not letters:
        return None
    if query and query2 and query != query2:
        return None
    return f"{level}/{type2 if type == '*' else type}.{letters}{query or query2 or ''}"
