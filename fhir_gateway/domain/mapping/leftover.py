"""What of a resource no table speaks of, and how to put it back: nothing another system wrote is lost by our writing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from . import paths
from .carrier import UNMAPPED, dump
from .names import own_identifier
from .paths import MISSING, Segment
from .tables import Table

# Every resource's own, the server's, and what the mapping writes by itself.
OURS: Final = frozenset({"resourceType", "id", "meta", "implicitRules", "text", "subject", "for", "patient", "partOf", "source"})
EXTRA: Final = "x_fhir"  # the key of a plan's item under which they travel
BOUND: Final = frozenset({"resourceType", "id", "meta", "implicitRules", "text", "subject", "for", "patient"})  # never put back
ADDED: Final = frozenset({"extension", "modifierExtension", "identifier", "category", "partOf"})  # lists to which theirs is added
LINKS: Final = frozenset({"addresses", "goal", "supportingInfo", "careTeam", "activity"})  # of the main CarePlan


def leftover(resource: Mapping[str, Any], table: Table) -> list[tuple[str, Any]]:
    """(path, value) of every element that the table does not know, deepest whole elements, in the resource's order."""
    known = table.known
    out: list[tuple[str, Any]] = []
    skip = OURS | (LINKS if table.kind == "plan" else frozenset()) | (frozenset({"participant", "status", "name"}) if table.kind == "team" else frozenset())
    for name, value in resource.items():
        if name in skip:
            continue
        if name == "identifier":
            out += [(f"identifier[{n}]", i) for n, i in _others(resource, table)]
            continue
        out += _below(name, value, known, name, table)
    return out


def _others(resource: Mapping[str, Any], table: Table) -> Iterator[tuple[int, Any]]:
    found = resource["identifier"]
    for n, i in enumerate(found if isinstance(found, list) else [found]):
        if own_identifier({"identifier": i}) is None and not any(
            s[0].name == "identifier" and isinstance(i, dict) and i.get(s[0].key) == s[0].value for s in table.known
        ):
            yield n, i


def _below(name: str, value: Any, known: Iterable[tuple[Segment, ...]], spelled: str, table: Table) -> Iterator[tuple[str, Any]]:
    """Leftovers of one member; `known` are the paths that may begin with it."""
    mine = [s for s in known if s and s[0].name == name]
    if not isinstance(value, list):
        yield from _one(value, [s[1:] for s in mine], spelled, table)
        return
    for n, element in enumerate(value):
        if name == "extension" and isinstance(element, dict) and element.get("url") == UNMAPPED:
            continue
        fits = [s[1:] for s in mine if _is(s[0], n, element)]
        yield from _one(element, fits, f"{spelled}[{n}]", table)


def _is(segment: Segment, n: int, element: Any) -> bool:
    if segment.key:
        return isinstance(element, dict) and element.get(segment.key) == segment.value
    return segment.each or segment.place == n


def _one(value: Any, rest: list[tuple[Segment, ...]], spelled: str, table: Table) -> Iterator[tuple[str, Any]]:
    if any(not r for r in rest):
        return  # a row takes the whole of it
    if not rest or not isinstance(value, dict):
        yield spelled, value
        return
    named = {r[0].name for r in rest}
    for name, below in value.items():
        if name in named:
            yield from _below(name, below, rest, f"{spelled}.{name}", table)
        elif name in ("use", "system", "linkId", "type") or (name == "url" and _is_extension(spelled)) or (name == "extension" and _only_ours(below)):
            continue
        else:
            yield f"{spelled}.{name}", below


def _is_extension(spelled: str) -> bool:
    return spelled.rsplit(".", 1)[-1].startswith(("extension", "modifierExtension"))


def _only_ours(extension: Any) -> bool:
    return isinstance(extension, list) and all(isinstance(e, dict) and e.get("url") == UNMAPPED for e in extension)


class Lost(NamedTuple):
    """A value that does not come back by the rows: where it stood, and what stands there instead, or MISSING."""

    path: str
    value: Any
    instead: Any = MISSING

    @property
    def extra(self) -> dict[str, Any]:
        """As one entry of `x_fhir`."""
        return {"path": self.path, "value": self.value} | ({} if self.instead is MISSING else {"as": self.instead})


def lost(was: Mapping[str, Any], now: Mapping[str, Any], table: Table, leads: Callable[[str], bool]) -> list[Lost]:
    """What of a resource is not in what the plan makes of it again. `leads`: a reference to something at hand, which the plan has
    under a name of its own. Narrative, the server's own elements and whose record it is are not looked at."""
    skip = BOUND | (LINKS if table.kind == "plan" else frozenset())
    out: list[Lost] = []
    for name, value in was.items():
        if name == "identifier" and isinstance(value, dict):
            out += [] if own_identifier(was) else [Lost(name, value)]
        elif name not in skip:
            out += _missing(value, now.get(name, MISSING), name, name in ADDED, leads)
    return out


def _missing(was: Any, now: Any, at: str, added: bool, leads: Callable[[str], bool]) -> Iterator[Lost]:
    if now is MISSING and added and isinstance(was, list):
        yield from _missing_of_many(was, [], at, added, leads)
    elif now is MISSING:
        yield Lost(at, was)
    elif isinstance(was, dict) and isinstance(now, dict):
        for name, value in was.items():
            if not (name == "reference" and isinstance(value, str) and leads(value)):
                yield from _missing(value, now.get(name, MISSING), f"{at}.{name}", name in ADDED, leads)
    elif isinstance(was, list) and isinstance(now, list):
        yield from _missing_of_many(was, now, at, added, leads)
    elif dump(was) != dump(now):
        yield Lost(at, was, now)


def _missing_of_many(was: list[Any], now: list[Any], at: str, added: bool, leads: Callable[[str], bool]) -> Iterator[Lost]:
    taken: set[int] = set()
    for n, element in enumerate(was):
        if isinstance(element, dict) and (element.get("url") == UNMAPPED or own_identifier({"identifier": element}) is not None):
            continue
        place = _place_of(element, now, taken) if added else n
        if place is None or place >= len(now):
            yield Lost(f"{at}[{n}]", element)
        else:
            taken.add(place)
            yield from _missing(element, now[place], f"{at}[{place}]", False, leads)


def _place_of(element: Any, now: list[Any], taken: set[int]) -> int | None:
    """Where the same one stands now: an equal one, else an extension of this name."""
    free = [n for n in range(len(now)) if n not in taken]
    url = element.get("url") if isinstance(element, dict) else None
    same = [n for n in free if dump(now[n]) == dump(element)] or [n for n in free if url is not None and now[n].get("url") == url]
    return same[0] if same else None


def restore(resource: dict[str, Any], rest: Iterable[tuple[Any, ...]]) -> None:
    """Put leftovers, (path, value) or (path, value, what stands there instead), back where they were, as far as what they hung on
    is still there; over what the plan says only where it says what it said then."""
    for path, value, *instead in rest:
        try:
            segments = paths.parse(path)
        except ValueError:
            continue
        if segments[0].name not in BOUND and not (segments[0].name == "identifier" and len(segments) > 1):  # by which the plan knows its own
            _put(resource, segments, value, instead[0] if instead else MISSING)


def _put(node: Any, segments: tuple[Segment, ...], value: Any, instead: Any) -> None:
    s, rest = segments[0], segments[1:]
    if type(node) is not dict:
        return
    if s.place is None and not rest:
        if s.name not in node or (instead is not MISSING and dump(node[s.name]) == dump(instead)):
            node[s.name] = value
        return
    made = s.name not in node
    if s.place is None:
        _put(node.setdefault(s.name, {}), rest, value, instead)
    else:
        _put_at(node.setdefault(s.name, []), s, rest, value, instead)
    if made and not node[s.name]:  # nothing had a place in it
        del node[s.name]


def _put_at(found: Any, s: Segment, rest: tuple[Segment, ...], value: Any, instead: Any) -> None:
    if type(found) is not list or s.place is None:
        return
    if rest:
        if s.place < len(found):
            _put(found[s.place], rest, value, instead)
    elif instead is not MISSING:
        if s.place < len(found) and dump(found[s.place]) == dump(instead):
            found[s.place] = value
    elif value not in found or (s.name not in ADDED and s.place >= len(found)):
        found.append(value)
