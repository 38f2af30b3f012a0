"""Row 26: seven days of help after hospital. The package's tasks open the record for that time and the grace, and not a day longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ..conftest import Gateway
from ..web.test_doors import as_
from .referring import NEW, SOCIAL_PRESCRIBING, entries, knows_nothing_of, move, organisation


def package(demo: Gateway, owner: str, began: datetime, name: str) -> list[dict[str, Any]]:
    """The hospital's discharge: one referral, three tasks, seven days and a day of grace."""
    period = {"start": began.isoformat(timespec="seconds"), "end": (began + timedelta(days=8)).isoformat(timespec="seconds")}
    me = {"reference": f"Patient/{demo.patient}"}
    request = {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "code": SOCIAL_PRESCRIBING, "subject": me, "performer": [{"reference": owner}]}
    steps = [
        {"resourceType": "Task", "status": "requested", "intent": "order", "description": f"{name}: {what}", "for": me, "focus": {"reference": NEW},
         "owner": {"reference": owner}, "restriction": {"period": period}} for what in ("ward assessment", "home visit", "phone call")
    ]  # fmt: skip
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [
        {"fullUrl": NEW, "resource": request, "request": {"method": "POST", "url": "ServiceRequest"}},
        *({"resource": t, "request": {"method": "POST", "url": "Task"}} for t in steps)]}  # fmt: skip
    made = demo.call("hospital", "POST", "", body=bundle)
    assert made.status_code == 200, made.text
    return [t for t in entries(demo, f"Task?patient={demo.patient}&_count=100") if str(t.get("description", "")).startswith(name)]


def test_access_lasts_for_the_package_and_its_grace_and_ends_with_it(demo: Gateway) -> None:
    helpers, now = organisation(demo, "RY9"), datetime.now(UTC)
    seen = lambda: demo.get("community-nurse", f"Goal?patient={demo.patient}").json()["total"]  # noqa: E731
    for task in package(demo, helpers, now - timedelta(days=8, hours=1), "Last month"):
        move(demo, task, "community-nurse", "accepted")
    assert seen() == 0, "day eight is over, also by the referral that named them"
    tasks = package(demo, helpers, now - timedelta(days=7, hours=1), "This week")
    assert seen() == 0, "being asked opens nothing"
    move(demo, tasks[0], "community-nurse", "accepted")
    assert seen() > 0, "day seven is over, and they may read to finish"
    request = tasks[0]["focus"]["reference"]
    amina = as_(demo, "patient")
    amina.get("/asked")
    assert "This week: phone call" in amina.words() or "ward assessment" in amina.words(), amina.words()
    knows_nothing_of(demo, "stranger", request, *(f"Task/{t['id']}" for t in tasks))
    over = (now - timedelta(minutes=1)).isoformat(timespec="seconds")
    was = demo.get("hospital", f"Task/{tasks[0]['id']}").json()["restriction"]
    move(demo, tasks[0], "hospital", "accepted", restriction={"period": {**was["period"], "end": over}})
    assert seen() == 0, "the grace is over, though nobody said that they are done"
    goal = demo.get("patient", f"Goal?patient={demo.patient}&_count=1").json()["entry"][0]["resource"]["id"]
    assert demo.get("community-nurse", f"Goal/{goal}").status_code == demo.get("community-nurse", f"/plans/{demo.patient}").status_code == 404
    move(demo, tasks[0], "hospital", "accepted", restriction=was)
    assert seen() > 0
    move(demo, tasks[0], "community-nurse", "completed")
    assert seen() == 0, "with the task that they accepted their reading ends"
    for task, status in ((tasks[1], "completed"), (tasks[2], "rejected")):
        assert demo.get("patient", request).json()["status"] == "active", "while a task is open"
        move(demo, task, "community-nurse", "accepted")
        assert seen() > 0
        move(demo, task, "community-nurse", status)
    assert demo.get("patient", request).json()["status"] == "completed" and seen() == 0
