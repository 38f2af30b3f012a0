"""Resources that are held against profiles: examples of UK Core, PCO, SDC, Gravity and R4 that declare one, and plans against our own.

Both sides are given the same definitions, those of `folder`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

from fhir_gateway import definitions, plans
from fhir_gateway.domain import mapping, strict
from fhir_gateway.domain.mapping.names import EXTENSIONS
from fhir_gateway.domain.r4 import R4
from fhir_gateway.tables import load_tables

from ..conftest import ROOT
from . import mutating
from .bases import LARGEST

Node = dict[str, Any]
Base = tuple[str, Node, str]  # where from, the resource, the profile that is asked ("" for what it declares itself)
OWN = {kind: address.removeprefix(EXTENSIONS) for kind, address in load_tables().profiles.items()}
UK = "https://fhir.hl7.org.uk/StructureDefinition/UKCore-"
SYSTEMS = ("https://fhir.nhs.uk/Id/nhs-number", "http://snomed.info/sct", "http://loinc.org", "https://x.example/sys")
DEFINED = ("StructureDefinition", "ValueSet", "CodeSystem")
# What those guides stand on and the data does not hold: profiles of US Core that ask nothing here, two code systems of FHIR 5.
# Without them HL7's validator makes no snapshot and does not start.
US_CORE = {"careplan": "CarePlan", "goal": "Goal", "observation-screening-assessment": "Observation", "patient": "Patient", "practitioner": "Practitioner",
           "relatedperson": "RelatedPerson", "simple-observation": "Observation"}  # fmt: skip
R5 = {"questionnaire-derivationType": "extends compliesWith inspiredBy", "version-algorithm": "semver integer alpha date natural"}


def folder(data: Path, into: Path) -> Path:
    """`into`, with the definitions of UK Core, PCO and SDC, ours, and stand-ins for what they stand on."""
    shutil.rmtree(into, ignore_errors=True)
    for guide in ("ukcore", "pco", "sdc"):
        for kind in DEFINED:
            if (data / guide / kind).is_dir():
                shutil.copytree(data / guide / kind, into / guide / kind)
    (into / "ours").mkdir(parents=True)
    for file in (ROOT / "profiles").glob("StructureDefinition-*.json"):
        shutil.copy(file, into / "ours")
    for stand_in in _stand_ins():
        (into / f"{stand_in['name']}.json").write_text(json.dumps(stand_in))
    return into


def _stand_ins() -> Iterator[Node]:
    for name, type in US_CORE.items():
        yield {
            "resourceType": "StructureDefinition", "url": f"http://hl7.org/fhir/us/core/StructureDefinition/us-core-{name}", "name": f"USCore-{name}",
            "status": "active", "fhirVersion": "4.0.1", "kind": "resource", "abstract": False, "type": type, "derivation": "constraint",
            "baseDefinition": f"http://hl7.org/fhir/StructureDefinition/{type}", "differential": {"element": [{"id": type, "path": type}]},
        }  # fmt: skip
    for name, codes in R5.items():
        yield {
            "resourceType": "CodeSystem", "url": f"http://hl7.org/fhir/{name}", "name": name, "status": "active", "content": "complete",
            "caseSensitive": True, "concept": [{"code": c} for c in codes.split()],
        }  # fmt: skip


def every(data: Path) -> list[Base]:
    """Each example that declares a profile, each of UK Core's against the profile of its type, each part of our plans against ours."""
    return [*_examples(data), *_plans()]


def _examples(data: Path) -> Iterator[Base]:
    for file in sorted((data / "examples").rglob("*.json")):
        try:
            resource = json.loads(file.read_text(encoding="utf-8-sig"))
        except ValueError:
            continue
        if not isinstance(resource, dict):
            continue
        kind, name = resource.get("resourceType"), str(file.relative_to(data / "examples"))
        if name.startswith("ukcore/") and (data / f"ukcore/StructureDefinition/UKCore-{kind}.json").exists():
            yield name, resource, f"{UK}{kind}"
        elif isinstance(meta := resource.get("meta"), dict) and meta.get("profile"):
            yield name, resource, ""


def _plans() -> Iterator[Base]:
    tables = load_tables()
    texts = {f.stem: f.read_bytes() for f in sorted((ROOT / "tests/cases/plans").glob("*.json"))} | {"demo": definitions.demo_file("plan.json")}
    for name, text in texts.items():
        for n, entry in enumerate(mapping.to_fhir(plans.read_plan(text), tables).entries):
            if entry.kind in OWN:
                yield f"ours/{name}#{n}", json.loads(strict.dump(entry.resource)), EXTENSIONS + OWN[entry.kind]


class Profiled:
    """The n-th case of a seed: one of the bases, one or two things changed."""

    def __init__(self, data: Path, r4: R4) -> None:
        self.r4 = r4
        self.by_guide: dict[str, list[Base]] = {}
        self.seen: dict[str, list[Any]] = {}  # what stands under each name anywhere: for swapping
        for base in every(data):
            if len(json.dumps(base[1])) <= LARGEST:
                self.by_guide.setdefault(base[0].partition("/")[0], []).append(base)
                for holder, key in _places(base[1]):
                    if isinstance(key, str) and len(json.dumps(holder[key])) < 400:
                        self.seen.setdefault(key, []).append(holder[key])

    def __len__(self) -> int:
        return sum(map(len, self.by_guide.values()))

    def case(self, seed: str, n: int) -> Node:
        rnd = Random(f"{seed}/{n}")
        name, resource, profile = rnd.choice(self.by_guide[rnd.choice(sorted(self.by_guide))])
        if rnd.random() < 0.3:
            kind, changed = mutating.mutated(self.r4, rnd, resource)
        else:
            kind, changed = self.edited(rnd, resource)
        asked = profile if changed.get("resourceType") == resource["resourceType"] else ""  # a Bundle is not asked to be a Goal
        return {"id": n, "kind": kind, "base": name, "resource": changed, **({"profile": asked} if asked else {})}

    def edited(self, rnd: Random, base: Node) -> tuple[str, Node]:
        """(kind, a copy with one or two edits that profiles care about)."""
        resource, kind = deepcopy(base), "pr-none"
        for _ in range(rnd.choice((1, 1, 2))):
            for _ in range(20):
                holder, key = rnd.choice(list(_places(resource)) or [(resource, "resourceType")])
                tried = rnd.choice(EDITS)
                if _edit(tried, rnd, holder, key, self.seen):
                    kind = f"pr-{tried}"
                    break
        return kind, resource


EDITS = ("delete", "double", "swap", "swap", "code", "system", "url", "text", "value")


def _edit(kind: str, rnd: Random, holder: Any, key: Any, seen: dict[str, list[Any]]) -> bool:
    """Whether there was something to change here."""
    value = holder[key]
    if kind == "delete" and not (isinstance(holder, list) and len(holder) == 1):
        del holder[key]
    elif kind == "double" and isinstance(holder, list):
        holder.insert(key, deepcopy(value))
    elif kind == "swap" and isinstance(holder, dict) and key in seen:
        holder[key] = deepcopy(rnd.choice(seen[key]))
    elif kind == "code" and isinstance(holder, dict) and isinstance(holder.get("code"), str):
        holder["code"] = "zz" + holder["code"][:3]
    elif kind == "system" and isinstance(holder, dict) and isinstance(holder.get("system"), str):
        holder["system"] = rnd.choice(SYSTEMS)
    elif kind == "url" and isinstance(holder, dict) and isinstance(holder.get("url"), str) and "url" in seen:
        holder["url"] = rnd.choice([u for u in seen["url"] if isinstance(u, str)])
    elif kind == "text" and isinstance(holder, dict) and "coding" in holder:
        del holder["coding"]
        holder["text"] = "words"
    elif kind == "value" and isinstance(key, str) and key.startswith("value") and isinstance(value, str):
        holder[rnd.choice(("valueString", "valueCode", "valueUri", "valueDate"))] = holder.pop(key)
    else:
        return False
    return True


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()):
        if key not in ("resourceType", "text", "div", "contained"):
            yield node, key
            yield from _places(value)
