"""What the law restricts (fertility treatment, gender recognition): only a yes that names who and that label opens it (consent.md 1.2, line 10)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Gateway
from .test_emergencies import WHY, consent, withdraw
from .test_remotes import HUB, partnered, recorder

LEGAL = "https://fhir-gateway.example/CodeSystem/legal-restriction"
IRCP = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
EVERYBODY = ("gp", "community-nurse", "hospital", "social-worker", "link-worker", "proxy", "paramedic", "stranger")


def canary(label: str, writer: str) -> str:
    return f"CANARY {label or 'plain'} {writer}"


def body_of(g: Gateway, writer: str, label: str, *labels: str) -> dict[str, Any]:
    return {
        "resourceType": "AllergyIntolerance", "patient": {"reference": f"Patient/{g.patient}"}, "code": {"text": canary(label, writer)},
        "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]},
        **({"meta": {"security": [{"system": LEGAL, "code": c} for c in labels]}} if labels else {}),
    }  # fmt: skip


def allergy(g: Gateway, writer: str, label: str) -> str:
    """Written by the person under its label, by others without it; then the person puts it on."""
    made = g.call(writer, "POST", "AllergyIntolerance", body=body_of(g, writer, label, *([label] if label and writer == "patient" else [])))
    assert made.status_code == 201, made.text
    id = str(made.json()["id"])
    if label and writer != "patient":
        assert canary(label, writer) in g.get(writer, f"AllergyIntolerance/{id}").text
        sent = [{"name": "meta", "valueMeta": {"security": [{"system": LEGAL, "code": label}]}}]
        raised = g.call("patient", "POST", f"AllergyIntolerance/{id}/$meta-add", body={"resourceType": "Parameters", "parameter": sent})
        assert raised.status_code == 200, raised.text
    return id


@pytest.fixture(scope="module")
def held(demo: Gateway) -> Iterator[dict[tuple[str, str], str]]:
    """Ids by label and writer; the stranger has broken the glass."""
    out = {(label, w): allergy(demo, w, label) for label, w in (("HFEA", "patient"), ("HFEA", "gp"), ("GRA", "hospital"), ("", "patient"))}
    assert demo.call("stranger", "POST", f"/patients/{demo.patient}/break-glass", body=WHY).status_code == 201
    yield out
    demo.call("stranger", "DELETE", f"/patients/{demo.patient}/break-glass")


def shown(g: Gateway, who: str, id: str, label: str, writer: str) -> dict[str, bool]:
    """On which surfaces this reader is shown it."""
    p = g.patient
    surfaces = (
        f"AllergyIntolerance/{id}", f"AllergyIntolerance/{id}/_history/1", f"AllergyIntolerance/{id}/_history",
        f"AllergyIntolerance?patient={p}&_count=100", f"AllergyIntolerance?_id={id}", f"Patient/{p}/AllergyIntolerance?_count=100",
        f"Patient?_id={p}&_revinclude=AllergyIntolerance:patient", f"Patient/{p}/$everything?_count=200", f"Patient/{p}/$summary",
    )  # fmt: skip
    return {s.replace(id, "ID").replace(p, "ME"): canary(label, writer) in g.get(who, s).text for s in surfaces}


def named(who: dict[str, Any] | None, *labels: dict[str, str]) -> dict[str, Any]:
    actor = {"actor": [{"role": IRCP, "reference": who}]} if who else {}
    return {"type": "permit", **actor, **({"securityLabel": list(labels)} if labels else {})}


@pytest.mark.parametrize("writer", ["gp", "hospital"])
def test_who_could_not_read_it_cannot_bring_it_in_either(demo: Gateway, writer: str) -> None:
    refused = demo.call(writer, "POST", "AllergyIntolerance", body=body_of(demo, writer, "HFEA", "HFEA"))
    assert refused.status_code == 422 and "whom you may write for" in refused.text


@pytest.mark.parametrize("who", EVERYBODY)
def test_nobody_else_is_shown_it_on_any_surface_not_even_who_wrote_it(demo: Gateway, held: dict[tuple[str, str], str], who: str) -> None:
    for (label, writer), id in held.items():
        if label:
            assert not any(shown(demo, who, id, label, writer).values()), (who, label, writer)
    if who in ("gp", "proxy", "paramedic", "stranger"):
        assert canary("", "patient") in demo.get(who, f"AllergyIntolerance?patient={demo.patient}&_count=100").text, "without the label they are"


def test_the_person_is_shown_it_everywhere(demo: Gateway, held: dict[tuple[str, str], str]) -> None:
    for (label, writer), id in held.items():
        missing = [s for s, there in shown(demo, "patient", id, label, writer).items() if not there]
        assert not [s for s in missing if "$summary" not in s], (label, writer, missing)


VERY = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}
HFEA, GRA = ({"system": LEGAL, "code": c} for c in ("HFEA", "GRA"))


@pytest.mark.parametrize("how", ["nobody named", "no label", "another label", "level only", "a sector"])
def test_a_yes_that_lacks_the_recipient_or_the_label_opens_nothing(demo: Gateway, held: dict[tuple[str, str], str], how: str) -> None:
    gp = {"reference": demo.persona("gp")["fhirUser"]}
    sector = {"identifier": {"system": "https://fhir-gateway.example/CodeSystem/sector", "value": "health"}}
    rule = {
        "nobody named": named(None, HFEA), "no label": named(gp), "another label": named(gp, GRA), "level only": named(gp, VERY),
        "a sector": named(sector, HFEA),
    }[how]  # fmt: skip
    made = consent(demo, rule)
    try:
        assert not any(shown(demo, "gp", held["HFEA", "gp"], "HFEA", "gp").values())
    finally:
        withdraw(demo, made)


def test_a_yes_that_names_both_opens_it_to_that_recipient_alone_until_it_ends(demo: Gateway, held: dict[tuple[str, str], str]) -> None:
    id = held["HFEA", "patient"]
    made = consent(demo, named({"reference": demo.persona("gp")["fhirUser"]}, HFEA))
    try:
        seen = shown(demo, "gp", id, "HFEA", "patient")
        assert [s for s, there in seen.items() if not there and "$summary" not in s] == []
        assert not any(shown(demo, "gp", held["GRA", "hospital"], "GRA", "hospital").values()), "the other restriction stays"
        for other in set(EVERYBODY) - {"gp"}:
            assert not any(shown(demo, other, id, "HFEA", "patient").values()), other
        no = consent(demo, {"type": "deny", "data": [{"meaning": "instance", "reference": {"reference": f"AllergyIntolerance/{id}"}}]})
        try:
            assert not any(shown(demo, "gp", id, "HFEA", "patient").values()), "a no stands above it"
        finally:
            withdraw(demo, no)
    finally:
        withdraw(demo, made)
    assert not any(shown(demo, "gp", id, "HFEA", "patient").values())


def test_it_leaves_for_a_partner_only_if_the_partner_is_named(tmp_path: Path) -> None:
    with recorder() as hub, partnered(tmp_path, {**HUB, "url": hub.url}) as g:
        allergy(g, "patient", "HFEA")
        allergy(g, "patient", "")
        assert g.command("sync", "run", "--once").returncode == 0
        assert canary("", "patient") in "".join(hub.written) and canary("HFEA", "patient") not in "".join(hub.written)
        partner = {"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": HUB["organisation"]}}
        made = consent(g, named(partner, HFEA))
        assert g.command("sync", "run", "--once").returncode == 0
        assert canary("HFEA", "patient") in str(hub.held)
        withdraw(g, made)
        assert g.command("sync", "run", "--once").returncode == 0
        assert canary("HFEA", "patient") not in str(hub.held) and canary("", "patient") in str(hub.held)
