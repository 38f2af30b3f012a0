"""Row 21: Self-Help Nottingham, a signposting hub. What becomes of a referral comes back to whoever referred, in order."""

from __future__ import annotations

from ..conftest import Gateway
from ..web.test_doors import as_
from .referring import KINDLY, ask, move, order, organisation, service, task_of


def test_the_hub_closes_the_loop_in_order(demo: Gateway) -> None:
    gp, hub = as_(demo, "gp"), as_(demo, "link-worker")
    ask(gp, service(demo, "Signposting hub", organisation(demo, KINDLY), "advice"), demo.patient)
    task = task_of(demo, "Signposting hub", "gp")
    hub.get("/team")
    assert hub.send(f"/team/tasks/{task['id']}/accept").status_code == 200
    move(demo, task, "link-worker", "completed")
    assert order(demo, task, "gp") == ["requested", "accepted", "completed"]
    page = gp.get(f"/asked?for={demo.patient}").text
    at = [page.index(w, page.index("Signposting hub")) for w in (": Asked<", ": Accepted<", ": Done<")]
    assert at == sorted(at)
