"""Part of a resource: `_summary` and `_elements`, for reads and searches alike.

https://hl7.org/fhir/R4/search.html#summary, https://hl7.org/fhir/R4/search.html#elements
What a reader gets can only become less: this works on the rendering made for them. Every such answer carries the SUBSETTED
tag, whether something was left out or not, so the tag tells nothing; and a body with that tag is never taken back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .problem import Problem
from .r4 import R4, names
from .strict import dump, read

SUBSETTED: Final = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
SUMMARIES: Final = ("true", "text", "data", "count", "false")
_ALWAYS: Final = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})


@dataclass(frozen=True, slots=True)
class Part:
    """Which part is asked for: `summary` is "", true, text or data (count is a search's own); `elements` () is all."""

    summary: str = ""
    elements: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.summary or self.elements)


WHOLE: Final = Part()


def asked(params: Iterable[tuple[str, str]], *, one: bool = False) -> Part:
    """What the parameters ask for. `one`: of a single resource, where there is nothing to count. Problem bad-request."""
    summary, elements = "", []
    for name, value in params:
        if not value:
            continue
        if name == "_summary":
            if value not in SUMMARIES:
                raise Problem("bad-request", f"`_summary` is {', '.join(SUMMARIES[:-1])} or {SUMMARIES[-1]}, not `{value[:40]}`.", "_summary")
            if value == "count" and one:
                raise Problem("bad-request", "`_summary=count` counts what a search finds; here is one resource.", "_summary")
            summary = "" if value in ("false", "count") else value
        elif name == "_elements":
            elements += [e.strip() for e in value.split(",") if e.strip()]
    return Part(summary, tuple(dict.fromkeys(elements)))


def render(raw: bytes, part: Part, r4: R4) -> bytes:
    """The resource in `raw`, or the part of it that was asked for. Numbers keep their digits."""
    return dump(reduced(read(raw), part, r4)) if part else raw


def reduced(resource: Mapping[str, Any], part: Part, r4: R4) -> dict[str, Any]:
    """What is left of `resource`, tagged SUBSETTED. Mandatory and modifier elements always stay."""
    type = str(resource["resourceType"])
    kept = dict(resource)
    if part.summary == "data":
        kept.pop("text", None)
    elif part.summary == "text":
        kept = _only(kept, _mandatory(type, r4) | {"text"})
    elif part.summary == "true":
        kept = _summary(kept, type, "", r4)
    if part.elements:
        kept = _only(kept, _mandatory(type, r4) | _modifiers(type, r4) | _named(type, part.elements))
    return _tagged(kept)


def is_subset(resource: Mapping[str, Any]) -> bool:
    """Whether this says of itself that it is a part: such a body would delete what it does not show."""
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    return isinstance(tags, list) and any(isinstance(t, dict) and t.get("code") == "SUBSETTED" for t in tags)


def _named(type: str, elements: Iterable[str]) -> frozenset[str]:
    """`name`, `Patient.name`, `name.family` are all the element `name`."""
    out = set()
    for element in elements:
        steps = element.split(".")
        if steps[0] == type:
            steps = steps[1:]
        if steps:
            out.add(steps[0])
    return frozenset(out)


def _only(resource: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    return {k: v for k, v in resource.items() if k in _ALWAYS or k.lstrip("_") in wanted or _choice(k.lstrip("_"), wanted)}


def _choice(name: str, wanted: frozenset[str]) -> bool:
    """`_elements=value` also means `valueQuantity`."""
    stem = name.rstrip("abcdefghijklmnopqrstuvwxyz0123456789")
    while stem and stem[-1].isupper():
        stem = stem[:-1]
        if stem in wanted:
            return True
        stem = stem.rstrip("abcdefghijklmnopqrstuvwxyz0123456789")
    return False


def _mandatory(type: str, r4: R4) -> frozenset[str]:
    return frozenset(n for name, e in r4.type(type).children() if e.min > 0 for n in names(name, e))


def _modifiers(type: str, r4: R4) -> frozenset[str]:
    return frozenset(n for name, e in r4.type(type).children() if e.modifier for n in names(name, e))


def _summary(node: Mapping[str, Any], type: str, below: str, r4: R4) -> dict[str, Any]:
    """The elements that R4 marks as summary, in the resource and in the groups of it; data types stay whole."""
    out: dict[str, Any] = {}
    known = {n: (name, e) for name, e in r4.type(type).children(below) for n in names(name, e)}
    for key, value in node.items():
        name, element = known.get(key.lstrip("_"), ("", None))
        if key in _ALWAYS or (below and key == "id"):
            out[key] = value
        elif element is not None and (element.summary or element.min > 0 or element.modifier):
            path = f"{below}.{name}" if below else name
            out[key] = _group(value, type, path, r4) if any(r4.type(type).children(path)) else value
    return out


def _group(value: Any, type: str, path: str, r4: R4) -> Any:
    if isinstance(value, list):
        return [_group(v, type, path, r4) for v in value]
    return _summary(value, type, path, r4) or value if isinstance(value, dict) else value


def _tagged(resource: dict[str, Any]) -> dict[str, Any]:
    meta = dict(resource.get("meta") or {})
    tags = [t for t in meta.get("tag", ()) if t != SUBSETTED]
    return _in_front(resource, {**meta, "tag": [*tags, SUBSETTED]})


def _in_front(resource: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    if "meta" in resource:
        return {k: meta if k == "meta" else v for k, v in resource.items()}
    head: dict[str, Any] = {k: resource[k] for k in ("resourceType", "id") if k in resource}
    return {**head, "meta": meta, **{k: v for k, v in resource.items() if k not in head}}
