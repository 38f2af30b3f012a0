"""Simple FHIRPath as places in JSON: what a FHIRPath Patch points at. https://hl7.org/fhir/R4/fhirpatch.html

    Patient.name[0].given[1]   Patient.name.where(use = 'official' and family.exists())   Observation.value.ofType(Quantity)

Reading is one pass over the text; finding is one pass over the resource for each step. No expression here loops or matches
patterns, so none can run long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from .patch import equal
from .problem import Problem
from .r4 import R4, names

LONGEST: Final = 1_000
_TOKEN: Final = re.compile(r"\s*(?:([A-Za-z_][A-Za-z0-9_]*)|`([^`]+)`|'((?:[^'\\]|\\.)*)'|([0-9]+(?:\.[0-9]+)?)|(!=|<=|>=|[.()\[\],=~<>$%@|&+*/-]))")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}

Json = Any


@dataclass(frozen=True, slots=True)
class Spot:
    """One place: `holder[key]`, or `holder[key][index]` in a list; no holder for the resource itself.

    `path` is the element's name in R4; `stem` is `value` where `key` is `valueQuantity`.
    """

    value: Json
    path: str
    holder: dict[str, Any] | None = None
    key: str = ""
    index: int | None = None
    stem: str = ""


# -- reading ----------------------------------------------------------------------------------------------------------

Test = Callable[["Spot", R4], bool]


@dataclass(frozen=True, slots=True)
class Step:
    """`name` of an element, `at` an index (-1 the last), or one of the functions."""

    kind: str  # name at where type extension
    name: str = ""
    at: int = 0
    test: Test | None = None


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self.where, self.text = where, text
        if len(text) > LONGEST:
            raise self.wrong(f"A path has at most {LONGEST} characters.")
        self.tokens = list(self._tokens())
        self.at = 0
        self.nested = 0

    def wrong(self, text: str = "") -> Problem:
        return Problem("bad-request", text or f"`{self.text[:120]}` is not a simple FHIRPath, as a patch needs it.", self.where)

    def _tokens(self) -> Any:
        at, end = 0, len(self.text.rstrip())
        while at < end:
            m = _TOKEN.match(self.text, at)
            if m is None:
                raise self.wrong()
            word, quoted, text, number, sign = m.groups()
            if word is not None or quoted is not None:
                yield "name", word if word is not None else quoted
            elif text is not None:
                yield "text", re.sub(r"\\(.)", lambda e: _ESCAPES.get(e[1], e[1]), text, flags=re.DOTALL)
            elif number is not None:
                yield "number", Decimal(number) if "." in number else int(number)
            else:
                yield "sign", sign
            at = m.end()

    def peek(self) -> tuple[str, Any]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", None)

    def next(self, kind: str = "", value: Any = None) -> Any:
        found = self.peek()
        if (kind and found[0] != kind) or (value is not None and found[1] != value) or found[0] == "end":
            raise self.wrong()
        self.at += 1
        return found[1]

    def took(self, value: str) -> bool:
        if self.peek() in (("sign", value), ("name", value)):
            self.at += 1
            return True
        return False

    # path := name ('.' step | '[' n ']')*   |   '(' path 'as' Type ')' …

    def path(self) -> list[Step]:
        steps: list[Step] = []
        if self.took("("):
            self.deeper()
            steps += self.path()
            if self.took("as"):
                steps.append(Step("type", self.next("name")))
            self.next("sign", ")")
            self.nested -= 1
        else:
            steps.append(self.step())
        while True:
            if self.took("["):
                at = self.next("number")
                if not isinstance(at, int) or at > 10_000_000:
                    raise self.wrong()
                steps.append(Step("at", at=at))
                self.next("sign", "]")
            elif self.took("."):
                steps.append(self.step())
            else:
                return steps

    def deeper(self) -> None:
        self.nested += 1
        if self.nested > 20:
            raise self.wrong()

    def step(self) -> Step:
        name = self.next("name")
        if not self.took("("):
            return Step("name", name)
        self.deeper()
        made = self.function(name)
        self.next("sign", ")")
        self.nested -= 1
        return made

    def function(self, name: str) -> Step:
        match name:
            case "first" | "last" | "single":
                return Step("at" if name != "single" else "single", at=-1 if name == "last" else 0)
            case "ofType" | "as":
                word = self.next("name")
                return Step("type", self.next("name") if self.took(".") else word)  # FHIR.Quantity is Quantity
            case "extension":
                return Step("extension", self.next("text"))
            case "where":
                return Step("where", test=self.either())
            case "exists":
                return Step("exists", test=None if self.peek() == ("sign", ")") else self.either())
            case "not":
                return Step("not")
        raise self.wrong(f"`{name[:40]}()` cannot be used in the path of a patch.")

    # criteria

    def either(self) -> Test:
        parts = [self.both()]
        while self.took("or"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else lambda s, r4: any(p(s, r4) for p in parts)

    def both(self) -> Test:
        parts = [self.comparison()]
        while self.took("and"):
            parts.append(self.comparison())
        return parts[0] if len(parts) == 1 else lambda s, r4: all(p(s, r4) for p in parts)

    def comparison(self) -> Test:
        if self.peek() == ("sign", "(") and not self.casts():
            self.deeper()
            self.next()
            inner = self.either()
            self.next("sign", ")")
            self.nested -= 1
            return inner
        steps = self.path()
        kind, sign = self.peek()
        if kind != "sign" or sign not in ("=", "!=", "~"):
            return _truth(steps)
        self.next()
        wanted = self.literal()
        return _compares(steps, wanted, sign == "!=")

    def casts(self) -> bool:
        """Whether this parenthesis is `(value as Quantity)`."""
        rest = self.tokens[self.at + 1 :]
        close = next((i for i, t in enumerate(rest) if t == ("sign", ")")), len(rest))
        return ("name", "as") in rest[:close]

    def literal(self) -> Json:
        kind, value = self.peek()
        if kind in ("text", "number"):
            return self.next()
        if kind == "name" and value in ("true", "false"):
            return self.next() == "true"
        raise self.wrong()


def _truth(steps: Sequence[Step]) -> Test:
    """`active`, `family.exists()`, `family.exists().not()`."""
    steps = list(steps)
    turned = 0
    while steps and steps[-1].kind == "not":
        steps.pop()
        turned += 1
    asks = steps[-1] if steps and steps[-1].kind == "exists" else None
    if asks is not None:
        steps.pop()

    def test(spot: Spot, r4: R4) -> bool:
        found = _walk([spot], steps, r4)
        if asks is not None:
            yes = any(asks.test is None or asks.test(s, r4) for s in found)
        else:
            yes = any(s.value is True for s in found)
        return yes != bool(turned % 2)

    return test


def _compares(steps: Sequence[Step], wanted: Json, unequal: bool) -> Test:
    def test(spot: Spot, r4: R4) -> bool:
        found = _walk([spot], steps, r4)
        return len(found) == 1 and equal(found[0].value, wanted) != unequal

    return test


# -- finding ----------------------------------------------------------------------------------------------------------


def find(resource: dict[str, Any], path: str, r4: R4, where: str = "") -> list[Spot]:
    """Every place that `path` leads to in `resource`. Problem bad-request for what is no simple path of this type."""
    return _walk([_root(resource)], _steps(resource, path, where), r4)


def named(resource: dict[str, Any], path: str, r4: R4, where: str = "") -> tuple[dict[str, Any], str, str]:
    """Who holds the element at the end of `path` (its list, filled or not), under which JSON name, and its path in R4."""
    steps = _steps(resource, path, where)
    if not steps or steps[-1].kind != "name":
        raise Problem("bad-request", f"`{path[:120]}` must end in the name of a list.", where)
    holders = _walk([_root(resource)], steps[:-1], r4)
    if len(holders) != 1 or not isinstance(holders[0].value, dict):
        raise Problem("cannot-apply", f"`{path[:120]}` leads to {len(holders)} places, not to one.", where)
    return holders[0].value, steps[-1].name, f"{holders[0].path}.{steps[-1].name}"


def _root(resource: dict[str, Any]) -> Spot:
    return Spot(resource, str(resource.get("resourceType")))


def _steps(resource: Mapping[str, Any], path: str, where: str) -> list[Step]:
    reader = _Reader(path, where)
    steps = reader.path()
    if reader.peek()[0] != "end" or any(s.kind in ("exists", "not") for s in steps):
        raise reader.wrong()
    if steps[0] == Step("name", str(resource.get("resourceType"))):
        return steps[1:]
    if steps[0].kind == "name" and steps[0].name[:1].isupper():
        raise reader.wrong(f"`{steps[0].name[:40]}` is not what is patched here: {resource.get('resourceType')} is.")
    return steps


def _walk(spots: list[Spot], steps: Sequence[Step], r4: R4) -> list[Spot]:
    for step in steps:
        match step.kind:
            case "name":
                spots = [s for spot in spots for s in _children(spot, step.name, r4)]
            case "at":
                spots = spots[step.at : step.at + 1 or None] if spots else []
            case "where":
                spots = [s for s in spots if step.test is not None and step.test(s, r4)]
            case "type":
                spots = [s for s in spots if _is(s, step.name, r4)]
            case "extension":
                spots = [
                    s for spot in spots for s in _children(spot, "extension", r4)
                    if isinstance(s.value, dict) and s.value.get("url") == step.name
                ]  # fmt: skip
    return spots


def _children(spot: Spot, name: str, r4: R4) -> list[Spot]:
    node = spot.value
    path = _path(spot)
    if not isinstance(node, dict):
        twin = _twin_of(spot)
        if twin is None or name not in ("extension", "id"):
            return []
        node, path = twin, "Element"
    keys = [(name, "")] if name in node or "_" + name in node else _choices(node, path, name, r4)
    out: list[Spot] = []
    for key, stem in keys:
        value = node.get(key)
        if isinstance(value, list):
            out += [Spot(v, f"{path}.{name}", node, key, i) for i, v in enumerate(value)]
        else:
            out.append(Spot(value, f"{path}.{key if stem else name}", node, key, None, stem))
    return out


def _choices(node: Mapping[str, Any], path: str, name: str, r4: R4) -> list[tuple[str, str]]:
    """`value` finds `valueQuantity`."""
    element = r4.element(f"{path}.{name}[x]")
    if element is None:
        return []
    return [(n, name) for n in names(f"{name}[x]", element) if n in node or "_" + n in node]


def _path(spot: Spot) -> str:
    """A resource inside a resource starts anew."""
    inner = spot.value.get("resourceType") if isinstance(spot.value, dict) and spot.holder is not None else None
    return inner if isinstance(inner, str) else spot.path


def _twin_of(spot: Spot) -> dict[str, Any] | None:
    twin = spot.holder.get("_" + spot.key) if spot.holder is not None else None
    if isinstance(twin, list) and spot.index is not None and spot.index < len(twin):
        twin = twin[spot.index]
    return twin if isinstance(twin, dict) else None


def _is(spot: Spot, type: str, r4: R4) -> bool:
    if spot.stem:
        return spot.key == spot.stem + type[:1].upper() + type[1:]
    if isinstance(spot.value, dict) and "resourceType" in spot.value:
        return bool(spot.value["resourceType"] == type)
    element = r4.element(spot.path)
    return element is not None and type in element.types


# -- changing: an element and its `_element` twin together ------------------------------------------------------------


def put(holder: dict[str, Any], key: str, index: int | None, value: Json, twin: Json) -> None:
    """Set `holder[key]`, or one entry of its list."""
    if index is not None:
        holder[key][index] = value
        if twin is not None or "_" + key in holder:
            _twins(holder, key)[index] = twin
            _tidy(holder, key)
        return
    for name, v in ((key, value), ("_" + key, twin)):
        if v is None:
            holder.pop(name, None)
        else:
            holder[name] = v


def insert(holder: dict[str, Any], key: str, index: int, value: Json, twin: Json) -> None:
    """A new entry in a list, before the one at `index`."""
    if twin is not None or "_" + key in holder:
        _twins(holder, key).insert(index, twin)
    holder.setdefault(key, []).insert(index, value)
    _tidy(holder, key)


def take(holder: dict[str, Any], key: str, index: int | None) -> tuple[Json, Json]:
    """Take an element out, or one entry of its list; what it was, and its twin."""
    if index is None:
        return holder.pop(key, None), holder.pop("_" + key, None)
    twin = _twins(holder, key).pop(index) if "_" + key in holder else None
    value = holder[key].pop(index)
    if not holder[key]:
        del holder[key]
    _tidy(holder, key)
    return value, twin


def _twins(holder: dict[str, Any], key: str) -> list[Json]:
    """The twin list, as long as the list itself."""
    twins = holder.get("_" + key)
    twins = list(twins) if isinstance(twins, list) else []
    holder["_" + key] = twins + [None] * (len(holder.get(key, ())) - len(twins))
    found: list[Json] = holder["_" + key]
    return found


def _tidy(holder: dict[str, Any], key: str) -> None:
    """A twin list without a twin is none."""
    twins = holder.get("_" + key)
    if isinstance(twins, list) and all(t is None for t in twins):
        del holder["_" + key]
