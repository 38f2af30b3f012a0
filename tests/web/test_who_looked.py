"""The words of "Who has looked": every thing that the gate writes down has its own, also what is recorded about the person."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import fhir_gateway
from fhir_gateway.domain import trail_words
from fhir_gateway.web.pages.acts import ACTS
from tests.staff import consent, permit
from tests.test_remotes import HUB, ODS, deny, partnered, recorder
from tests.web.test_doors import Visitor, as_, newest

if TYPE_CHECKING:
    from tests.conftest import Gateway

WRITERS = {"note": 2, "notes": 2, "allow": 2, "put_by_house": 4, "written_down": 1, ".took_out": 1, "Note": 3, "_become": 4, "_refused": 4, "_note": 0, ".note": 0, "._note": 0, "._row": 0, "_answer": 2}  # where each has its `what`


def called(what: ast.expr) -> str:
    """`note` of a function, `.note` of a method."""
    return what.id if isinstance(what, ast.Name) else f".{what.attr}" if isinstance(what, ast.Attribute) else ""


def written() -> set[str]:
    """Each `what` that stands in the code as itself or as a module's own name for it."""
    out: set[str] = set()
    for path in Path(fhir_gateway.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text())
        named: dict[str, str] = {}
        for to, value in ((n.targets[0], n.value) for n in tree.body if isinstance(n, ast.Assign)):
            for t, v in zip(to.elts, value.elts, strict=True) if isinstance(to, ast.Tuple) and isinstance(value, ast.Tuple) else [(to, value)]:
                if isinstance(t, ast.Name) and isinstance(v, ast.Constant) and isinstance(v.value, str):
                    named[t.id] = v.value
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call) and called(n.func) in WRITERS):
            at = WRITERS[called(call.func)]
            what = call.args[at] if len(call.args) > at else None
            if isinstance(what, ast.Constant):
                out.add(str(what.value))
            elif isinstance(what, ast.Name) and what.id in named:
                out.add(named[what.id])
    return out


def test_each_thing_that_is_written_down_has_its_words() -> None:
    found = written()
    assert {"search", "record", "sync", "break-glass", "claim-end", "emergency-review", "relabel"} <= found
    assert {"sign-in", "authorize", "app-stopped", "token", "token-end", "token-reused", "introspect", "account-close", "register-client", "withdraw-key", "restore", "audit-proof", "purpose"} <= found
    assert found - ACTS.keys() == set()
    assert found - trail_words.DID.keys() - trail_words.WHOLE.keys() == set()
    for said in ACTS.values():
        assert not re.search(r"\b(you|your)\b", said.officer), f"the officer reads of others: {said.officer}"
        assert not [w for w in said if re.search(r"\b(of|(?<!-)(?<!igned )(?<!let )in|to|at|from|see|using)$", w)], f"cut off: {said}"


def test_an_officers_look_is_told_as_their_job_and_a_failed_sign_in_is_shown(demo: Gateway) -> None:
    as_(demo, "privacy-officer").get(f"/privacy/audit?person={demo.patient}")
    assert "Looked at who has seen your plan or record Allowed? Allowed because checking who looked is their job" in newest(demo)[0]
    tried = Visitor(demo)
    tried.get("/sign-in")
    tried.http.post("/sign-in", data={**tried.fields("/sign-in"), "username": "patient", "password": "not this one"})
    v = as_(demo, "patient")
    v.get("/my-plan/who-looked")
    assert "Somebody with your user name What they did Signed in Allowed? Told no because the name and the password did not go together, or it was tried too often" in v.words()
    assert "You What they did Signed in" not in v.words()
    v.get("/my-plan/who-looked?mine=yes")
    assert "You What they did Signed in" in v.words()


def test_when_they_looked_is_a_picture_with_a_title_words_and_the_same_as_a_table(demo: Gateway) -> None:
    for who, path in (("gp", f"Patient/{demo.patient}"), ("stranger", f"Goal?patient={demo.patient}"), ("gp", f"Goal?patient={demo.patient}")):
        demo.get(who, path)
    v = as_(demo, "patient")
    v.get("/my-plan/who-looked")
    (svg,) = re.findall(r'<svg class="app-picture app-times".*?</svg>', v.page, re.S)
    assert 'aria-labelledby="times-title times-desc"' in svg and '<title id="times-title">When they looked</title>' in svg
    folded = v.page.split("The picture as a table")[1].split("</table>")[0]
    told: dict[str, list[int]] = {}
    for _on, who, yes, no in re.findall(r'<tr class.*?app-words">(.*?)</span>.*?app-words">(.*?)</span>.*?app-words">(\d+).*?app-words">(\d+)<', folded, re.S):
        told[who] = [a + int(b) for a, b in zip(told.get(who, [0, 0]), (yes, no), strict=True)]
    assert any("Asha Patel" in who and yes >= 2 for who, (yes, _) in told.items()) and any("Sam Other" in who and no >= 1 for who, (_, no) in told.items()), told
    for who, (yes, no) in told.items():
        assert f"{who}: allowed {yes}, told no {no}." in svg, who
    v.get("/my-plan/who-looked?who=nobody-of-this-name")
    assert "app-times" not in v.page, "nothing to draw"


@pytest.fixture
def recorded(demo: Gateway) -> Iterator[Gateway]:
    yield demo
    for fact in ("no-notify", "capacity-lost"):
        assert demo.command("patients", "record", demo.patient, fact, "--off", "--evidence", "It was a test").returncode == 0


def test_she_sees_what_was_recorded_about_her_and_how_it_was_found_out(recorded: Gateway) -> None:
    g = recorded
    done = g.command("patients", "record", g.patient, "capacity-lost", "--evidence", "Dr Shah: at the ward, on Monday")
    assert done.returncode == 0, done.stderr
    again = g.command("patients", "record", f"Patient/{g.patient}", "capacity-lost", "--evidence", "As it was printed")
    assert again.returncode == 0 and f"Patient/{g.patient}: capacity-lost unchanged" in again.stdout, again
    wrong = g.command("patients", "record", g.patient, "happy", "--evidence", "x")
    assert wrong.returncode == 2 and "`happy`" in wrong.stderr and "capacity-lost" in wrong.stderr, wrong
    line = newest(g, 2)[1]
    assert "Those who run this service What they did Wrote down in your plan or record that you cannot decide this for yourself now" in line, line
    assert "Allowed because “Dr Shah: at the ward, on Monday”" in line, line
    done = g.command("patients", "record", g.patient, "no-notify", "--evidence", "Her partner reads her letters")
    assert done.returncode == 0, done.stderr
    page = as_(g, "patient").get("/my-plan/who-looked").text
    assert "Wrote something down about" in page
    assert "partner" not in page and "at the ward" not in page and "cannot decide" not in page


def test_somebody_in_the_books_twice_reads_both_and_sees_who_looked_at_each(demo: Gateway) -> None:
    made = demo.call("hospital", "POST", "Patient", body={"resourceType": "Patient", "name": [{"family": "Khan", "given": ["A"]}]})
    other = made.json()["id"]
    goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Swim on Fridays"}, "subject": {"reference": f"Patient/{other}"}}
    assert demo.call("hospital", "POST", "Goal", body=goal).status_code == 201
    v = as_(demo, "patient")
    assert v.get(f"/my-plan?record={other}").status_code == 404 and "More that is kept about you" not in v.get("/my-plan").text
    done = demo.command("patients", "link", demo.patient, other, "--type", "replaces", "--evidence", "The same NHS number")
    assert done.returncode == 0, done.stderr
    try:
        v.get("/my-plan")
        assert "More that is kept about you" in v.words() and f'href="/my-plan?record={other}"' in v.page
        given = consent(other, permit(demo.persona("stranger")["fhirUser"]))
        assert demo.call("patient", "POST", "Consent", body=given).status_code == 201
        v.get("/my-plan/sharing")
        seen = re.search(r"/my-plan/sharing/consents/[^/]+/end", v.page)
        assert seen, v.words()
        v.get(f"/my-plan?record={other}")
        assert "Swim on Fridays" in v.words() and f'href="/my-plan?record={demo.patient}"' in v.page
        v.get("/my-plan/who-looked?what=changed")
        assert "Added" in v.words() or "added" in v.words(), v.words()
    finally:
        demo.command("patients", "unlink", demo.patient, other, "--evidence", "It was a test")
    assert v.get(f"/my-plan?record={other}").status_code == 404, "at once"


@pytest.mark.slow
def test_her_pages_say_who_keeps_her_record_and_for_whom(tmp_path: Path) -> None:
    """A hospital that keeps records for the surgery, and not for itself."""
    with recorder() as there:
        keeper = {**HUB, "url": there.url, "organisation": "RX9", "audience": ["D82001"], "role": "processor"}
        with partnered(tmp_path, keeper) as g:
            assert g.command("sync", "run", "--once").returncode == 0 and "Goal" in there.types()
            amina = as_(g, "patient")
            amina.get("/my-plan/who-looked?what=sent")
            assert "Was sent a copy of your plan or record, to keep it for Example Street Surgery" in amina.words()
            assert "because Example Street Surgery looks after you" in amina.words()
            (goal,) = {e["resource"]["id"] for e in g.get("patient", "Goal?_count=1").json()["entry"]}
            hospital = g.get("patient", f"Organization?identifier={ODS}|RX9").json()["entry"][0]["resource"]
            amina.get(f"/my-plan/sharing/why?who=Organization/{hospital['id']}&what=Goal/{goal}")
            assert "They may also keep a copy of it for Example Street Surgery." in amina.words()
            said = g.command("explain", "--who", f"Organization/{hospital['id']}", "--what", f"Goal/{goal}", "--action", "disclose").stdout
            assert said.startswith("Yes.") and "They may also keep a copy of it for Example Street Surgery." in said, "it wrote this itself"
            refusal = deny(g, {"identifier": {"system": ODS, "value": "RX9"}}, "Goal")
            assert g.call("patient", "POST", "Consent", body=refusal).status_code == 201
            assert g.command("sync", "run", "--once").returncode == 0
            assert "Goal" not in there.types() and "CarePlan" in there.types()
            amina.get("/my-plan/who-looked?what=sent")
            assert "Had a copy of your plan or record taken back" in amina.words()


def test_an_organisation_that_nobody_knows_any_more_is_offered_by_no_id(demo: Gateway) -> None:
    v = as_(demo, "patient")
    assert v.get("/my-plan/who-looked?organisation=Organization/gone-since").status_code == 200
    assert "Organization/gone-since" not in v.words() and "An organisation" in v.words()
