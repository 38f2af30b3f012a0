"""Row 13, Southampton's plans and the Hampshire Health Repository: one case manager, housing too, and a repository kept in step both ways."""

from __future__ import annotations

import re
from pathlib import Path

from ..faults.scripted import Habits, scripted
from .partnered import in_step, partnered
from .town import Programme, about, permit


def test_edits_on_both_sides_meet_and_none_is_lost(tmp_path: Path) -> None:
    with scripted(Habits()) as repository, partnered(tmp_path, {"name": "hampshire", "url": repository.url, "organisation": "S1302"}) as town:
        p = Programme(town, "s13")
        p.places(trust="health", repository="health", council="social-care", homes="housing")
        manager, home = p.staff(mia=("council", "social-worker"), hugh=("homes", "housing-officer"))
        plan = p.plan_of("Sam", team=[("Repository", "repository"), ("Mia", "council")])
        plan["goals"].append({"id": "g-2", "text": "A flat without stairs", "needs": ["n-1"], "status": "in progress"})
        plan["team"][1] |= {"key_worker": True, "role": "Case manager"}
        patient = p.bring(p.system("plans", "trust", "--contributor", "--refers"), plan)
        sam = p.person("sam", patient)
        manager.agree(patient)
        clerk = p.staff(rae=("repository", "nurse"))[0]
        clerk.agree(patient)

        assert in_step(town)["in_step"]
        there = {g["description"]["text"]: g for g in repository.named("Goal")}
        assert set(there) == {"Sam walks to the shop and back", "A flat without stairs"}
        walk = manager.one(f"Goal?patient={patient}&_id=" + next(g["id"] for g in manager.find(f"Goal?patient={patient}") if g["description"]["text"].startswith("Sam")))

        manager.change(f"Goal/{walk['id']}", note=[{"text": "Walked twice this week"}])  # here
        repository.write({**there["A flat without stairs"], "statusDate": "2026-11-25"})  # and there, of the other
        repository.write({**there["Sam walks to the shop and back"], "statusDate": "2026-11-24"})  # and there, of the same
        assert in_step(town)["conflicts"] == 0
        now = {g["description"]["text"]: g for g in sam.find(f"Goal?patient={patient}")}
        assert now["A flat without stairs"]["statusDate"] == "2026-11-25"
        merged = now["Sam walks to the shop and back"]
        assert (merged["statusDate"], merged["note"][0]["text"]) == ("2026-11-24", "Walked twice this week"), "both edits of one goal"
        in_step(town)
        final = {g["description"]["text"]: g for g in repository.named("Goal")}["Sam walks to the shop and back"]
        assert (final["statusDate"], final["note"][0]["text"]) == ("2026-11-24", "Walked twice this week"), "there, too"

        (team,) = manager.find(f"CareTeam?patient={patient}")
        (one,) = [m for m in team["participant"] if any(c.get("code") == "key-worker" for r in m["role"] for c in r.get("coding", ()))]
        assert one["role"][0]["text"] == "Case manager" and one["member"]["identifier"]["value"] == p.codes["council"], "a single case manager"
        assert any("_lastUpdated" in a.query or a.path.endswith("_history") for a in repository.asked), "what changed there is asked for by when it changed"

        # both of one line: neither is lost, and she who manages the case chooses
        flat = next(g for g in manager.find(f"Goal?patient={patient}") if g["description"]["text"].startswith("A flat"))
        manager.change(f"Goal/{flat['id']}", description={"text": "A flat without stairs in Shirley"})
        repository.write({**next(g for g in repository.named("Goal") if g["description"]["text"] == "A flat without stairs"), "description": {"text": "A flat without stairs near the docks"}})
        done = town.gateway.command("sync", "run", "--once")
        assert done.returncode == 1 and "1 in conflict" in done.stdout + done.stderr
        manager.page.get(f"/team/people/{patient}")
        at = re.search(r'href="(/team/two-versions/[^"]+)"', manager.page.get("/team").text)
        assert at, manager.page.words()
        assert home.page.get(at[1]).status_code == 404, "who has no part in it reads neither"
        manager.page.get(at[1])
        assert "in Shirley" in manager.page.words() and "near the docks" in manager.page.words()
        manager.page.send(at[1], do="theirs")
        assert in_step(town)["conflicts"] == 0 and manager.read(f"Goal/{flat['id']}")["description"]["text"] == "A flat without stairs near the docks"
        assert "A flat without stairs near the docks" in {g["description"]["text"] for g in repository.named("Goal")}
        kept = [e["resource"]["description"]["text"] for e in manager.get(f"Goal/{flat['id']}/_history").json()["entry"]]
        assert "A flat without stairs in Shirley" in kept, "what was not chosen is in the history"

        # many of them, on both sides at once: none is lost
        goals = [manager.make({"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"Number {n}"}, "subject": about(patient)}) for n in range(12)]
        in_step(town)
        for n, goal in enumerate(goals):
            copy = next(g for g in repository.named("Goal") if g["description"]["text"] == f"Number {n}")
            if n % 3 != 1:
                manager.change(f"Goal/{goal['id']}", note=[{"text": f"Seen {n}"}])
            if n % 3 != 2:
                repository.write({**copy, "statusDate": f"2026-11-{n + 1:02}"})
        assert in_step(town)["conflicts"] == 0
        in_step(town)
        ours, theirs = ({g["description"]["text"]: g for g in some} for some in (sam.find(f"Goal?patient={patient}&_count=50"), repository.named("Goal")))
        lost = [
            (n, side) for n in range(12) for side, held in (("here", ours), ("there", theirs))
            if (n % 3 != 1 and held[f"Number {n}"].get("note") != [{"text": f"Seen {n}"}]) or (n % 3 != 2 and held[f"Number {n}"].get("statusDate") != f"2026-11-{n + 1:02}")
        ]  # fmt: skip
        assert lost == []

        home.knows_nothing_of(f"Goal/{walk['id']}", f"CareTeam/{team['id']}")
        assert home.total(f"CarePlan?patient={patient}") == 0
        sam.allow(permit(p.place("homes")))
        assert home.plan(patient)["title"] == "Sam's plan", "housing too, once he says yes"
        no = sam.allow(permit(p.place("repository"), type="deny"))
        in_step(town)
        assert not repository.named("Goal") and not repository.named("CarePlan"), "his no takes it back from the repository"
        sam.end(no)
        in_step(town)
        assert len(repository.named("Goal")) == 14
