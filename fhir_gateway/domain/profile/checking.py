"""A resource against compiled profiles, beside R4's own check: what it declares, what is asked, what its parts must be.

https://hl7.org/fhir/R4/profiling.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from ..problem import MOST_ISSUES, Issue
from ..r4 import Known
from . import constraints, slices, values
from .definitions import Definitions, Profile
from .items import Item, Path, below
from .nodes import codings, declared, has_value, is_coded, last_names, show
from .shapes import ANY, CORE, Kind, Shape

Node = dict[str, Any]
Render = Callable[[Path], str]
RELATIVE = re.compile(r"(?:https?://.+/)?([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?")


class Judge:
    """`Judge(definitions, resource, render)`; `issues` grows while the resource is read."""

    def __init__(self, known: Definitions, root: Node, render: Render, asked: Sequence[str] = ()) -> None:
        self.known, self.root, self.render, self.asked = known, root, render, asked
        self.issues: list[Issue] = []
        self._found: dict[tuple[int, str], list[Issue]] = {}
        self._told: set[tuple[int, str]] = set()
        self._label = ""  # of the profile that is being checked, and the resource it is checked on
        self._resource: Item | None = None
        self._inside: dict[int, dict[str, Item]] = {}  # by container: its contained resources by id
        self._entries: dict[int, dict[str, tuple[int, Item]]] = {}  # by Bundle: its entries by fullUrl, and which it is

    # -- what the base check calls

    def resource(self, node: Node, path: Path) -> None:
        """A resource wherever it stands: the profiles that it declares, and at the root those that are asked."""
        item = Item(node, None, str(node.get("resourceType")), path)
        asked = self.asked if node is self.root else ()
        for canonical in dict.fromkeys((*asked, *declared(node))):
            profile = self.known.profile(canonical)
            if profile is not None and profile.type != item.kind:
                self.say("structure", path, f"{profile.name} is a profile of {profile.type}, this is a {item.kind}.", profile.url)
            elif profile is not None:
                self.against(profile, item)

    def extension(self, value: Node, path: Path) -> Known | None:
        """Check an extension whose definition was given; where it may stand, or None when it was not."""
        profile = self.known.extension(str(value.get("url")))
        if profile is None:
            return None
        label, self._label = self._label, profile.name
        self.element(profile.shape, Item(value, None, "Extension", path))
        self._label = label
        parts = value.get("extension")
        for i, part in enumerate(parts if type(parts) is list else ()):
            url = part.get("url") if type(part) is dict else None
            if type(url) is str and ":" not in url and profile.extension is not None and url not in profile.extension.parts:
                self.say("structure", (path, "extension", i), f"{profile.name} has no part `{url[:80]}`.", "part")
        return profile.extension

    # -- profiles

    def against(self, profile: Profile, item: Item) -> None:
        """Tell, once, every issue of this element against that profile."""
        key = (id(item.value), profile.url)
        if key not in self._told:
            self._told.add(key)
            found = self.issues_of(profile, item)
            room = max(0, 2 * MOST_ISSUES - len(self.issues))
            self.issues += found if len(self.issues) < MOST_ISSUES else [i for i in found if i.severity == "error"][:room]
            for imposed in map(self.known.profile, profile.imposes):
                if imposed is not None:
                    self.against(imposed, item)

    def issues_of(self, profile: Profile, item: Item) -> list[Issue]:
        key = (id(item.value), profile.url)
        found = self._found.get(key)
        if found is None:
            self._found[key] = []  # while it is being looked at, what leads back to it takes it as right
            label, resource = self._label, self._resource
            self._label = profile.name
            if type(item.value) is dict and "resourceType" in item.value:
                self._resource = item
            found = self._found[key] = self.quietly(profile.shape, item)
            self._label, self._resource = label, resource
        return found

    def quietly(self, shape: Shape, item: Item) -> list[Issue]:
        before, self.issues = self.issues, []
        try:
            self.element(shape, item)
            return self.issues
        finally:
            self.issues = before

    def meets(self, item: Item, canonical: str) -> bool | None:
        """Whether it conforms to a profile or an R4 type; None when the profile is not known."""
        if canonical.startswith(CORE) and self.known.r4.knows(canonical.removeprefix(CORE)):
            return not item.kind or item.kind == canonical.removeprefix(CORE) or canonical.removeprefix(CORE) in ANY
        profile = self.known.profile(canonical)
        if profile is None:
            return None
        if item.kind and item.kind != profile.type:
            return False
        if any(i.severity in ("error", "fatal") for i in self.issues_of(profile, item)):
            return False
        return all(self.meets(item, other) is not False for other in profile.imposes)

    def is_shaped(self, item: Item, shape: Shape) -> bool:
        return not any(i.severity in ("error", "fatal") for i in self.quietly(shape, item))

    # -- one element

    def element(self, shape: Shape, item: Item) -> None:
        if shape.kinds is not None and not self.typed(shape, shape.kinds, item):
            return
        if shape.says_value:
            self.valued(shape, item)
        if shape.bind and is_coded(shape, item):
            for strength, url in shape.bind:
                self.binding(strength, url, item)
        inner = shape.same or shape
        for rule in (*shape.rules, *(inner.rules if inner is not shape else ())):
            if self.holds(rule.expression, shape, item) is False:
                words = rule.words or rule.expression
                self.say("invariant", item.path, words if words.endswith(".") else words + ".", rule.key)
        for child in inner.children.values():
            self.child(child, item)

    def child(self, shape: Shape, holder: Item) -> None:
        items = below(holder, shape.name, shape.json if shape.choice else None)
        n = len(items)
        if n < shape.least or (shape.most is not None and n > shape.most):
            self.counted(shape.least, shape.most, n, shape, holder, items)
        for item in items:
            self.element(shape, item)
        if shape.slices:
            self.sliced(shape, items, holder)

    def counted(self, least: int, most: int | None, n: int, shape: Shape, holder: Item, items: Sequence[Item]) -> None:
        name = shape.label.partition(".")[2] or shape.name
        if n < least:
            wanted = f"`{name}`" if least == 1 else f"at least {least} `{name}`"
            place = (holder.path, shape.label.rpartition(".")[2].partition(":")[0], -1)
            self.say("required", place, f"{self._label} needs {wanted}" + (f", here are {n}." if n else "."), "min")
        elif most is not None and n > most:
            place = items[most].path if most < len(items) else holder.path
            said = f"at most {most} `{name}`, here are {n}" if most else f"no `{name}`"
            self.say("structure", place, f"{self._label} allows {said}.", "max")

    def valued(self, shape: Shape, item: Item) -> None:
        value = item.value
        if shape.fixed is not None and not values.equal(value, shape.fixed):
            self.say("value", item.path, f"{self._label} asks here for {show(shape.fixed)} and nothing else.", "fixed")
        if shape.pattern is not None and not values.fits(value, shape.pattern):
            self.say("value", item.path, f"{self._label} asks here for {show(shape.pattern)}.", "pattern")
        if shape.low is not None and values.compare(value, shape.low) == -1:
            self.say("invalid", item.path, f"{self._label} allows nothing below {show(shape.low)} here.", "minValue")
        if shape.high is not None and values.compare(value, shape.high) == 1:
            self.say("invalid", item.path, f"{self._label} allows nothing above {show(shape.high)} here.", "maxValue")
        if shape.longest is not None and type(value) is str and len(value) > shape.longest:
            self.say("too-long", item.path, f"{self._label} allows at most {shape.longest} characters here.", "maxLength")

    # -- types

    def typed(self, shape: Shape, kinds: tuple[Kind, ...], item: Item) -> bool:
        """Whether its type is one of these; its profiles and targets are looked at too."""
        fitting = [k for k in kinds if not item.kind or k.code == item.kind or k.code in ANY]
        if not fitting:
            some = " or ".join(dict.fromkeys(k.code for k in kinds))
            self.say("structure", item.path, f"{self._label} allows {some} here, not {item.kind}.", "type")
            return False
        profiles = [p for k in fitting for p in k.profiles]
        if profiles and all(k.profiles for k in fitting):
            self.one_of(profiles, item)
        targets = [t for k in fitting for t in k.targets]
        if targets and type(item.value) is dict:
            self.reference(targets, item)
        return True

    def one_of(self, profiles: Sequence[str], item: Item) -> None:
        """The element meets at least one of these profiles."""
        if len(profiles) == 1:
            profile = self.known.profile(profiles[0])
            if profile is not None and profile.extension is None:
                self.against(profile, item)
            return
        if all(self.meets(item, p) is False for p in profiles):
            self.say("structure", item.path, f"This meets none of {last_names(profiles)}.", "profile")

    def reference(self, targets: Sequence[str], item: Item) -> None:
        """What a reference leads to, where that is in the same resource or Bundle; nothing is fetched."""
        allowed = {self.type_of(t) for t in targets}
        target = self.followed(item)
        if target is None or None in allowed:
            return
        if target.kind not in allowed:
            some = " or ".join(sorted(str(t) for t in allowed))
            self.say("structure", item.path, f"{self._label} allows a reference to {some} here, not to {target.kind}.", "target")
            return
        fitting = [t for t in targets if self.type_of(t) == target.kind]
        if len(fitting) == 1 and (profile := self.known.profile(fitting[0])) is not None:
            self.against(profile, target)
        elif all(self.meets(target, t) is False for t in fitting):
            self.say("structure", item.path, f"What this refers to meets none of {last_names(fitting)}.", "profile")

    def type_of(self, target: str) -> str | None:
        """The resource type of a target profile; None for any, and for a profile nobody here knows."""
        name = target.partition("|")[0].removeprefix(CORE)
        if name in ANY:
            return None
        if self.known.r4.has_type(name):
            return name
        profile = self.known.profile(target)
        return profile.type if profile is not None else None

    # -- references

    def target_kind(self, reference: Item) -> str | None:
        """The type of what a reference leads to, as far as it says itself."""
        target = self.followed(reference)
        if target is not None:
            return target.kind
        value = reference.value if type(reference.value) is dict else {}
        if type(value.get("type")) is str:
            return str(value["type"]).removeprefix(CORE)
        m = RELATIVE.fullmatch(value["reference"]) if type(value.get("reference")) is str else None
        return m[1] if m else None

    def followed(self, reference: Item) -> Item | None:
        """The contained or bundled resource that a reference (or canonical) leads to."""
        to = reference.value.get("reference") if type(reference.value) is dict else reference.value
        if type(to) is not str:
            return None
        container, bundle, full_url = self._around(reference.path)
        if to.startswith("#"):
            return self._contained(container).get(to[1:]) if to != "#" else container
        if bundle is None:
            return None
        base = full_url[: -len("/".join(full_url.rsplit("/", 2)[1:]))] if full_url.startswith("http") else ""
        known = self._bundled(bundle)
        found = min((known[url] for url in {to, base + to} if url in known), default=None, key=lambda f: f[0])
        return next(iter(below(found[1], "resource")), None) if found is not None else None

    def _contained(self, container: Item) -> dict[str, Item]:
        known = self._inside.get(id(container.value))
        if known is None:
            known = self._inside[id(container.value)] = {}
            for i in below(container, "contained"):
                if type(i.value) is dict and type(i.value.get("id")) is str:
                    known.setdefault(i.value["id"], i)
        return known

    def _bundled(self, bundle: Item) -> dict[str, tuple[int, Item]]:
        known = self._entries.get(id(bundle.value))
        if known is None:
            known = self._entries[id(bundle.value)] = {}
            for n, entry in enumerate(below(bundle, "entry")):
                if type(entry.value) is dict:
                    known.setdefault(str(entry.value.get("fullUrl")), (n, entry))
        return known

    def _around(self, path: Path) -> tuple[Item, Item | None, str]:
        """(the resource that holds the contained ones, the Bundle around it, its fullUrl) of a place in the resource."""
        steps: list[Path] = []
        at: Path | None = path
        while at is not None:
            steps.append(at)
            at = at[0]
        node: Any = self.root
        container = Item(node, None, str(node.get("resourceType")), steps[-1])
        bundle, full_url, last = None, "", ""
        for here in reversed(steps[:-1]):
            if container.kind == "Bundle" and container.value is node:
                bundle = container
            if type(node) is dict and type(node.get("fullUrl")) is str and last == "entry":
                full_url = node["fullUrl"]
            if type(node) is not dict or here[1] not in node:
                break
            node = node[here[1]] if here[2] < 0 else node[here[1]][here[2]]
            if type(node) is dict and "resourceType" in node and here[1] != "contained":
                container = Item(node, None, str(node["resourceType"]), here)
            last = here[1]
        return container, bundle, full_url

    # -- codes

    def bound(self, item: Item, url: str) -> bool | None:
        """Whether one of its codes is in the value set; None when that cannot be said."""
        codes = self.known.codes
        value = item.value
        if type(value) is str:
            return codes.has(url, None, value)
        said = [
            codes.has(url, str(c.get("system", "")), c["code"]) for c in codings(value) if type(c.get("code")) is str
        ]  # fmt: skip
        return True if True in said else None if None in said else False

    def binding(self, strength: str, url: str, item: Item) -> None:
        if self.bound(item, url) is not False:
            return
        coded = list(codings(item.value)) if type(item.value) is dict else [item.value]
        short = url.partition("|")[0].rpartition("/")[2]
        if strength == "required" or (strength == "max" and coded):
            self.say("code-invalid", item.path, f"{self._label} asks here for a code of {short}.", strength)
        elif coded:
            said = f"{self._label} has codes of {short} here; another only where none of those fits."
            self.say("code-invalid", item.path, said, "extensible", "warning")

    # -- invariants

    def holds(self, expression: str, shape: Shape, item: Item) -> bool | None:
        resource = self._resource or Item(self.root, None, str(self.root.get("resourceType")), item.path)
        container, _, _ = self._around(resource.path)
        names = {"resource": (resource.value, resource.kind), "rootResource": (container.value, container.kind)}
        at = item.kind or (".".join(p for p in shape.at if p) if shape.at is not None else "")
        value = item.value if item.value is not None else {"extension": (item.twin or {}).get("extension", [])}
        return constraints.holds(expression, value, at, names, self._functions(item))

    def _functions(self, here: Item) -> dict[str, Callable[..., Any]]:
        def resolve(some: list[Any]) -> list[Any]:
            found = [self.followed(Item(s, None, "", here.path)) for s in some]
            return [f.value for f in found if f is not None]

        def member(some: list[Any], url: str) -> list[bool]:
            return [self.bound(Item(s, None, "", here.path), url) is not False for s in some[:1]]

        def conforms(some: list[Any], url: str) -> list[bool]:
            kinds = [str(s.get("resourceType", "")) if type(s) is dict else "" for s in some[:1]]
            return [self.meets(Item(s, None, k, here.path), url) is not False for s, k in zip(some, kinds, strict=False)]

        return {"resolve": resolve, "memberOf": member, "conformsTo": conforms, "htmlChecks": lambda some: [True], "hasValue": has_value}

    # -- slices

    def sliced(self, whole: Shape, items: Sequence[Item], holder: Item) -> None:
        if whole.tests is None:
            whole.tests = slices.tests(whole, self)
            whole.by_url = slices.by_url(whole)
        rules = whole.slicing.rules if whole.slicing is not None else "open"
        groups: dict[str, list[Item]] = {name: [] for name in whole.slices}
        unsure = dict.fromkeys(whole.slices, 0)
        order = list(whole.slices)
        reached, outside = 0, False
        for item in items:
            fitting, perhaps = self._fitting(whole, item)
            if not fitting and not perhaps and slices.DEFAULT in whole.slices:
                fitting = [slices.DEFAULT]
            if len(fitting) > 1:
                self.say("structure", item.path, f"This fits several slices of {whole.label}: {' and '.join(fitting)}.", "slices")
            if fitting:
                groups[fitting[0]].append(item)
                if whole.slicing is not None and whole.slicing.ordered and order.index(fitting[0]) < reached:
                    self.say("structure", item.path, f"The slice `{fitting[0]}` of {whole.label} stands too late.", "ordered")
                reached = max(reached, order.index(fitting[0]))
                if outside and rules == "openAtEnd":
                    self.say("structure", item.path, f"What is in no slice of {whole.label} must stand at the end.", "openAtEnd")
            elif perhaps:
                for name in perhaps:
                    unsure[name] += 1
            else:
                outside = True
                if rules == "closed":
                    self.say("structure", item.path, f"This is none of the slices of {whole.label}, and others are not allowed.", "closed")
        for name, slice in whole.slices.items():
            group = groups[name]
            self.counted(slice.least - min(unsure[name], slice.least), slice.most, len(group), slice, holder, group)
            for item in group if not slice.empty else ():
                self.element(slice, item)
            if slice.slices:
                self.sliced(slice, group, holder)

    def _fitting(self, whole: Shape, item: Item) -> tuple[list[str], list[str]]:
        """The slices that an element fits, and those of which it cannot be said."""
        if whole.by_url is not None:
            name = whole.by_url.get(str(item.value.get("url"))) if type(item.value) is dict else None
            return ([name] if name else []), []
        said = {name: test(item, self) for name, test in whole.tests.items()}
        return [n for n, answer in said.items() if answer], [n for n, answer in said.items() if answer is None]

    def say(self, code: str, path: Path, text: str, key: str = "", severity: Any = "error") -> None:
        most = 2 * MOST_ISSUES if severity == "error" else MOST_ISSUES  # so that warnings leave no error untold
        if len(self.issues) < most:
            self.issues.append(Issue(severity, code, self.render(path), text, key))
