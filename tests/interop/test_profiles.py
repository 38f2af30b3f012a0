"""Other people's profiles over what is ours, by HL7's own validator: SDC's over our forms and the answers given to them, ours over every plan,
Interweave's over the social-care assessment. One start of the validator for all of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import definitions, plans
from fhir_gateway.domain import mapping, strict
from fhir_gateway.domain.own_profiles import held_to, meant_for
from fhir_gateway.tables import load_tables

from ..conftest import ROOT, Gateway
from ..oracle import peer, profiled
from ..test_forms import GOALS
from ..test_forms_over_http import kept, response
from ..test_mapping import PLANS
from ..web.test_doors import as_
from ..web.test_wheels import fill_in

Node = dict[str, Any]
Case = tuple[str, Node, str]  # what it is, the resource, the profile that it is asked to meet
FAULTS = (
    "is not valid (invalid Version '5.0')",  # that build knows no extension of FHIR 5, as its README says: the custodian of a plan is one
    "Element matches more than one slice - hidden, itemHidden",  # `sdc-questionnaire-pop-exp` slices that one extension of an item twice, here and by its parent
    "allowed for this version = e:InterweaveSocialCare",  # two extensions name a profile where a type must stand: nothing at all may have them
)
SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-"
FORMS = {
    "about-me": ("questionnaire", "questionnaire-pop-exp"),
    "goal-from-wheel": ("questionnaire", "questionnaire-pop-exp", "questionnaire-extr-template"), "my-own-words": ("questionnaire", "questionnaire-extr-template"),
    "my-wheel": ("questionnaire", "questionnaire-extr-template"), "scores": ("questionnaire", "questionnaire-extr-obsn"),
}  # fmt: skip
TABLES = load_tables()


def forms() -> Iterator[Case]:
    for id, form in definitions.own_forms().items():
        for name in FORMS[id]:
            yield f"{id} as {name}", form, SDC + name


def answers(demo: Gateway) -> Iterator[Case]:
    """What the pages write of a form that is filled in, what `$populate` gives, and what became of the answers."""
    fill_in(as_(demo, "patient"), Sleep=(2, 6), Money=(4, 5))
    made = kept(demo, "patient", response(demo, "my-own-words", *GOALS))
    assert demo.call("patient", "POST", f"QuestionnaireResponse/{made}/$extract", body={"resourceType": "Parameters"}).status_code == 200
    for type in ("QuestionnaireResponse", "Goal", "CarePlan", "Observation"):
        for entry in demo.get("patient", f"{type}?patient={demo.patient}&_count=100").json()["entry"]:
            resource = entry["resource"]
            if type == "QuestionnaireResponse":
                yield f"{type} {resource.get('questionnaire')}", resource, SDC + "questionnaireresponse"
            elif ours := next(iter(held_to(resource, TABLES.profiles)), "") or meant_for(resource, TABLES.profiles):
                yield f"{type}/{resource['id']}", resource, ours


def of_plans() -> Iterator[Case]:
    whole = json.loads((ROOT / "tests/cases/mapping/whole-standard.json").read_bytes())["plan"]
    for name, plan in ({"whole": whole} | {f.stem: plans.read_plan(f.read_bytes()) for f in PLANS}).items():
        for n, entry in enumerate(mapping.to_fhir(plan, TABLES).entries):
            for ours in held_to(entry.resource, TABLES.profiles):
                yield f"{name}#{n} {entry.kind}", json.loads(strict.dump(entry.resource)), ours


def assessment() -> Iterator[Case]:
    """Each resource by itself: in its Bundle that validator asks the patient for a profile that its data does not have."""
    theirs = json.loads((ROOT / "tests/cases/partners/social-care/theirs.json").read_bytes())
    declared = [e["resource"] for e in theirs["entry"] if "meta" in e["resource"]]
    assert len(declared) == 4
    for resource in declared:
        yield f"social-care {resource['resourceType']}", resource, resource["meta"]["profile"][0]


@pytest.mark.interop
def test_hl7s_validator_finds_no_fault_by_any_of_these_profiles(shared: Path, demo: Gateway, tmp_path: Path) -> None:
    try:
        peer.jar()
    except peer.Absent as absent:
        pytest.skip(str(absent))
    folder = profiled.folder(shared / "data", tmp_path / "definitions")
    for kind in profiled.DEFINED:
        shutil.copytree(shared / "data/interweave" / kind, folder / "interweave" / kind)
    cases = [*forms(), *answers(demo), *of_plans(), *assessment()]
    wordless = next((n, {k: v for k, v in r.items() if k != "description"} | {"description": {"coding": [{"code": "1"}]}}, p) for n, r, p in cases if r["resourceType"] == "Goal")
    ours = list(definitions.own_forms().values())
    with peer.hl7(folder) as hl7:
        asked = [{"id": n, "resource": r, "profile": p, **({"supporting": ours} if not n else {})} for n, (_, r, p) in enumerate([*cases, wordless])]
        said = list(hl7.ask(asked))
    wrong = {}
    for (name, _, _), s in zip(cases, said, strict=False):
        found = [i["message"] for i in s["issues"] if i["severity"] in ("error", "fatal")]
        if left := [m for m in found if not any(fault in m for fault in FAULTS)]:
            wrong[name] = left
    assert wrong == {} and len(cases) > 60
    assert not said[-1]["valid"], "it does hold them to these profiles"
