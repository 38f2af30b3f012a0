"""Row 44, virtual ward and complex care teams: a case manager, many agencies, one board of tasks by owner."""

from __future__ import annotations

from .town import Programme, about


def test_the_task_board_lists_by_owner_as_each_may_see_it(programme: Programme) -> None:
    p = programme
    p.places(trust="health", community="health", council="social-care", pharmacy="health", elsewhere="health")
    manager, social, chemist, stranger = p.staff(may=("community", "matron"), saul=("council", "social-worker"), phil=("pharmacy", "pharmacist"), sid=("elsewhere", "matron"))
    plan = p.plan_of("Win", team=[("May", "community"), ("Saul", "council")])
    plan["team"][0] |= {"key_worker": True, "role": "Case manager"}
    patient = p.bring(p.system("ward", "trust", "--contributor", "--refers"), plan)
    win = p.person("win", patient)
    manager.agree(patient)
    social.agree(patient)

    jobs = {"Fit a rail by the bath": p.place("council"), "Order a hospital bed": p.place("council"), "Review her medicines": p.place("pharmacy")}
    for what, owner in jobs.items():
        manager.make({"resourceType": "Task", "status": "requested", "intent": "order", "description": what, "for": about(patient),
                      "requester": {"reference": manager.user}, "owner": {"reference": owner}})  # fmt: skip
    board = {name: {t["description"] for t in manager.find(f"Task?patient={patient}&owner={p.place(name)}&status=requested")} for name in ("council", "pharmacy")}
    assert board == {"council": {"Fit a rail by the bath", "Order a hospital bed"}, "pharmacy": {"Review her medicines"}}

    manager.page.get("/team")
    words = manager.page.words()
    asked = words[words.index("What you asked others to do") :]
    for what, name in (("Fit a rail by the bath", "Council (s44)"), ("Order a hospital bed", "Council (s44)"), ("Review her medicines", "Pharmacy (s44)")):
        line = asked[asked.index(what) :]
        assert line.index(name) < line.index("See" if "See" in line else "What was asked"), f"{what}: {name} does it"

    social.page.get("/team")
    assert "Fit a rail by the bath" in social.page.words() and "Review her medicines" not in social.page.words()
    chemist.page.get("/team")
    assert "Review her medicines" in chemist.page.words() and "Fit a rail" not in chemist.page.words()
    assert chemist.total(f"Task?patient={patient}") == 1 and chemist.total(f"CarePlan?patient={patient}") == 0
    mine = chemist.one(f"Task?owner={p.place('pharmacy')}&status=requested")["id"]
    chemist.agree(patient)
    assert chemist.total(f"CarePlan?patient={patient}") == 1, "who took a task on looks after her"
    chemist.change(f"Task/{mine}", status="completed")
    assert manager.read(f"Task/{mine}")["status"] == "completed"
    manager.page.get("/team")
    words = manager.page.words()
    assert "Done" in words[words.index("Review her medicines") :], "the board says so"
    stranger.knows_nothing_of(f"Task/{mine}", f"Patient/{patient}")
    assert stranger.total(f"Task?owner={p.place('council')}") == 0 and "rail" not in stranger.page.get("/team").text
    win.page.get("/my-plan/who-looked")
    assert "May" in win.page.words() and "Phil" in win.page.words()
    assert chemist.total(f"CarePlan?patient={patient}") == 0, "and no longer once it is done"
