"""The differences we know, and why we keep them: each by what the one that refuses says. The page is docs/validation.md."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

Answer = dict[str, Any]


class Known(NamedTuple):
    why: str
    refuses: str  # "hl7" or "ours"
    says: str  # of every error of the one that refuses, where: its key, a space, its words


KNOWN = [
    Known("no control characters in a string (a fault named in its README)", "ours", r"control character"),
]  # fmt: skip
_COMPILED = [(k, re.compile(k.says)) for k in KNOWN]


def why(ours: Answer, hl7: Answer) -> str:
    """Why the two differ; "" when we do not know. Every error of the side that refuses must be one we know."""
    side, answer = ("hl7", hl7) if ours["valid"] else ("ours", ours)
    said = [f"{i.get('key') or ''} {i['message']}" for i in answer["issues"] if i["severity"] in ("error", "fatal")]
    reasons = []
    for words in said:
        found = next((k.why for k, pattern in _COMPILED if k.refuses == side and pattern.search(words)), "")
        if not found:
            return ""
        reasons.append(found)
    return reasons[0] if reasons else ""
