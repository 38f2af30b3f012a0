"""What an address in a resource names, otherwise than by a Reference: `Attachment.url`, `valueUri`, `instantiatesUri`, a link in a narrative.

A record here has another id on every other server, and its own id is nobody else's to know. So an address of it is called there as a Reference to it
is, and left out where that would be held back: the element is masked, an entry of a list is not there. docs/sync.md
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .r4 import R4
from .view import MASKED

_LOCAL: Final = re.compile(r"(?P<name>(?P<type>[A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64})(?P<rest>/_history/[A-Za-z0-9.-]{1,64})?(?P<more>[/?#|].*)?", re.DOTALL)
_LINKS: Final = frozenset({"uri", "url", "canonical"})
_IDENTITY: Final = frozenset({"system", "profile"})  # names of things, which look like addresses
_IN_WORDS: Final = re.compile(r"""(\b(?:href|src)=["'])([^"'<>]*)(["'])""")

Change = Callable[[str], str | None]  # an address, to what it is to be; None: it is left out


@dataclass(frozen=True, slots=True)
class Sides:
    """The FHIR addresses of this server and of the other."""

    r4: R4
    ours: str
    theirs: str

    def sent(self, text: str, names: Mapping[str, str]) -> str | None:
        """An address of ours as it is there; None where it names nothing that is there. `names`: our `Type/id` to theirs."""
        if text in names:
            return names[text]
        bare = text.removeprefix(f"{self.theirs}/")
        if bare != text and (found := self._local(bare)) is not None:
            return bare
        bare = text.removeprefix(f"{self.ours}/")
        found = self._local(bare)
        if found is None:
            return None if bare != text or text == self.ours else text
        named = None if _leads_on(found) else names.get(found["name"])
        return None if named is None else named + (found["more"] or "")

    def came(self, text: str, names: Mapping[str, str]) -> str:
        """An address of theirs as it is here; one of what is not here is one on their server. `names`: their `Type/id` to ours."""
        bare = text.removeprefix(f"{self.theirs}/")
        found = self._local(bare)
        if found is None:
            return text
        named = None if _leads_on(found) else names.get(found["name"])
        return named + (found["more"] or "") if named is not None else f"{self.theirs}/{bare}"

    def named(self, text: str, base: str) -> str:
        """`Type/id` of what this address names on the server of `base`; "" where it is none of there."""
        found = self._local(text.removeprefix(f"{base}/"))
        return found["name"] if found is not None else ""

    def _local(self, text: str) -> re.Match[str] | None:
        found = _LOCAL.fullmatch(text)
        return found if found is not None and self.r4.has_type(found["type"]) else None


def _leads_on(found: re.Match[str]) -> bool:
    """Is it something else about that record: an operation, a search."""
    return (found["more"] or "#")[0] not in "#|"


def addresses(resource: Mapping[str, Any], r4: R4) -> Iterator[str]:
    """Every address in a resource, in its elements and its narrative."""
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    readdressed(resource, r4, note)
    return iter(found)


def readdressed(resource: Mapping[str, Any], r4: R4, change: Change) -> dict[str, Any]:
    """The same with each address changed; shares what it did not change."""
    out = _changed(resource, "", r4, change)
    assert isinstance(out, dict)
    return out


def _changed(node: Any, path: str, r4: R4, change: Change) -> Any:
    if isinstance(node, list):
        items = [_changed(item, path, r4, change) for item in node]
        return items if any(a is not b for a, b in zip(items, node, strict=True)) else node
    if not isinstance(node, dict):
        return node
    top = "resourceType" in node
    path = str(node["resourceType"]) if top else path
    out: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for key, value in node.items():
        at = f"{path}.{key}"
        if key == "div" and isinstance(value, str):
            out[key] = _IN_WORDS.sub(lambda m: m[1] + ("#" if (to := change(m[2])) is None else to) + m[3], value)
        elif not _may_be(key, value, path, top) or not _is_link(at, value, r4):
            out[key] = _changed(value, at, r4, change) if isinstance(value, (dict, list)) else value
        elif isinstance(value, str):
            if (to := change(value)) is None:
                left[f"_{key}"] = {"extension": [MASKED]}
            else:
                out[key] = to
        else:
            _listed(node, key, change, out, left)
    out = {**{k: v for k, v in out.items() if k not in left}, **{k: v for k, v in left.items() if v is not None}}
    return out if out.keys() != node.keys() or any(out[k] is not node[k] for k in out) else node


def _listed(node: Mapping[str, Any], key: str, change: Change, out: dict[str, Any], left: dict[str, Any]) -> None:
    """A list of addresses, and what is said beside each (`_key`), without those that are left out."""
    said, beside = node[key], node.get(f"_{key}")
    to = [change(text) if isinstance(text, str) else text for text in said]
    kept = [n for n, text in enumerate(said) if not isinstance(text, str) or to[n] is not None]
    if len(kept) == len(said):
        out[key] = to if to != said else said
        return
    if kept:
        out[key] = [to[n] for n in kept]
    if isinstance(beside, list):
        rest = [beside[n] for n in kept if n < len(beside)]
        left[f"_{key}"] = rest if any(rest) else None


def _may_be(key: str, value: Any, path: str, top: bool) -> bool:
    """May this be an address of something: not what an extension, a system or a definition is called."""
    if key in _IDENTITY or (key == "url" and (top or path.rsplit(".", 1)[-1] in ("extension", "modifierExtension"))):
        return False
    return any(isinstance(v, str) and "/" in v for v in (value if isinstance(value, list) else [value]))


def _is_link(path: str, value: Any, r4: R4) -> bool:
    """Is this element one. A canonical that is whole is what a definition is called, wherever that is kept."""
    steps = path.split(".")[1:]
    for n in reversed(range(len(steps))):  # an extension may be anywhere, in itself as well
        if steps[n] in ("extension", "modifierExtension"):
            path = ".".join(["Extension", *steps[n + 1 :]])
            break
    element = r4.element(path)
    if element is None or not _LINKS.issuperset(element.types):
        return False
    return "canonical" not in element.types or not any(isinstance(v, str) and ":" in v for v in (value if isinstance(value, list) else [value]))
