"""Row 43, information prescriptions and Your health, your way: a page of a reliable source is prescribed, and is in the plan and on paper as its address."""

from __future__ import annotations

import html

from .town import Member, Programme, about

PAGE = "https://pages.example/breathing/using-your-inhaler"


def prescribed(by: Member, patient: str, title: str, url: str) -> str:
    made = by.make({
        "resourceType": "DocumentReference", "status": "current", "subject": about(patient), "author": [{"reference": by.user}], "type": {"text": "Information prescription"},
        "content": [{"attachment": {"title": title, "url": url, "contentType": "text/html"}}],
    })  # fmt: skip
    plan = by.one(f"CarePlan?patient={patient}")
    by.change(f"CarePlan/{plan['id']}", supportingInfo=[*plan.get("supportingInfo", ()), {"reference": f"DocumentReference/{made['id']}"}])
    return f"DocumentReference/{made['id']}"


def test_a_prescribed_page_is_in_the_plan_and_on_paper(programme: Programme) -> None:
    p = programme
    p.places(trust="health", surgery="health", elsewhere="health")
    gp, stranger = p.staff(gus=("surgery", "gp"), sid=("elsewhere", "gp"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Win", team=[("Gus", "surgery")]))
    win = p.person("win", patient)
    gp.agree(patient)
    ref = prescribed(gp, patient, "Using your inhaler", PAGE)
    prescribed(gp, patient, "Not a page", "javascript:alert(1)")

    (shown,) = [d for d in win.plan(patient)["documents"] if d["title"] == "Using your inhaler"]
    assert shown["link"] == PAGE and "Information prescription" in str(shown["type"])
    assert not any("link" in d for d in win.plan(patient)["documents"] if d["title"] == "Not a page")
    win.page.get("/my-plan")
    assert "Using your inhaler" in win.page.words() and PAGE in win.page.words() and 'href="javascript' not in win.page.page
    win.page.get("/my-plan/print")
    paper = win.page.http.post("/my-plan/print", data={**win.page.fields("/my-plan/print"), "for": "", "as": "page"})
    assert paper.status_code == 200 and "Using your inhaler" in paper.text and PAGE in html.unescape(paper.text)

    assert stranger.status(ref) == 404 and stranger.status(f"/plans/{patient}") == 404
