"""Row 2, the hard-backed A5 folder of Great Yarmouth: the plan on paper, taken to professionals. Each paper is for its reader: all that they may see, and no more."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from .town import Member, Programme, permit


def test_a_paper_has_every_active_goal_and_nothing_that_was_denied(programme: Programme, tmp_path: Path) -> None:
    p = programme
    p.places(trust="health", surgery="health", council="social-care", elsewhere="social-care")
    gp, social, stranger = p.staff(gus=("surgery", "gp"), sue=("council", "social-worker"), sid=("elsewhere", "social-worker"))
    goals = [
        {"id": f"g-{n}", "text": text, "needs": ["n-1"], "status": status}
        for n, (text, status) in enumerate((("Dig the front garden", "in progress"), ("Play the organ at Easter", "in progress"), ("Drink no more than Joe", "in progress"), ("Row to Breydon", "stopped")))
    ]  # fmt: skip
    patient = p.bring(p.system("records", "trust", "--contributor", "--refers"), p.plan_of("Len", team=[("Gus", "surgery"), ("Sue", "council")], goals=goals, actions=[]))
    len_ = p.person("len", patient)
    gp.agree(patient)
    social.agree(patient)
    closed = next(g for g in len_.find(f"Goal?patient={patient}") if g["description"]["text"].startswith("Drink"))
    len_.allow(permit(social.user, type="deny", data=[{"meaning": "instance", "reference": {"reference": f"Goal/{closed['id']}"}}]))
    active = {g["description"]["text"] for g in len_.find(f"Goal?patient={patient}&lifecycle-status=active")}
    assert len(active) == 3

    def paper(who: Member, here: str) -> str:
        who.page.get(here)
        page = who.page.http.post(here, data={**who.page.fields(here), "for": "", "as": "page"})
        assert page.status_code == 200 and f"{p.town.gateway.base}/printed/" in page.text, "with the square"
        return page.text

    for mine in (paper(len_, "/my-plan/print"), paper(gp, f"/team/people/{patient}/print")):
        assert all(g in mine for g in active)
    (line,) = p.town.command("print", f"Patient/{patient}", "--for", social.user, "--html", "--out", str(tmp_path / "sue.html"))
    hers = (tmp_path / "sue.html").read_text()
    assert line["file"] == str(tmp_path / "sue.html") and f"{p.town.gateway.base}/printed/" in hers
    assert "Dig the front garden" in hers and "Play the organ at Easter" in hers and "Drink no more" not in hers and "may be withheld" in hers
    none = tmp_path / "none.html"
    refused = p.town.gateway.command("print", f"Patient/{patient}", "--for", stranger.user, "--html", "--out", str(none))
    assert refused.returncode == 2 and "can see no plan" in refused.stderr and not none.exists()
    for who in (gp, social):
        plan = who.one(f"CarePlan?patient={patient}")
        document = who.read(f"CarePlan/{plan['id']}/$document")
        assert document["type"] == "document" and document["entry"][0]["resource"]["resourceType"] == "Composition"
        assert ("Drink no more" in json.dumps(document)) is (who is gp), "for systems it is the same"
    assert stranger.status(f"CarePlan/{plan['id']}/$document") == 404


def test_the_folder_is_a5(programme: Programme, tmp_path: Path) -> None:
    from pypdf import PdfReader

    p = programme
    p.places(folders="health")
    patient = p.bring(p.system("binder", "folders", "--contributor", "--refers"), p.plan_of("Una"))
    printed = p.town.gateway.command("print", f"Patient/{patient}", "--for", f"Patient/{patient}", "--out", str(tmp_path / "una.pdf"))
    if "add --html" in printed.stderr:
        assert not os.environ.get("IN_CI"), "nothing is skipped in CI"
        pytest.skip("Pango is not here: the booklet is not made as PDF, and the command says so")
    assert printed.returncode == 0, printed.stderr
    pages = PdfReader(io.BytesIO((tmp_path / "una.pdf").read_bytes())).pages
    assert {tuple(round(float(v)) for v in page.mediabox.upper_right) for page in pages} == {(420, 595)}
    assert "Una walks to the shop and back" in " ".join(" ".join(page.extract_text().split()) for page in pages)
