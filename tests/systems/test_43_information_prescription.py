"""Row 43, information prescriptions and Your health, your way: a page of a reliable source is prescribed, and is in the plan and on paper as its address."""

from __future__ import annotations

import html
import json

from .town import Member, Programme, about, permit

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

    # sent as a message with the link, too; and in the document that systems take
    sent = gp.make({"resourceType": "Communication", "status": "completed", "subject": about(patient), "sender": {"reference": gp.user}, "recipient": [about(patient)],
                    "payload": [{"contentAttachment": {"url": PAGE, "title": "Using your inhaler", "contentType": "text/html"}}]})  # fmt: skip
    assert win.read(f"Communication/{sent['id']}")["payload"][0]["contentAttachment"]["url"] == PAGE
    plan = f"CarePlan/{gp.one(f'CarePlan?patient={patient}')['id']}"
    assert PAGE in gp.get(f"{plan}/$document").text
    gp.page.get(f"/team/people/{patient}")
    assert "Using your inhaler" in gp.page.words() and PAGE in gp.page.words(), "the team sees what was prescribed"
    unasked = stranger.call("POST", "DocumentReference", body={"resourceType": "DocumentReference", "status": "current", "subject": about(patient), "content": [{"attachment": {"title": "Buy this", "url": "https://shop.example"}}]})
    assert unasked.status_code in (403, 404, 422) and "Buy this" not in win.get(f"DocumentReference?patient={patient}").text, "nobody else prescribes"
    hidden = win.allow(permit(gp.user, type="deny", data=[{"meaning": "instance", "reference": {"reference": ref}}]))
    gp.knows_nothing_of(ref)
    assert PAGE not in gp.get(f"{plan}/$document").text and PAGE not in json.dumps(gp.plan(patient)), "what she reads about is hers to hide"
    win.end(hidden)
    win.page.get("/my-plan/who-looked")
    assert "Gus" in win.page.words()
    stranger.knows_nothing_of(f"Communication/{sent['id']}")

    assert stranger.status(ref) == 404 and stranger.status(f"/plans/{patient}") == 404
