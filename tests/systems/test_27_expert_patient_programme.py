"""Row 27: Expert Patient Programme, DAFNE, DESMOND. Who did not come is seen by who referred them."""

from __future__ import annotations

from ..conftest import Gateway
from ..web.test_doors import as_
from .referring import KINDLY, ask, entries, knows_nothing_of, move, organisation, service, task_of


def test_who_did_not_come_to_the_course_is_seen_by_who_referred(demo: Gateway) -> None:
    ask(as_(demo, "gp"), service(demo, "DESMOND", organisation(demo, KINDLY), "education"), demo.patient)
    task = task_of(demo, "DESMOND", "gp")
    move(demo, task, "link-worker", "accepted")
    move(demo, task, "link-worker", "failed", statusReason={"text": "Did not attend"}, businessStatus={"text": "Did not attend"})
    assert "Did not attend" in as_(demo, "gp").get(f"/asked?for={demo.patient}").text
    (request,) = entries(demo, f"ServiceRequest?_id={task['focus']['reference'].split('/')[1]}", "gp")
    for who in ("stranger", "community-nurse"):
        knows_nothing_of(demo, who, f"Task/{task['id']}", f"ServiceRequest/{request['id']}")  # whoever did not refer is not told who stayed away
        page = as_(demo, who)
        page.get(f"/asked?for={demo.patient}")
        assert "DESMOND" not in page.words() and "Did not attend" not in page.words()
    assert demo.get("link-worker", f"Goal?patient={demo.patient}").json()["total"] == 0
    assert request["status"] == "revoked" and request["note"] == [{"text": "Did not attend"}] and "unmet-need" not in str(request), "it was there to be had"
