"""Which slice an element belongs to: a test for each slice, made of the slicing's discriminators.

A test says yes, no, or None where it cannot be said (a reference that is not followed, a profile nobody here knows).
https://hl7.org/fhir/R4/profiling.html#discriminator
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from . import values
from .items import Item, below, named
from .shapes import ANY, EXTENSIONS, Shape, url_of

if TYPE_CHECKING:
    from .checking import Judge

Test = Callable[[Item, "Judge"], bool | None]
Step = tuple[str, str]  # (name or function, its argument)
DEFAULT = "@default"
_STEP = re.compile(r"(\$?\w+)(?:\(\s*'?([^')]*)'?\s*\))?(?:\.|$)")


def tests(whole: Shape, judge: Judge) -> dict[str, Test]:
    """slice name -> its test, without `@default`."""
    slicing = whole.slicing
    by = slicing.by if slicing is not None else ()
    made: dict[str, Test] = {}
    for name, slice in whole.slices.items():
        if name != DEFAULT:
            made[name] = _every([_test(kind, path, slice, whole, judge) for kind, path in by])
    return made


def by_url(whole: Shape) -> dict[str, str] | None:
    """url -> slice, where extensions are told apart by nothing else; None elsewhere."""
    urls = {url_of(slice): name for name, slice in whole.slices.items()}
    plain = whole.name in EXTENSIONS and whole.slicing is not None and whole.slicing.by == (("value", "url"),)
    return urls if plain and len(urls) == len(whole.slices) and "" not in urls else None


def _every(some: list[Test]) -> Test:
    def test(item: Item, judge: Judge) -> bool | None:
        answer: bool | None = True if some else None
        for one in some:
            said = one(item, judge)
            if said is False:
                return False
            answer = None if said is None else answer
        return answer

    return test


def _test(kind: str, path: str, slice: Shape, whole: Shape, judge: Judge) -> Test:
    steps = _steps(path)
    if steps is None:
        return _unsure
    if whole.name in EXTENSIONS and path == "url" and (url := url_of(slice)):
        return lambda item, _: type(item.value) is dict and item.value.get("url") == url
    leaves = _leaves([slice, whole], steps, judge)
    one = {"value": _value, "pattern": _value, "type": _type, "profile": _profile, "exists": _exists}.get(kind)
    if one is None:
        return _unsure
    if kind == "type" and steps and steps[-1][0] == "resolve":
        return _target_type(_leaves([slice, whole], steps[:-1], judge), steps)
    if kind == "profile" and steps and steps[-1][0] == "resolve":
        return _conforming(tuple(p for s in _leaves([slice, whole], steps[:-1], judge)[:1] for p in _targets(s)), steps)
    return one(leaves, steps)


def _unsure(item: Item, judge: Judge) -> bool | None:
    return None


def _steps(path: str) -> list[Step] | None:
    """None for what no discriminator may hold."""
    if path in ("$this", ""):
        return []
    found, at = [], 0
    while at < len(path):
        m = _STEP.match(path, at)
        if m is None:
            return None
        if m[1] != "$this":
            found.append((m[1], m[2] or ""))
        at = m.end()
    return found


# -- what the profile says at the end of a discriminator's path -------------------------------------------------------


def _leaves(shapes: list[Shape], steps: Sequence[Step], judge: Judge) -> list[Shape]:
    """Every shape that speaks of the element at that path, the slice's own first."""
    for name, argument in steps:
        shapes = [found for s in shapes for found in _next(s, name, argument, judge)]
    return shapes


def _next(shape: Shape, name: str, argument: str, judge: Judge) -> Iterator[Shape]:
    for s in (shape, *_typed(shape, judge)):
        inner = s.same or s
        if name == "resolve":
            targets = [judge.known.profile(t) for t in _targets(s)]
            if len(targets) == 1 and targets[0] is not None:
                yield targets[0].shape
        elif name == "extension":
            holder = inner.children.get("extension")
            for slice in holder.slices.values() if holder is not None else ():
                if url_of(slice) == argument:
                    yield slice
        elif name == "ofType":
            yield from (t for t in (s, *s.slices.values()) if t.kinds is None or any(k.code == argument for k in t.kinds))
        elif (child := inner.children.get(name)) is not None:
            yield child
            yield from child.slices.values() if child.choice else ()


def _typed(shape: Shape, judge: Judge) -> Iterator[Shape]:
    """The shape of the one profile that its type must meet."""
    profiles = [p for k in shape.kinds or () for p in k.profiles]
    found = judge.known.profile(profiles[0]) if len(profiles) == 1 else None
    if found is not None:
        yield found.shape


def _targets(shape: Shape) -> tuple[str, ...]:
    return tuple(t for k in shape.kinds or () for t in k.targets)


# -- tests ------------------------------------------------------------------------------------------------------------


def _found(item: Item, steps: Sequence[Step], judge: Judge) -> list[Item] | None:
    """The elements at the end of the path; None where a reference cannot be followed."""
    items = [item]
    for name, argument in steps:
        if name == "resolve":
            followed = [judge.followed(i) for i in items]
            if any(f is None for f in followed):
                return None
            items = [f for f in followed if f is not None]
        elif name == "extension":
            items = [x for i in items for x in below(i, "extension") if named(x, argument)]
        elif name == "ofType":
            items = [i for i in items if i.kind == argument]
        else:
            items = [x for i in items for x in below(i, name)]
    return items


def _value(leaves: list[Shape], steps: list[Step]) -> Test:
    for leaf in leaves:
        if leaf.fixed is not None:
            return _some(steps, lambda i, _, v=leaf.fixed: values.equal(i.value, v))  # type: ignore[misc]
        if leaf.pattern is not None:
            return _some(steps, lambda i, _, v=leaf.pattern: values.fits(i.value, v))  # type: ignore[misc]
    for leaf in leaves:
        for strength, url in leaf.bind:
            if strength == "required":
                return _some(steps, lambda i, judge, u=url: judge.bound(i, u))  # type: ignore[misc]
        if (leaf.same or leaf).children:
            return _some(steps, lambda i, judge, s=leaf: judge.is_shaped(i, s))  # type: ignore[misc]
    return _exists(leaves, steps)


def _some(steps: list[Step], one: Test) -> Test:
    def test(item: Item, judge: Judge) -> bool | None:
        items = _found(item, steps, judge)
        if items is None:
            return None
        said = [one(i, judge) for i in items]
        return True if True in said else None if None in said else False

    return test


def _exists(leaves: list[Shape], steps: list[Step]) -> Test:
    if any(leaf.most == 0 for leaf in leaves[:1]):
        return lambda item, judge: None if (items := _found(item, steps, judge)) is None else not items
    if any(leaf.least or (leaf.core is not None and leaf.core.min) for leaf in leaves):
        return lambda item, judge: None if (items := _found(item, steps, judge)) is None else bool(items)
    return _unsure


def _type(leaves: list[Shape], steps: list[Step]) -> Test:
    codes = next(({k.code for k in leaf.kinds} for leaf in leaves if leaf.kinds), None)
    if codes is None:
        return _unsure
    return _some(steps, lambda i, judge: i.kind in codes or not codes.isdisjoint(ANY) if i.kind else None)


def _target_type(leaves: list[Shape], steps: list[Step]) -> Test:
    targets = next((found for leaf in leaves if (found := _targets(leaf))), ())

    def test(item: Item, judge: Judge) -> bool | None:
        references = _found(item, steps[:-1], judge)
        kinds = [judge.target_kind(r) for r in references or ()]
        allowed = {judge.type_of(t) for t in targets}
        if not targets or references is None or any(k is None for k in kinds):
            return None
        return any(k in allowed for k in kinds) or (None if None in allowed else False)

    return test


def _profile(leaves: list[Shape], steps: list[Step]) -> Test:
    profiles: tuple[str, ...] = next((p for leaf in leaves if (p := tuple(u for k in leaf.kinds or () for u in k.profiles))), ())
    return _conforming(profiles, steps)


def _conforming(profiles: tuple[str, ...], steps: list[Step]) -> Test:
    def one(item: Item, judge: Judge) -> bool | None:
        said = [judge.meets(item, p) for p in profiles]
        return True if True in said else None if None in said or not said else False

    return _some(steps, one)
