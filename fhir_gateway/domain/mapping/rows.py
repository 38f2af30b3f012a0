"""One table at work: the rows of one thing of the plan, in both directions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from . import carrier
from .carrier import Kept
from .codecs import Codec, Instead
from .paths import MISSING, Segment
from .ways import Inward, Outward

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One field. `get` and `put` are its compiled FHIR path; `companions` are constants written beside it."""

    plan: Path
    fhir: str
    segments: tuple[Segment, ...]
    get: Callable[[Any], Any]
    put: Callable[[dict[str, Any], Any], None]
    codec: Codec
    companions: tuple[tuple[Callable[[Any], Any], Callable[[dict[str, Any], Any], None], Any], ...] = ()
    read_only: bool = False
    theirs: bool = False  # read only from resources that no plan made
    otherwise: Any = MISSING  # what FHIR demands where the plan is silent
    otherwise_from: str = ""  # ... taken from this key of the plan
    otherwise_when: Callable[[Any], Any] | None = None  # ... only where this stands in FHIR
    unsaid: Any = MISSING  # what FHIR says where the plan is silent, without a marker

    def write(self, element: dict[str, Any], value: Any) -> None:
        self.put(element, value)
        for there, put, constant in self.companions:
            if there(element) is MISSING:
                put(element, constant)


@dataclass(slots=True)
class Node:
    """One key of the plan: rows that take its value, and keys below it."""

    rows: list[Row] = field(default_factory=list)
    below: dict[str, Node] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fields:
    """The rows of a thing, or of the elements of a list in it. `must`: FHIR elements without which there is no element."""

    rows: tuple[Row, ...]
    tree: Mapping[str, Node]
    defaults: tuple[Row, ...]
    must: tuple[Callable[[Any], Any], ...] = ()
    by_path: Mapping[Path, tuple[Row, ...]] = field(default_factory=dict)
    periods: tuple[tuple[Row, Row, Callable[[Any], Any]], ...] = ()

    # -- plan to FHIR

    def out(self, item: Mapping[str, Any], element: dict[str, Any], way: Outward, skip: frozenset[str] = frozenset()) -> None:
        """Write `item` into `element`; what FHIR cannot say hangs on it as `plan-unmapped`. `skip`: keys mapped elsewhere."""
        kept: list[Kept] = []
        self._take(self.tree, item, (), element, way, kept, skip)
        if self.defaults:
            kept = self._fill(item, element, kept)
        for _, end, period in self.periods:
            span = period(element)
            if span is not MISSING and "start" in span and "end" in span and not in_order(span["start"], span["end"]):
                kept.append(Kept(end.plan, span.pop("end")))
        if kept:
            carrier.write(element, kept)
            if way.dry is not None:
                way.dry.extend(
                    {"path": _spell(way.where, k.path), "to": f"{way.into}.extension[plan-unmapped]", "why": "FHIR has no place for it: kept as it is"}
                    for k in kept if k.value is not MISSING
                )  # fmt: skip

    def _take(
        self, tree: Mapping[str, Node], item: Mapping[str, Any], prefix: Path, element: dict[str, Any], way: Outward,
        kept: list[Kept], skip: frozenset[str],
    ) -> None:  # fmt: skip
        seen = 0
        for key, node in tree.items():
            value = item.get(key, MISSING)
            if value is MISSING:
                continue
            seen += 1
            if key in skip:
                continue
            for row in node.rows:
                said = row.codec.out(value, way)
                if said is MISSING:
                    continue
                if type(said) is Instead:
                    kept.append(Kept((*prefix, key), value, said.value))
                    said = said.value
                elif said == row.unsaid:
                    kept.append(Kept((*prefix, key), value, said))
                row.write(element, said)
                if way.dry is not None:
                    way.dry.append({"path": _spell(way.where, (*prefix, key)), "to": f"{way.into}.{row.fhir}", "why": "has a place in FHIR"})
                break
            else:
                if node.below and type(value) is dict and value:
                    self._take(node.below, value, (*prefix, key), element, way, kept, frozenset())
                else:
                    kept.append(Kept((*prefix, key), value))
        if seen < len(item):
            kept += [Kept((*prefix, k), item[k]) for k in sorted(item.keys() - tree.keys() - skip)]

    def _fill(self, item: Mapping[str, Any], element: dict[str, Any], kept: list[Kept]) -> list[Kept]:
        """What FHIR demands and the plan does not say; the marker tells that it was not said."""
        for row in self.defaults:
            if row.get(element) is not MISSING or (row.otherwise_when and row.otherwise_when(element) is MISSING):
                continue
            if row.unsaid is not MISSING:
                row.write(element, row.unsaid)
                continue
            value = row.otherwise
            if row.otherwise_from:
                words = item.get(row.otherwise_from)
                value = words if row.codec.out(words, None) is not MISSING else row.otherwise  # type: ignore[arg-type]
            row.write(element, value)
            said = next((k.value for k in kept if k.path == row.plan), MISSING)
            kept = [k for k in kept if k.path != row.plan] + [Kept(row.plan, said, str(value))]
        return kept

    # -- FHIR to plan

    def back(self, element: Mapping[str, Any], way: Inward) -> dict[str, Any]:
        """The thing that `element` says, with what hung on it."""
        out: dict[str, Any] = {}
        for row in self.rows:
            if row.theirs and way.ours:
                continue
            said = row.get(element)
            if said is MISSING or said == row.unsaid:
                continue
            path = row.plan
            if len(path) == 1:
                if path[0] in out:
                    continue
                value = row.codec.back(said, way)
                if value is not MISSING:
                    out[path[0]] = value
            else:
                value = row.codec.back(said, way)
                if value is not MISSING:
                    _place(out, path, value, over=False)
        beside = carrier.read(element)
        if len(beside) > 1:
            beside.sort(key=lambda k: k.instead is None)  # what stands in for silence goes first
        for kept in beside:
            self._restore(out, element, kept)
        return out

    def _restore(self, out: dict[str, Any], element: Mapping[str, Any], kept: Kept) -> None:
        if kept.instead is None:
            _place(out, kept.path, kept.value, over=False)
            return
        rows = self.by_path.get(kept.path, ())
        now = next((v for v in (row.get(element) for row in rows) if v is not MISSING), MISSING)
        if now is not MISSING and str(now) != kept.instead:
            return  # somebody said otherwise since: theirs is the newer word
        if kept.value is MISSING:
            _remove(out, kept.path)
        else:
            _place(out, kept.path, kept.value, over=True)


def _place(out: dict[str, Any], path: Path, value: Any, *, over: bool) -> None:
    if value is MISSING:
        return
    for key in path[:-1]:
        out = out.setdefault(key, {})
        if type(out) is not dict:
            return
    if over or path[-1] not in out:
        out[path[-1]] = value


def _remove(out: dict[str, Any], path: Path) -> None:
    here = [out]
    for key in path[:-1]:
        below = here[-1].get(key)
        if type(below) is not dict:
            return
        here.append(below)
    here[-1].pop(path[-1], None)
    for depth in range(len(here) - 1, 0, -1):
        if not here[depth]:
            here[depth - 1].pop(path[depth - 1], None)


def _spell(where: str, path: Path) -> str:
    return ".".join((where, *path) if where else path)


def each(fields: Fields) -> Codec:
    """A list of things in the plan as a list of elements. All of them, or the list is kept beside as it is."""

    def out(value: Any, way: Outward) -> Any:
        if type(value) is not list or not value:
            return MISSING
        elements = []
        for item in value:
            if type(item) is not dict:
                return MISSING
            element: dict[str, Any] = {}
            quiet, way.dry = way.dry, None
            fields.out(item, element, way)
            way.dry = quiet
            if not element or any(there(element) is MISSING for there in fields.must):
                return MISSING
            elements.append(element)
        return elements

    def back(value: Any, way: Inward) -> Any:
        if type(value) is not list:
            return MISSING
        items = [fields.back(e, way) for e in value if type(e) is dict]
        return [i for i in items if i] or MISSING

    return Codec(out, back, whole=False)


def listed(inner: Codec, name: str) -> Codec:
    """A list of values in the plan as a list of elements: the values themselves (`.`) or `{name: value}`."""

    def out(value: Any, way: Outward) -> Any:
        if type(value) is not list or not value:
            return MISSING
        said = [inner.out(v, way) for v in value]
        if any(s is MISSING or type(s) is Instead for s in said):
            return MISSING
        return said if name == "." else [{name: s} for s in said]

    def back(value: Any, way: Inward) -> Any:
        if type(value) is not list:
            return MISSING
        values = value if name == "." else [e[name] for e in value if type(e) is dict and name in e]
        said = [s for s in (inner.back(v, way) for v in values) if s is not MISSING]
        return said or MISSING

    return Codec(out, back, whole=name == ".")


def in_order(start: str, end: str) -> bool:
    """Both are said equally precisely, and the end is not before the start (invariant per-1 cannot be judged otherwise)."""
    if len(start) <= 10 or len(end) <= 10:
        return len(start) == len(end) and start <= end
    return _instant(start) <= _instant(end)


def _instant(text: str) -> datetime:
    text = re.sub(r"(\.\d{6})\d+", r"\1", text.replace(":60", ":59", 1) if ":60" in text[10:] else text)
    return datetime.fromisoformat(text)
