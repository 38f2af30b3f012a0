"""All that a resource says, for whoever answers for it by accepting it: nothing stays unsaid because words stand beside it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ...domain import entries
from .versions import label, words_of

SERVERS: Final = frozenset({"id", "resourceType"})  # and of `meta`:
STAMPED: Final = frozenset({"versionId", "lastUpdated"})
WHOLE: Final = tuple(map(frozenset, ({"start", "end"}, {"value", "unit"}, {"given", "family"}, {"text"}, {"display"})))
LONGEST: Final = 200  # characters of a file that is kept as data
_TAG: Final = re.compile(r"<[^>]*>")


def changed(now: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The elements in which they differ, but for what the server sets."""
    both = [k for k in dict.fromkeys((*new, *now)) if k not in SERVERS]
    return [k for k in both if not entries.same(*(_unstamped(side.get(k)) if k == "meta" else side.get(k) for side in (now, new)))]


def every(value: Any, named: Mapping[str, str]) -> str:
    """A value in plain words, and below them, each by its name, whatever these leave out. `named`: what references are called."""
    first = words_of(value, named)
    said = set(first.split("\n"))
    more = [f"{path}: {text}" if path else text for path, text in _leaves(_unstamped(value), "", named) if text not in said]
    return "\n".join(line for line in (first, *dict.fromkeys(more)) if line)


def _leaves(value: Any, path: str, named: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item, path, named)
    elif isinstance(value, Mapping) and not _whole(value):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path} – {label(key)}" if path else label(key), named)
    elif isinstance(value, str):
        yield path, _text(value, path, named)
    else:
        yield path, words_of(value, named)


def _whole(value: Mapping[str, Any]) -> bool:
    """Do its words say all of it."""
    simple = not any(isinstance(v, Mapping) or (isinstance(v, list) and any(isinstance(i, Mapping) for i in v)) for v in value.values())
    return simple and any(value.keys() <= whole for whole in WHOLE)


def _text(value: str, path: str, named: Mapping[str, str]) -> str:
    if value in named:
        return named[value]
    if path.endswith(label("div")):
        return " ".join(html.unescape(_TAG.sub(" ", value)).split())
    return f"{value[:LONGEST]}…" if path.endswith(label("data")) and len(value) > LONGEST else words_of(value) or value


def _unstamped(value: Any) -> Any:
    return {k: v for k, v in value.items() if k not in STAMPED} if isinstance(value, Mapping) else value


__all__ = ["changed", "every"]
