"""What may stand at a partner in the place of a copy that was taken back: which record it was, and nothing that it said. docs/sync.md"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from .copies import SYSTEM as COPIES
from .copies import Tag
from .r4 import R4, Element
from .vocabulary import ACT_CODE, HL7

LABEL: Final = {"system": ACT_CODE, "code": "NODSCLCD"}  # no disclosure without the person's consent
MARK: Final = {"system": "https://fhir-gateway.example/id/withheld", "code": "stub"}
MASKED: Final = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}
NOT_IN_FORCE: Final = ("entered-in-error", "unknown")  # what a required code says: the first of these that it may be
VERIFICATION: Final = {  # not required, but without it R4 takes these for in force
    t: {"verificationStatus": {"coding": [{"system": f"{HL7}/{s}", "code": "entered-in-error"}]}}
    for t, s in (("AllergyIntolerance", "allergyintolerance-verification"), ("Condition", "condition-ver-status"))
}


def stub(r4: R4, type: str, by: Sequence[Tag]) -> dict[str, Any]:
    """A resource of this type that R4 lets stand: the tags of gateways `by`, our mark, the label NODSCLCD, and what R4 asks for.

    What R4 asks for is masked (`data-absent-reason`), the person included; a required code says `entered-in-error` where it may, else
    `unknown`, so that a server that knows no extensions does not take the record for one in force.
    """
    meta = {"security": [dict(LABEL)], "tag": [*(dict(t) for t in by), dict(MARK)]}
    return {"resourceType": type, "meta": meta, **_required(r4, type, ""), **VERIFICATION.get(type, {})}


def is_stub(body: Mapping[str, Any]) -> bool:
    """Does this bear the mark and the label of one."""
    meta = body.get("meta", {})
    return _has(meta.get("tag", ()), MARK) and _has(meta.get("security", ()), LABEL)


def says_more(there: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
    """Does what stands there say anything that this does not: an element, a label, a tag that the server kept of before."""
    meta, wanted = there.get("meta", {}), than.get("meta", {})
    more = [t for name in ("security", "tag") for t in meta.get(name, ()) if t.get("system") != COPIES and not _has(wanted.get(name, ()), t)]
    return bool(says_otherwise(there, than) or more or meta.get("profile"))


def says_otherwise(there: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
    """Does an element of what stands there say what this does not; labels and tags are no elements."""
    kept = {k for k in there if k not in than} - {"id", "meta", "text"}
    text = "text" in there and "text" not in than and there["text"].get("status") != "generated"
    return bool(kept or text or any(there[k] != v for k, v in than.items() if k != "meta" and k in there))


def sticks(there: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
    """Did that server keep the label or the mark on what was sent in the place of a stub."""
    meta, ours = there.get("meta", {}), sent.get("meta", {})
    pairs = (("security", LABEL), ("tag", MARK))
    return any(_has(meta.get(name, ()), code) and not _has(ours.get(name, ()), code) for name, code in pairs)


def _has(some: Any, code: Mapping[str, Any]) -> bool:
    return any((c.get("system"), c.get("code")) == (code.get("system"), code.get("code")) for c in some)


def _required(r4: R4, type: str, path: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, e in r4.type(type).children(path):
        if e.min:
            out |= _masked(r4, type, f"{path}.{name}" if path else name, name, e)
    return out


def _masked(r4: R4, type: str, path: str, name: str, e: Element) -> dict[str, Any]:
    kind = e.types[0] if e.types else "BackboneElement"
    if name.endswith("[x]"):
        name = name.removesuffix("[x]") + kind[0].upper() + kind[1:]
    if r4.is_primitive(kind):
        codes = {c for strength, url in e.bind if strength == "required" for some in (r4.value_set(url) or {}).values() for c in some}
        code = next((c for c in NOT_IN_FORCE if c in codes), None)
        said, key = (code, name) if code else ({"extension": [dict(MASKED)]}, f"_{name}")
        return {key: [said] if e.many else said}
    inner = _required(r4, type, path) if kind in ("BackboneElement", "Element") else {}
    value = inner or {"extension": [dict(MASKED)]}
    return {name: [value] if e.many else value}
