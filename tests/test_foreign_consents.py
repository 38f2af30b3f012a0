"""What a partner says about consent: a no is kept, what cannot be computed closes and asks for help, a yes opens nothing."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain.directory import ODS_CODE
from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.sync import worker
from fhir_gateway.sync.partner import Partner

from .conftest import Gateway
from .staff import consent, permit
from .test_at_once import World, begun, shown, task, to_organisation, world
from .test_remotes import HUB, Recorder, partnered
from .web.test_operator import operator

__all__ = ["world"]  # the fixture


class Sender(Recorder):
    """A partner that answers a search for Consents and Tasks with what it has of them."""

    def __init__(self) -> None:
        super().__init__()
        self.own: list[dict[str, Any]] = []

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        type = path.split("?")[0]
        if method == "GET" and type in ("Consent", "CareTeam", "Task"):
            found = [r for r in self.own if r["resourceType"] == type]
            entries = {"entry": [{"resource": r} for r in found]} if found else {}
            return 200, {"resourceType": "Bundle", "type": "searchset", "total": len(found), **entries}
        return super().answer(method, path, sent)

    def has(self, id: str, body: dict[str, Any], at: int) -> None:
        self.own.append({**body, "id": id, "meta": {"versionId": "1", "lastUpdated": f"2040-01-01T00:00:{at:02d}Z"}})


def total(g: Gateway, who: str) -> int:
    return int(g.get(who, f"Goal?patient={g.patient}").json()["total"])


async def test_a_no_from_a_partner_closes_and_a_yes_opens_nothing(world: World) -> None:
    """The same over the gate and one partner, without a server of ours."""
    w, hub = world, Sender()
    threading.Thread(target=hub.server.serve_forever, args=(0.05,), daemon=True).start()
    partner = Partner(w.partners["surgery"].terms, RemoteServer(hub.url, w.now))
    try:
        person, _ = await begun(w, "gp")
        await task(w, person)
        hub.has("before", {"resourceType": "Task", "status": "draft", "intent": "order"}, 0)  # first contact takes nothing: it sets the mark
        await worker.once(w.house, partner)
        (there,) = [name.removeprefix("Patient/") for name in hub.held if name.startswith("Patient/")]
        hub.has("yes", consent(there, permit(w.refs["charity"])), 1)
        await worker.once(w.house, partner)
        assert (await shown(w, "link", person, "Goal"))[:2] == (False, 0), "a yes from there opens nothing"
        await to_organisation(w, person, "charity")
        assert (await shown(w, "link", person, "Goal"))[:2] == (True, 2)
        hub.has("no", consent(there, permit(f"{ODS_CODE}|charity", type="deny")), 2)
        await worker.once(w.house, partner)
        assert (await shown(w, "link", person, "Goal"))[:2] == (False, 0), "a no from there closes"
        assert (await shown(w, "gp", person, "Goal"))[:2] == (True, 2)
        hub.has("odd", consent(there, permit(w.refs["charity"]) | {"class": [{"system": "urn:odd", "code": "x"}]}), 3)
        await worker.once(w.house, partner)
        assert (await shown(w, "gp", person, "Goal"))[:2] == (False, 0), "what cannot be computed closes"
        (waiting,) = await gate.uncomputable(w.operator)
        assert waiting["patient"] == person and "class" in waiting["where"]
        await gate.end_foreign(w.operator, waiting["consent"].removeprefix("Consent/"), evidence="Asked the surgery: a test of theirs")
        assert (await shown(w, "gp", person, "Goal"))[:2] == (True, 2)
    finally:
        await partner.server.close()
        hub.server.shutdown()


@pytest.mark.slow
def test_a_partner_closes_and_never_opens(tmp_path: Path) -> None:
    hub = Sender()
    threading.Thread(target=hub.server.serve_forever, daemon=True).start()
    try:
        with partnered(tmp_path, {**HUB, "url": hub.url}) as g:
            rosa, sam = g.persona("link-worker")["fhirUser"], g.persona("stranger")["fhirUser"]
            hub.has("before", {"resourceType": "Task", "status": "draft", "intent": "order"}, 0)  # first contact takes nothing: it sets the mark
            assert g.command("sync", "run", "--once").returncode == 0
            (there,) = [name for name in hub.held if name.startswith("Patient/")]
            them = there.removeprefix("Patient/")
            surgery = {"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "D82001"}}
            hub.has("yes", consent(them, permit(rosa)), 1)
            hub.has("proxy", consent(them, root={"type": "permit"}), 2)
            hub.has("team", {"resourceType": "CareTeam", "status": "active", "subject": {"reference": there}, "participant": [
                {"member": {"reference": sam}}, {"member": surgery}]}, 3)  # fmt: skip
            hub.has("task", {"resourceType": "Task", "status": "accepted", "intent": "order", "for": {"reference": there}, "owner": surgery}, 4)
            hub.has("no", consent(them, permit("https://fhir.nhs.uk/Id/ods-organization-code|926", type="deny")), 5)
            assert total(g, "social-worker") > 0
            g.command("sync", "run", "--once")
            assert total(g, "link-worker") == total(g, "stranger") == 0, "a yes from there opens nothing, nor does a team or a task"
            assert total(g, "social-worker") == 0, "a no from there closes"
            assert total(g, "gp") > 0
            odd = consent(them, permit(rosa) | {"class": [{"system": "urn:odd", "code": "x"}]})
            hub.has("odd", odd, 6)
            g.command("sync", "run", "--once")
            assert total(g, "gp") == 0, "what cannot be computed closes"
            done = g.command("consents", "uncomputable", "--json")
            assert done.returncode == 1 and "class" in done.stdout, done.stdout
            tasks = g.get("patient", f"Task?patient={g.patient}&code=correct-consent").json()
            assert tasks["total"] == 1 and tasks["entry"][0]["resource"]["focus"]["reference"].startswith("Consent/")
            kept = tasks["entry"][0]["resource"]["focus"]["reference"].removeprefix("Consent/")
            assert g.get("gp", f"Task?patient={g.patient}&code=correct-consent").json()["total"] == 0
            duty, heading = operator(g), "Consents that cannot be understood"
            page = duty.get("/operator").text
            assert f"{heading} Each closes the person's record until it is put right or ended. Ask the service that sent it. Consent/{kept} Where Consent." in duty.words()
            given = g.get("patient", f"Patient/{g.patient}").json()["name"][0]["given"][0]
            assert given not in page and "urn:odd" not in page and g.patient not in page.partition(heading)[2], "which consent and where, and nothing of whose it is or what it says"
            assert g.command("consents", "end", kept, "--evidence=Asked the surgery: a test of theirs").returncode == 0
            assert total(g, "gp") > 0
            duty.get("/operator")
            assert heading not in duty.words() and kept not in duty.page, "it goes when it is ended"
            assert g.command("consents", "uncomputable").returncode == 0
            assert g.get("patient", f"Task?patient={g.patient}&code=correct-consent&status=completed").json()["total"] == 1
    finally:
        hub.server.shutdown()


