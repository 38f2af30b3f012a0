"""A profile's tree without what R4 says already, ready to be run over resources."""

from __future__ import annotations

import copy
from collections.abc import Callable

from ..r4 import R4, Element
from .shapes import ANY, CORE, EXTENSIONS, Constraint, Kind, Shape, Slicing, url_of

Most = Callable[[str], int | None]
FHIRPATH = "http://hl7.org/fhirpath/"
EVERYWHERE = frozenset({"ele-1", "ext-1", "dom-2", "dom-3", "dom-4", "dom-5", "dom-6", "ref-1"})


def trim(tree: Shape, r4: R4, most_of: Most = lambda url: None) -> Shape:
    """A copy without what R4 says already, which is checked beside it.

    `most_of(url)` says how often an extension may stand by its own definition, where the profile does not say.
    """
    tree = copy.deepcopy(tree)
    _link(tree, tree)
    _Trimming(r4, most_of).shape(tree, sliced=False)
    return tree


def _link(shape: Shape, tree: Shape) -> None:
    """Where an element has the content of another: that other one's shape."""
    for child in [*shape.children.values(), *shape.slices.values()]:
        if child.repeats and not child.children:
            target = _find(tree, child.repeats)
            child.same = target if target is not child else None
        _link(child, tree)


def _find(tree: Shape, path: str) -> Shape | None:
    shape: Shape | None = tree
    for step in path.split(".")[1:]:
        name, _, part = step.partition(":")
        shape = shape.children.get(name.removesuffix("[x]")) if shape is not None else None
        if shape is not None and part:
            shape = shape.slices.get(part)
    return shape


class _Trimming:
    def __init__(self, r4: R4, most_of: Most) -> None:
        self.r4, self.most_of = r4, most_of

    def shape(self, shape: Shape, *, sliced: bool) -> None:
        core = shape.core
        shape.says_value = any(v is not None for v in (shape.fixed, shape.pattern, shape.low, shape.high, shape.longest))
        if core is not None and not sliced:
            if shape.least <= core.min:
                shape.least = 0
            if core.max and (shape.most is None or shape.most >= core.max):
                shape.most = None
        if shape.kinds is not None:
            shape.kinds = _narrower(shape.kinds, core)
        shape.bind = tuple(b for b in shape.bind if b[0] in ("required", "extensible", "max") and not _bound_already(b, core))
        shape.rules = tuple(c for c in shape.rules if not _ruled_already(c, shape, self.r4))
        self.slices(shape)
        if shape.at == ("Extension", ""):
            _trim_extension(shape, sliced)
        for name, child in list(shape.children.items()):
            self.shape(child, sliced=False)
            if child.empty:
                del shape.children[name]

    def slices(self, shape: Shape) -> None:
        for slice in shape.slices.values():
            if shape.name in EXTENSIONS:
                self.extension(slice)
            self.shape(slice, sliced=True)
        if shape.slicing is None and shape.slices:
            by = (("value", "url"),) if shape.name in EXTENSIONS else (("type", "$this"),) if shape.choice else ()
            shape.slicing = Slicing(by)
        if shape.slicing is not None and shape.slicing.rules == "open" and all(_idle(s, shape) for s in shape.slices.values()):
            shape.slices = {}

    def extension(self, slice: Shape) -> None:
        """Its own definition is met wherever it stands: here it is only counted, as often as that says."""
        slice.url = url_of(slice)
        slice.kinds = None
        if slice.most is None and not slice.unbounded:
            slice.most = self.most_of(slice.url)


def _trim_extension(shape: Shape, sliced: bool) -> None:
    """ext-1 lets nothing have both a value and parts: where one is needed, that the other is forbidden need not be asked."""
    url, parts, value = (shape.children.get(n) for n in ("url", "extension", "value"))
    if url is not None and type(url.fixed) is str and (sliced or "." not in shape.label):
        shape.url = url.fixed
        del shape.children["url"]
    if parts is not None and value is not None:
        if parts.most == 0 and value.least:
            del shape.children["extension"]
        elif value.most == 0 and parts.least:
            del shape.children["value"]


def _idle(slice: Shape, whole: Shape) -> bool:
    """Whether a slice asks nothing that is not asked anyway: an extension's own definition is met wherever it stands."""
    bare = copy.copy(slice)
    bare.kinds, bare.most = None, None
    few = slice.most is not None and not (whole.choice and slice.most == 1)
    typed = any(k.profiles or k.targets for k in slice.kinds or ()) and whole.name not in EXTENSIONS
    return bare.empty and not few and not typed and (whole.name in EXTENSIONS or whole.choice or slice.kinds is None)


def _narrower(kinds: tuple[Kind, ...], core: Element | None) -> tuple[Kind, ...] | None:
    """None when R4 allows no more."""
    if any(k.code.startswith(FHIRPATH) for k in kinds):
        return None
    if core is None:
        return kinds if any(k.profiles or k.targets or k.code not in ANY for k in kinds) else None
    if {k.code for k in kinds} >= set(core.types) and not any(k.profiles for k in kinds):
        targets = {t for k in kinds for t in k.targets}
        if not targets or (targets >= {CORE + t for t in core.targets} and (core.targets or CORE + "Resource" in targets)):
            return None
    return kinds


def _bound_already(b: tuple[str, str], core: Element | None) -> bool:
    return core is not None and (b[0], b[1].partition("|")[0]) in core.bind


def _ruled_already(c: Constraint, shape: Shape, r4: R4) -> bool:
    if c.key in EVERYWHERE:
        return True
    places = [shape.at] if shape.at is not None else []
    places += [(t, "") for t in (shape.core.types if shape.core is not None else ()) if r4.knows(t)]
    return any(
        c.key == key and c.expression == expression
        for owner, below in places
        for key, _, expression in (*r4.type(owner).rules.get(below, ()), *r4.type(owner).rules.get("", ()))
    )
