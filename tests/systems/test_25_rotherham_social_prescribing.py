"""Row 25: social prescribing with case management. A worker of a charity joins the team that the person shares with, and leaves it."""

from __future__ import annotations

from datetime import UTC, datetime

from ..conftest import Gateway
from ..staff import consent, given, permit, save
from .referring import entries


def test_a_yes_to_the_team_reaches_the_charitys_worker_who_says_that_they_are_in_it(demo: Gateway) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    team = {"resourceType": "CareTeam", "status": "active", "subject": {"reference": f"Patient/{demo.patient}"}, "name": "Getting out again",
            "participant": [{"member": {"reference": rosa}, "period": {"start": "2026-11-01"}}]}  # fmt: skip
    made = demo.call("gp", "POST", "CareTeam", body=team)
    assert made.status_code == 201, made.text
    goals = f"Goal?patient={demo.patient}"

    def asked() -> list[dict[str, object]]:
        about = f"CareTeam/{made.json()['id']}"
        return [t for t in entries(demo, "Task?status=requested&_count=50", "link-worker") if t.get("focus", {}).get("reference") == about]

    assert not asked(), "somebody outside health and social care learns nothing before the person says yes"
    with given(demo, consent(demo.patient, permit(f"CareTeam/{made.json()['id']}"))):
        (question,) = asked()
        assert demo.get("link-worker", goals).json()["total"] == 0, "being named is not being in it"
        now = demo.get("link-worker", f"Task/{question['id']}")
        assert save(demo, now.json() | {"status": "accepted"}, now.headers["etag"], by="link-worker").status_code == 200
        assert demo.get("link-worker", goals).json()["total"] > 0, "a yes to the team reaches them"
        current = demo.get("gp", f"CareTeam/{made.json()['id']}")
        over = current.json() | {"participant": [{"member": {"reference": rosa}, "period": {"start": "2026-11-01", "end": datetime.now(UTC).isoformat(timespec="seconds")}}]}
        assert save(demo, over, current.headers["etag"], by="gp").status_code == 200
        end = datetime.now(UTC).timestamp() + 10
        while demo.get("link-worker", goals).json()["total"] and datetime.now(UTC).timestamp() < end:
            pass
        assert demo.get("link-worker", goals).json()["total"] == 0, "with the end of their period their reading ends"
    assert demo.get("link-worker", goals).json()["total"] == 0


def test_a_team_that_is_made_after_the_yes_is_asked_at_once(demo: Gateway) -> None:
    rosa = demo.persona("link-worker")["fhirUser"]
    team = {"resourceType": "CareTeam", "status": "active", "subject": {"reference": f"Patient/{demo.patient}"}, "participant": [{"member": {"reference": demo.persona("gp")["fhirUser"]}}]}
    made = demo.call("patient", "POST", "CareTeam", body=team)
    with given(demo, consent(demo.patient, permit(f"CareTeam/{made.json()['id']}"))):
        now = demo.get("patient", f"CareTeam/{made.json()['id']}")
        joined = now.json() | {"participant": [*now.json()["participant"], {"member": {"reference": rosa}}]}
        assert save(demo, joined, now.headers["etag"]).status_code == 200
        about = f"CareTeam/{made.json()['id']}"
        assert [t for t in entries(demo, "Task?status=requested&_count=50", "link-worker") if t.get("focus", {}).get("reference") == about]
