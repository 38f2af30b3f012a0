"""Row 41, EMIS Web and retinal screening: a disease team's own system takes part of the record, and no more than that part."""

from __future__ import annotations

import json
from pathlib import Path

from ..faults.scripted import Habits, scripted
from .partnered import in_step, partnered
from .town import SNOMED, Programme, about, classes, permit

SUBSET = ["Patient", "Condition", "Observation"]


def test_a_subset_partner_receives_its_types_and_no_others(tmp_path: Path) -> None:
    remote = {"name": "screening", "organisation": "S4102", "types": SUBSET, "direction": "out"}
    with scripted(Habits()) as screening, partnered(tmp_path, {**remote, "url": screening.url}) as town:
        p = Programme(town, "s41")
        p.places(trust="health", screening="health")
        eyes = p.staff(eve=("screening", "optometrist"))[0]
        source = p.system("plans", "trust", "--contributor", "--refers")
        patient = p.bring(source, p.plan_of("Ray", team=[("Eve", "screening")]))
        ray = p.person("ray", patient)
        eyes.agree(patient)
        source.make({
            "resourceType": "Observation", "status": "final", "subject": about(patient), "effectiveDateTime": "2026-11-01",
            "code": {"coding": [{"system": "http://loinc.org", "code": "4548-4", "display": "HbA1c"}]}, "valueQuantity": {"value": 48, "unit": "mmol/mol"},
        })  # fmt: skip
        source.make({
            "resourceType": "Condition", "subject": about(patient), "code": {"coding": [{"system": SNOMED, "code": "44054006", "display": "Type 2 diabetes"}]},
            "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
        })  # fmt: skip

        assert in_step(town)["quiet"]
        types = {name.split("/")[0] for name in screening.held}
        assert types == set(SUBSET), types
        assert not any(asked.path.startswith(("CarePlan", "Goal", "Task")) for asked in screening.asked), "nor was it ever offered"
        assert eyes.total(f"CarePlan?patient={patient}") == 1, "the team itself, signed in here, sees the plan: the subset is its system's"

        # and where the clinic asks by itself: its system is registered for these types, and reads no others
        clinic = p.system("camera", "screening", scopes=" ".join(f"system/{t}.rs" for t in SUBSET))
        assert clinic.total(f"Condition?patient={patient}") >= 1 and clinic.total(f"Observation?patient={patient}") == 1
        for path in ("CarePlan", "Goal", "Task"):
            refused = clinic.get(f"{path}?patient={patient}")
            assert refused.status_code == 403 and "system/" in refused.headers["www-authenticate"], f"{path}: {refused.text}"
        seen = clinic.one(f"Observation?patient={patient}")
        assert clinic.call("PUT", f"Observation/{seen['id']}", body=seen, headers={"If-Match": f'W/"{seen["meta"]["versionId"]}"'}).status_code == 403
        un = p.bring(source, p.plan_of("Una"))
        assert in_step(town)["quiet"] and not [r for r in screening.held.values() if "Una" in json.dumps(r)], "who is not with the clinic is not sent"
        clinic.knows_nothing_of(f"Patient/{un}")

        ray.allow(permit(p.place("screening"), type="deny", **classes("Observation")))
        in_step(town)
        assert not screening.named("Observation") and screening.named("Condition"), "a no is kept within the subset, too"
