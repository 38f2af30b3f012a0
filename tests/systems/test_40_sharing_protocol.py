"""Row 40, an information sharing protocol: people say yes to its partners; whoever leaves the protocol sees nothing, though the consents stand."""

from __future__ import annotations

from typing import Any

from .town import Programme, permit

PROTOCOL = "https://town.example/information-sharing-protocol"


def partners(p: Programme, *places: str) -> dict[str, Any]:
    return {"resourceType": "Group", "id": f"{p.key}-protocol", "type": "practitioner", "actual": True, "active": True, "name": "Partners of the protocol",
            "identifier": [{"system": PROTOCOL, "value": p.key}], "member": [{"entity": {"reference": p.place(n)}} for n in places]}  # fmt: skip


def test_a_partner_removed_from_the_protocol_is_denied_though_the_consent_exists(programme: Programme) -> None:
    p = programme
    p.places(trust="health", housing="housing", charity="voluntary", later="voluntary")
    home, helper, late, keeper = p.staff(hugo=("housing", "housing-officer"), cleo=("charity", "link-worker"), lou=("later", "link-worker"), kit=("trust", "governance-lead", ("operator",)))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Pam"))
    pam = p.person("pam", patient)
    (group,) = p.town.directory(partners(p, "housing", "charity")).values()

    yes = pam.allow(permit(group), policy=[{"uri": PROTOCOL}])
    assert home.total(f"CarePlan?patient={patient}") == helper.total(f"CarePlan?patient={patient}") == 1
    assert late.total(f"CarePlan?patient={patient}") == 0

    home.change(group, expect=403, member=partners(p, "housing", "charity", "later")["member"])  # no partner lets anybody in
    keeper.change(group, member=partners(p, "housing", "later")["member"])
    assert helper.total(f"CarePlan?patient={patient}") == 0 and helper.status(f"/plans/{patient}") == 404
    assert pam.read(yes)["status"] == "active", "her consent stands as she gave it"
    assert pam.read(yes)["policy"][0]["uri"] == PROTOCOL
    assert home.total(f"CarePlan?patient={patient}") == 1, "for the partners that stay nothing changed"
    assert late.total(f"CarePlan?patient={patient}") == 1, "and who joined is a partner"
    pam.end(yes)
    assert home.total(f"CarePlan?patient={patient}") == 0
