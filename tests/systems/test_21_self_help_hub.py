"""Row 21: Self-Help Nottingham, a signposting hub. What becomes of a referral comes back to whoever referred, in order."""

from __future__ import annotations

from ..conftest import Gateway
from ..web.test_doors import as_
from .referring import KINDLY, ask, entries, knows_nothing_of, move, order, organisation, service, task_of


def test_the_hub_closes_the_loop_in_order(demo: Gateway) -> None:
    gp, hub = as_(demo, "gp"), as_(demo, "link-worker")
    ask(gp, service(demo, "Signposting hub", organisation(demo, KINDLY), "advice"), demo.patient)
    task = task_of(demo, "Signposting hub", "gp")
    assert task["status"] == "requested" and task["focus"]["reference"].startswith("ServiceRequest/")
    knows_nothing_of(demo, "stranger", f"Task/{task['id']}", task["focus"]["reference"])  # neither whom it is about nor whom it went to
    other = as_(demo, "stranger")
    other.get(f"/asked?for={demo.patient}")
    assert "Signposting hub" not in other.words() and other.http.get(f"/team/people/{demo.patient}").status_code == 404
    hub.get("/team")
    assert hub.send(f"/team/tasks/{task['id']}/accept").status_code == 200
    move(demo, task, "link-worker", "completed")
    assert demo.get("link-worker", f"Goal?patient={demo.patient}").json()["total"] == 0, "the hub does what it was asked, and reads no plan for it"
    knows_nothing_of(demo, "stranger", f"Task/{task['id']}")
    assert order(demo, task, "gp") == ["requested", "accepted", "completed"]
    (request,) = entries(demo, f"ServiceRequest?_id={task['focus']['reference'].split('/')[1]}", "gp")
    assert request["status"] == "completed", "and the referral with it, for a system"
    page = gp.get(f"/asked?for={demo.patient}").text
    at = [page.index(w, page.index("Signposting hub")) for w in (": Asked<", ": Accepted<", ": Done<")]
    assert at == sorted(at)
