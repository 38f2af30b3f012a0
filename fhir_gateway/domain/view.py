"""What leaves for a filtered reader, and putting it back under their edit.

`view` takes out what could tell of records this reader may not see: `display` and `identifier` of references to anything
of a patient (the opaque id stays), narrative, and labels that say what a thing is about (docs/labels.md; how private it is and
how to handle it stay). It looks nothing up, so the result does not depend on what is hidden. No array entry but a label is removed. `restore` is its other half. The laws (tests/test_view.py):

    view(view(s)) == view(s)
    restore(s, view(s)) == s
    an edit of one element of view(s) changes that element of s alone
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from .compartment import NO_PATIENT_DATA, SUBJECT, patient_of, subject
from .entries import aligned, same, text
from .pointing import OF_NOBODY, OF_NOBODY_IN, REFERENCES
from .vocabulary import ACT_CODE, ACT_REASON, CONFIDENTIALITY_SYSTEM, HANDLING, HIDDEN_FROM_SELF


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MASKED: Final = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}

_METAS: Final = frozenset({"meta", "valueMeta"})
_REFERENCE: Final = _words("id extension reference _reference type _type identifier display _display")
_DROPPED: Final = frozenset({"identifier", "display", "_display"})
_WHOSE: Final = ("subject", "patient", "for", "beneficiary", "candidate", "individual", "deliverTo")
# Who goes by an identifier of these systems is an organisation or a professional, also where `type` does not say so.
_PROFESSIONAL: Final = (
    "https://fhir.nhs.uk/Id/ods-", "https://fhir.nhs.uk/Id/sds-", "https://fhir.nhs.uk/Id/gmp-",
    *(f"https://fhir.hl7.org.uk/Id/{body}-number" for body in ("gmc", "gmp", "gdc", "gphc", "goc", "gcc", "gosc", "hcpc", "nmc", "swe")),
    "https://fhir-gateway.example/role-at", "https://fhir-gateway.example/CodeSystem/sector",
)  # fmt: skip
# Who goes by one of these is a patient, whatever else is said of them: the numbers of England and Wales, Scotland, Northern Ireland.
_OF_A_PATIENT: Final = ("nhs-number", "chi-number", "hsc-number", "h-c-number", "2.16.840.1.113883.2.1.4.1")

Json = Any


def view(resource: Mapping[str, Any]) -> dict[str, Any]:
    """The filtered view of a resource; shares what it did not change with it."""
    seen = _seen(resource, "", _Scene.of(resource))
    assert isinstance(seen, dict)
    return seen


def restore(stored: Mapping[str, Any], edited: Mapping[str, Any]) -> dict[str, Any]:
    """What a filtered reader made of `view(stored)`, with everything put back that the view held from parts they left alone.

    What the reader wrote themselves wins: a display or a narrative of their own replaces the one they were not shown.
    """
    whole = _restored(stored, edited, "", _Scene.of(stored))
    assert isinstance(whole, dict)
    return whole


@dataclass(frozen=True, slots=True)
class _Scene:
    """What rendering one resource must know of the whole: which references are its own subject, what `#id` means."""

    own: frozenset[int]  # id() of the subject's Reference objects
    contained: Mapping[str, str]  # "#id" -> type
    type: str = ""  # of the resource, or of the contained one

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> _Scene:
        inside = resource.get("contained")
        inside = inside if isinstance(inside, list) else []
        types = {f"#{c.get('id')}": str(c.get("resourceType", "")) for c in inside if isinstance(c, dict)}
        return cls(frozenset(map(id, _own(resource))), types, str(resource.get("resourceType", "")))


def _own(resource: Mapping[str, Any]) -> Iterator[Json]:
    """The References that say whose record this is."""
    path = SUBJECT.get(resource.get("resourceType", ""), "subject").split(".")
    for name in _WHOSE:
        if isinstance(resource.get(name), dict) and (name == path[0] or patient_of(resource[name]) is not None):
            yield resource[name]
    me = subject(resource)
    if me is not None and path[0] not in _WHOSE:
        yield from (r for r in _at(resource, path) if patient_of(r) == me)


def _at(node: Json, path: Sequence[str]) -> Iterator[Json]:
    for item in node if isinstance(node, list) else [node]:
        if not path:
            yield item
        elif isinstance(item, dict) and path[0] in item:
            yield from _at(item[path[0]], path[1:])


# -- the view ---------------------------------------------------------------------------------------------------------


def _seen(node: Json, name: str, scene: _Scene) -> Json:
    """`node`, found under the element `name`, as a filtered reader sees it."""
    if isinstance(node, list):
        entries = [_seen(item, name, scene) for item in node]
        return entries if any(a is not b for a, b in zip(entries, node, strict=True)) else node
    if not isinstance(node, Mapping) or id(node) in scene.own:
        return node
    if _is_reference(node, name):
        return _reference_seen(node, name, scene)
    if "resourceType" in node and node["resourceType"] != scene.type:
        scene = replace(scene, type=str(node["resourceType"]))
    out: dict[str, Json] = {}
    changed = False
    for key, value in node.items():
        if key == "text" and isinstance(value, dict):  # a Narrative: any other `text` is a string
            changed = True
            continue
        if key in _METAS and isinstance(value, dict):
            out[key] = _meta_seen(value)
            if not out[key] and key == "valueMeta":
                out[key] = {"extension": [MASKED]}  # an extension has a value (ext-1)
            elif not out[key]:
                del out[key]
            changed = changed or out.get(key) is not value
            continue
        out[key] = _seen(value, key, scene) if type(value) in (dict, list) else value
        changed = changed or out[key] is not value
    if not out and changed:
        return {"extension": [MASKED]}  # a section that is nothing but narrative
    return out if changed else node


def _is_reference(node: Mapping[str, Any], name: str) -> bool:
    if not node.keys() <= _REFERENCE or not isinstance(node.get("type", ""), str):
        return False
    if isinstance(node.get("reference"), str) or isinstance(node.get("identifier"), dict):
        return True
    return "display" in node and ("type" in node or name in REFERENCES)


def is_reference(node: Mapping[str, Any]) -> bool:
    """Is this a Reference, by what is in it."""
    return not node.keys().isdisjoint(("reference", "identifier", "display")) and node.keys() <= _REFERENCE and isinstance(node.get("type", ""), str)


def _reference_seen(node: Mapping[str, Any], name: str, scene: _Scene) -> Json:
    if _DROPPED.isdisjoint(node) or _is_of_nobody(node, name, scene):
        return _parts_seen(node, scene)
    out = {k: v for k, v in _parts_seen(node, scene).items() if k not in _DROPPED}
    if "reference" not in out and ("identifier" in node or not out):
        out = {"extension": [*out.get("extension", ()), MASKED], **{k: v for k, v in out.items() if k != "extension"}}
    return out


def _is_of_nobody(node: Mapping[str, Any], name: str, scene: _Scene) -> bool:
    """Does it point to no patient data: as it says itself, or else because R4 lets this element point to nothing of a patient."""
    if _names_a_patient(node):
        return False
    kind = _kind(node, scene)
    return kind in NO_PATIENT_DATA or (not kind and (name in OF_NOBODY or scene.type in OF_NOBODY_IN.get(name, ())))


def _names_a_patient(node: Mapping[str, Any]) -> bool:
    identifier = node.get("identifier")
    system = identifier.get("system") if isinstance(identifier, Mapping) else None
    return isinstance(system, str) and system.strip().rstrip("/").casefold().endswith(_OF_A_PATIENT)


def _meta_seen(meta: Mapping[str, Any]) -> Json:
    """Without the labels that tell what the resource is about."""
    given = meta.get("security")
    kept = [c for c in given if not _tells(c)] if isinstance(given, list) else given
    if kept == given:
        return meta
    return {k: kept if k == "security" else v for k, v in meta.items() if k != "security" or kept}


def _tells(label: Json) -> bool:
    """Is this label itself something to hide: what it is about, or one of a list that is not known here."""
    system, code = (label.get("system"), label.get("code")) if isinstance(label, Mapping) else (None, None)
    if system in (CONFIDENTIALITY_SYSTEM, ACT_REASON):
        return False
    return not (system == ACT_CODE and (code in HANDLING or code in HIDDEN_FROM_SELF))


def _parts_seen(node: Mapping[str, Any], scene: _Scene) -> Mapping[str, Any]:
    """A reference's own extensions and its identifier's assigner may refer to things too."""
    parts = {k: _seen(v, k, scene) for k, v in node.items() if k in ("extension", "identifier")}
    return {**node, **parts} if any(parts[k] is not node[k] for k in parts) else node


def _kind(reference: Mapping[str, Any], scene: _Scene) -> str:
    """The type a reference points to; "" when it does not say."""
    target = reference.get("reference")
    if isinstance(target, str):
        if target.startswith("#"):
            return scene.contained.get(target, "")
        if not target.startswith("urn:"):
            steps = target.split("?", 1)[0].split("/_history/", 1)[0].rstrip("/").split("/")
            return steps[0] if len(steps) == 1 else steps[-2]
    kind = reference.get("type")
    if kind:
        return str(kind).rsplit("/", 1)[-1]
    identifier = reference.get("identifier")
    system = identifier.get("system") if isinstance(identifier, dict) else None
    return "Organization" if isinstance(system, str) and system.startswith(_PROFESSIONAL) and not target else ""


# -- and back ---------------------------------------------------------------------------------------------------------


def _restored(stored: Json, edited: Json, name: str, scene: _Scene) -> Json:
    seen = _meta_seen(stored) if name in _METAS and isinstance(stored, dict) else _seen(stored, name, scene)
    if name in _METAS and isinstance(stored, Mapping) and isinstance(edited, Mapping):
        return _meta_restored(stored, edited)
    if seen is stored:
        return edited
    if same(seen, edited):
        return stored
    if isinstance(stored, list) and isinstance(edited, list):
        return [
            item if was is None else _restored(stored[was], item, name, scene)
            for item, was in zip(edited, aligned(seen, edited), strict=True)
        ]
    if isinstance(stored, Mapping) and isinstance(edited, Mapping):
        if _is_reference(stored, name):
            return _reference_restored(stored, seen, edited, name, scene)
        if "resourceType" in stored and stored["resourceType"] != scene.type:
            scene = replace(scene, type=str(stored["resourceType"]))
        return _put_back(stored, seen, edited, scene)
    return edited


def _put_back(stored: Mapping[str, Any], seen: Mapping[str, Any], edited: Mapping[str, Any], scene: _Scene) -> Json:
    """Elements in the order they were stored, new ones last."""
    edited = _unmasked(stored, seen, edited)
    out: dict[str, Json] = {}
    for key, value in stored.items():
        if key in edited:
            out[key] = _restored(value, edited[key], key, scene)
        elif key not in seen:
            out[key] = value
        elif key == "meta" and isinstance(value, Mapping) and (labels := _meta_restored(value, {})):
            out[key] = labels
    out.update((k, v) for k, v in edited.items() if k not in out)
    return out


def _meta_restored(stored: Mapping[str, Any], edited: Mapping[str, Any]) -> dict[str, Any]:
    """Labels they were not shown stay, in their places; ones they added come last."""
    if edited.keys() == {"extension"} and edited["extension"] == [MASKED] and not _meta_seen(stored):
        edited = {}
    given, mine = stored.get("security"), edited.get("security", [])
    if not isinstance(given, list) or not isinstance(mine, list):
        return dict(edited)
    shown = [c for c in given if not _tells(c)]
    if len(shown) == len(given):
        return dict(edited)
    left = Counter(map(text, mine))
    out: list[Json] = []
    for label in given:
        if _tells(label):
            out.append(label)
        elif left[text(label)]:
            left[text(label)] -= 1
            out.append(label)
    there = set(map(text, out))
    security = [*out, *(c for c in mine if text(c) not in there)]
    return {**{k: v for k, v in edited.items() if k != "security"}, "security": security}


def _reference_restored(
    stored: Mapping[str, Any], seen: Mapping[str, Any], edited: Mapping[str, Any], name: str, scene: _Scene
) -> Json:
    """Whoever points a reference elsewhere does not inherit what the old one was called."""
    elsewhere = edited.get("reference") != stored.get("reference") or ("type" in edited and edited["type"] != stored.get("type"))
    bare = _unmasked(stored, seen, edited)
    if bare is edited and seen.get("extension") != stored.get("extension"):
        # they took our mark away: for something of their own, unless that is all they did
        elsewhere = elsewhere or not same(edited, _unmasked(stored, seen, seen))
    return bare if elsewhere or ("identifier" in edited and "reference" not in stored) else _put_back(stored, seen, edited, scene)


def _unmasked(stored: Mapping[str, Any], seen: Mapping[str, Any], edited: Mapping[str, Any]) -> Mapping[str, Any]:
    """Without the mark that the view itself had put there."""
    mine = edited.get("extension")
    if len(seen.get("extension", ())) == len(stored.get("extension", ())) or not isinstance(mine, list):
        return edited
    return _without_mark(edited, mine)


def _without_mark(edited: Mapping[str, Any], mine: list[Json]) -> Mapping[str, Any]:
    marks = [i for i, e in enumerate(mine) if e == MASKED]
    if not marks:
        return edited
    rest = mine[: marks[-1]] + mine[marks[-1] + 1 :]
    return {k: rest if k == "extension" else v for k, v in edited.items() if k != "extension" or rest}
