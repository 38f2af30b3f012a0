"""Extensions: one that R4 or a given profile publishes must be what it says there, and stand where it may."""

from __future__ import annotations

from typing import Any

from .. import primitives
from ..r4 import Element, Known, names
from .run import Node, Path, Run, listed
from .values import CODED, Bound, bound_to, short

MISPLACED = frozenset({  # R4's own definitions carry it one level above where it says it belongs; HL7's validator lets the last two stand anywhere
    "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type", "http://hl7.org/fhir/StructureDefinition/regex",
    "http://hl7.org/fhir/StructureDefinition/capabilitystatement-expectation",
    "http://hl7.org/fhir/StructureDefinition/structuredefinition-normative-version",
})  # fmt: skip


def extension(value: Node, path: Path, run: Run) -> None:
    """An extension that R4 publishes must be what R4 says; any other is kept as it is."""
    url = value.get("url")
    if type(url) is not str:
        if "_url" in value and "url" not in value:
            run.add("required", path, "An extension needs its url.")
        return
    parent = path[0]
    inside = parent is not None and parent[1] in ("extension", "modifierExtension")
    if not inside and not primitives.is_absolute(url):
        run.add("invalid", path, f"The url of an extension is absolute, not `{url[:80]}`.")
    given = run.judge.extension(value, path) if run.judge is not None else None
    known = given or run.r4.extension(url)
    if known is not None:
        if given is None:
            _as_defined(value, known, path, run)
        if known.modifier != (path[1] == "modifierExtension"):
            right = "modifierExtension" if known.modifier else "extension"
            run.add("structure", path, f"`{url[:120]}` belongs in `{right}`.")
        if known.contexts and url not in MISPLACED and not _stands_right(known, path, run):
            run.add("structure", path, f"`{url[:120]}` may not stand here, but on {listed([c[1] for c in known.contexts])}.")


def _as_defined(value: Node, known: Known, path: Path, run: Run) -> None:
    name = next((k for k in value if k.startswith("value") and k[5:6].isupper()), None)
    if name is not None:
        kinds = {n: t for t, n in zip(known.types, names("value[x]", Element(types=known.types)), strict=True)}
        if name not in kinds:
            said = f"a {listed(known.types)}" if known.types else "no value of its own"
            run.add("structure", path, f"`{str(value.get('url'))[:120]}` holds {said}, not `{name}`.")
        else:
            _bound_value(value[name], kinds[name], known, (path, name, -1), run)
    elif known.required and not any(k.startswith("_value") for k in value):
        run.add("required", path, f"`{str(value.get('url'))[:120]}` needs a value.")
    if known.parts:
        _parts(value, known, path, run)


def _bound_value(value: Any, kind: str, known: Known, path: Path, run: Run) -> None:
    if kind == "Reference" and known.targets and type(value) is dict and str(value.get("reference"))[:1] == "#":
        run.scope.locals.append((str(value["reference"]), path, known.targets, run.inside == "contained"))
    bound = next((b for s, b in known.bind if s == "required"), None)
    sets = run.r4.value_set(bound) if bound else None
    if sets is None or bound is None:
        return
    if kind in ("code", "string", "uri") and type(value) is str:
        if not Bound(bound, sets).has_code(value):
            run.add("code-invalid", path, f"`{value[:64]}` is not a code of {short(bound)}.")
    elif kind in CODED and type(value) is dict:
        bound_to(kind, Bound(bound, sets))(value, path, run)


def _parts(value: Node, known: Known, path: Path, run: Run) -> None:
    some = value.get("extension")
    parts = [p for p in some if type(p) is dict] if type(some) is list else []
    counts: dict[str, int] = {}
    for i, part in enumerate(parts):
        url = str(part.get("url"))
        counts[url] = counts.get(url, 0) + 1
        if url in known.parts:
            _as_defined(part, known.parts[url], (path, "extension", i), run)
        elif ":" not in url:
            run.add("structure", (path, "extension", i), f"`{str(value.get('url'))[:120]}` has no part `{url[:64]}`.")
    for url, wanted in known.parts.items():
        if counts.get(url, 0) < wanted.min:
            run.add("required", path, f"`{str(value.get('url'))[:120]}` needs its part `{url}`.")
        if wanted.max and counts.get(url, 0) > wanted.max:
            run.add("structure", path, f"`{str(value.get('url'))[:120]}` may have its part `{url}` at most {wanted.max} times.")


def _stands_right(known: Known, path: Path, run: Run) -> bool:
    steps: list[str] = []
    at: Path | None = path[0]
    while at is not None and at is not run.base:
        steps.append(at[1].removeprefix("_"))
        at = at[0]
    holder = path[0]
    assert holder is not None
    here: set[str] | None = None
    for kind, expression in known.contexts:
        if kind == "element":
            here = run.r4.names_of(_type_at(run), list(reversed(steps))) if here is None else here
            if expression in here:
                return True
        elif kind != "extension" or holder[1] in ("extension", "modifierExtension"):
            return True
    return False


def _type_at(run: Run) -> str:
    at: Any = run.root
    steps: list[tuple[str, int]] = []
    path: Path | None = run.base
    while path is not None and path[0] is not None:
        steps.append((path[1], path[2]))
        path = path[0]
    for name, index in reversed(steps):
        at = at[name] if index < 0 else at[name][index]
    return str(at.get("resourceType"))
