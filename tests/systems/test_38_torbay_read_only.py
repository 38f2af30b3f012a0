"""Row 38, Torbay's remote access: GP and hospital read summaries of social care and change nothing; district nurses read and write."""

from __future__ import annotations

from .town import Programme, about, save


def test_who_is_registered_to_read_cannot_write(programme: Programme) -> None:
    p = programme
    p.places(trust="health", surgery="health", council="social-care", nurses="health")
    worker, nurse = p.staff(sal=("council", "social-worker"), dot=("nurses", "district-nurse"))
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Flo", team=[("Sal", "council"), ("Dot", "nurses"), ("GP", "surgery")]))
    flo = p.person("flo", patient)
    gp = p.staff(gp=("surgery", "gp"))[0]
    for who in (worker, nurse, gp):
        who.agree(patient)
    reader = p.system("reader", "surgery", scopes="system/*.rs")
    visit = worker.make({"resourceType": "Task", "status": "in-progress", "intent": "order", "description": "Home care, twice a day", "for": about(patient), "owner": {"reference": worker.user}})
    task = f"Task/{visit['id']}"

    seen = reader.get(task)
    assert seen.status_code == 200 and seen.json()["description"] == "Home care, twice a day"
    changed = save(reader, seen.json() | {"description": "Home care, once a day"}, seen.headers["etag"])
    assert changed.status_code == 403 and 'scope="system/Task.u"' in changed.headers["www-authenticate"]
    for method, body in (("POST", {"resourceType": "Task", "status": "draft", "intent": "order", "for": about(patient)}), ("DELETE", None)):
        path = "Task" if method == "POST" else task
        assert reader.call(method, path, body=body, headers={"If-Match": seen.headers["etag"]}).status_code == 403
    assert worker.read(task)["meta"]["versionId"] == "1", "nothing of that reached it"

    nurse.change(task, note=[{"text": "Skin is fine"}])
    assert gp.read(task)["note"][0]["text"] == "Skin is fine"
    flo.page.get("/my-plan/who-looked")
    assert "Dot" in flo.page.words()
