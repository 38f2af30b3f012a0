"""Coming from a clinician's own system onto the person's one screen, tried with a foreign one. docs/launch.md

https://hl7.org/fhir/smart-app-launch/app-launch.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_gateway.auth import accounts, people
from fhir_gateway.auth.launching import WINDOWS
from fhir_gateway.auth.sessions import SESSION, Row
from fhir_gateway.domain.identity import NHS_NUMBER, on_paper
from fhir_gateway.settings import LauncherSettings, Settings
from fhir_gateway.settings.unsafe import unsafe_launchers

from ..conftest import VERIFY, Gateway
from ..launcher import AMINA, Ehr
from ..staff import consent, permit, wired_operator
from .launching import goes_by, launched_from
from .test_doors import Visitor, as_

WORDS = {  # what stands on the page that says why not
    "unknown": "a system that is not registered here", "lost": "Open the person again in your own system", "refused": "did not let this go on",
    "away": "did not answer as it should", "nobody": "did not say whom you want to see", "user": "Nobody is registered here by the name",
    "person": "There is nobody here with that NHS number",
}  # fmt: skip


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ehr, Gateway]]:
    ehr = Ehr()
    with launched_from(ehr, tmp_path_factory.mktemp("launch")) as g:
        yield ehr, g
    ehr.stop()


@pytest.fixture
def ehr(started: tuple[Ehr, Gateway]) -> Iterator[Ehr]:
    started[0].usual()
    yield started[0]
    started[0].usual()


@pytest.fixture
def visitor(started: tuple[Ehr, Gateway]) -> Iterator[Visitor]:
    v = Visitor(started[1])
    v.http = httpx2.Client(base_url=v.base, follow_redirects=True, verify=VERIFY)
    yield v
    v.http.close()


def come(v: Visitor, ehr: Ehr, launch: str = "amina-is-open") -> httpx2.Response:
    return v._seen(v.http.get("/launch", params={"iss": ehr.iss, "launch": launch}))


def stays_out(v: Visitor, answer: httpx2.Response, why: str, status: int) -> None:
    assert answer.status_code == status and WORDS[why] in v.words(), v.words()
    for theirs in ("Amina", "9990000018", "999 000 0018", "Patel"):
        assert theirs not in v.page, "nothing of anybody"
    assert v.get("/team").url.path == "/sign-in", "nobody is signed in"


def test_a_clinician_lands_on_the_one_screen_of_the_person_they_have_open(started: tuple[Ehr, Gateway], ehr: Ehr, visitor: Visitor) -> None:
    g = started[1]
    answer = come(visitor, ehr)
    assert answer.status_code == 200 and answer.url.path == f"/team/people/{g.patient}/in-a-hurry", visitor.words()
    assert "If I fall or cannot get up" in visitor.words() and "Dr Asha Patel" in visitor.page
    assert not [c for c in visitor.http.cookies if c.startswith("launch")], "what was begun is taken away"
    patient = as_(g, "patient")
    patient.get("/my-plan/who-looked")
    assert "Dr Asha Patel" in patient.words()
    patient.http.close()
    officer = as_(g, "privacy-officer")
    officer.get("/privacy/audit")
    assert "Came here from their own system" in officer.words()
    officer.http.close()


def test_what_the_browser_is_sent_away_with(started: tuple[Ehr, Gateway], ehr: Ehr) -> None:
    """PKCE S256, aud, a state of this browser; the cookie is no script's and says nothing."""
    answer = httpx2.get(f"{started[1].base}/launch", params={"iss": f"{ehr.iss}/", "launch": "amina-is-open"}, verify=VERIFY)
    asked = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
    assert answer.status_code == 303 and asked["aud"] == ehr.iss and asked["code_challenge_method"] == "S256" and len(asked["code_challenge"]) == 43
    assert asked["scope"] == "launch openid fhirUser patient/Patient.r" and len(asked["state"]) > 30 and asked["response_type"] == "code"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and asked["state"] not in cookie and asked["nonce"] not in cookie


@pytest.mark.parametrize(
    ("change", "why", "status"),
    [
        ({"claims": {"sub": "dr-nobody"}}, "user", 403),
        ({"claims": {"nonce": "of another launch"}}, "user", 403),
        ({"claims": {"sub": "dr-other"}}, "user", 403),  # of another organisation than the one it speaks for
        ({"token": {"patient": None}}, "nobody", 400),
        ({"patient": {**AMINA, "birthDate": "1951-04-08"}}, "person", 404),
        ({"patient": {**AMINA, "name": [{"family": "Someone"}]}}, "person", 404),
        ({"patient": {**AMINA, "identifier": [{"system": NHS_NUMBER, "value": "9990000026"}]}}, "person", 404),
        ({"patient": {**AMINA, "active": False}}, "person", 404),
        ({"patient": {"resourceType": "Patient", "id": "p1", "name": "Amina", "identifier": [7], "link": 3, "birthDate": []}}, "person", 404),
        ({"down": {"/token"}}, "away", 503),
    ],
)  # fmt: skip
def test_whoever_and_whomever_it_cannot_vouch_for_stays_out(ehr: Ehr, visitor: Visitor, change: dict[str, Any], why: str, status: int) -> None:
    for name, value in change.items():
        setattr(ehr, name, value)
    stays_out(visitor, come(visitor, ehr), why, status)


def test_a_launch_that_they_ended_is_theirs_to_begin_again(ehr: Ehr, visitor: Visitor) -> None:
    stays_out(visitor, come(visitor, ehr, launch="closed an hour ago"), "refused", 400)


@pytest.mark.parametrize("iss", ["", "https://evil.example/fhir", "http://169.254.169.254/latest", "//localhost", "javascript:alert(1)"])
def test_a_system_that_is_not_registered_is_asked_nothing(ehr: Ehr, visitor: Visitor, iss: str) -> None:
    heard = len(ehr.heard)
    stays_out(visitor, visitor._seen(visitor.http.get("/launch", params={"iss": iss, "launch": "x"})), "unknown", 403)
    assert len(ehr.heard) == heard


def test_what_was_begun_in_one_browser_is_ended_in_no_other(started: tuple[Ehr, Gateway], ehr: Ehr, visitor: Visitor) -> None:
    """Nobody is signed in as somebody else by an address that was sent to them; an answer counts once."""
    base = started[1].base
    with httpx2.Client(verify=VERIFY) as attacker:
        away = attacker.get(f"{base}/launch", params={"iss": ehr.iss, "launch": "amina-is-open"})
        back = attacker.get(away.headers["location"]).headers["location"]
        stays_out(visitor, visitor.get(back), "lost", 400)
        come(visitor, ehr)
        stays_out_path = visitor.get(back)
        assert stays_out_path.status_code == 400 and WORDS["lost"] in visitor.words(), "nor over a sign-in of their own"
        assert attacker.get(back).status_code == 303
        attacker.cookies.set(*away.headers["set-cookie"].partition(";")[0].split("=", 1))
        assert attacker.get(back).status_code == 400, "a code is used once"
    for wrong in ("/launch/callback/surgery", "/launch/callback/surgery?state=x&code=y", "/launch/callback/nobody?error=access_denied", "/launch?iss=" + ehr.iss):
        assert visitor.get(wrong).status_code == 400, wrong


BO = {"resourceType": "Patient", "id": "p2", "identifier": [{"system": NHS_NUMBER, "value": "9990000034"}], "birthDate": "1950-02-03", "name": [{"family": "Second"}]}
HERS, HIS = "If I fall or cannot get up", "Walk to the lighthouse"


def beside_her(g: Gateway, ehr: Ehr, folder: Path) -> str:
    """Bo, whom the same surgery has taken on, and who is open there in another window; his id."""
    plan = {
        "plan": "1", "id": "second", "title": "A plan", "status": "active",
        "person": {"id": "bo", "nhs_number": BO["identifier"][0]["value"], "birth_date": BO["birthDate"], "name": {"given": ["Bo"], "family": "Second"}},
        "team": [{"id": "t-gp", "name": "Dr Asha Patel", "role": "GP", "organisation": {"ods": "D82001", "name": "Example Street Surgery", "sector": "health"}}],
        "about_me": {"most_important": HIS},
    }  # fmt: skip
    (folder / "bo.json").write_text(json.dumps(plan))
    line = g.lines("import", str(folder / "bo.json"), "--json")[0]
    assert line["written"] and not line["refused"], line
    id = str(line["patient"]).removeprefix("Patient/")
    asked = g.get("gp", "Task?status=requested&owner:identifier=D82001&_count=200").json()["entry"]
    task = next(e["resource"] for e in asked if e["resource"]["for"]["reference"] == f"Patient/{id}")
    done = g.call("gp", "PUT", f"Task/{task['id']}", body={**task, "status": "accepted"}, headers={"If-Match": f'W/"{task["meta"]["versionId"]}"'})
    assert done.status_code == 200, done.text
    ehr.others = {"bo-is-open": BO}
    return id


def test_two_windows_that_come_at_once_are_each_about_their_own_person(started: tuple[Ehr, Gateway], ehr: Ehr, visitor: Visitor, tmp_path: Path) -> None:
    """Whatever the order in which they come back, and in each of them afterwards; a form of an older sign-in writes nothing about anybody."""
    g = started[1]
    pages = {"amina-is-open": f"/team/people/{g.patient}/in-a-hurry", "bo-is-open": f"/team/people/{beside_her(g, ehr, tmp_path)}/in-a-hurry"}
    said = {"amina-is-open": (HERS, HIS), "bo-is-open": (HIS, HERS)}

    def sent_back(launch: str) -> str:
        """Off from here, signed in there: the address that this window comes back to."""
        away = visitor.http.get("/launch", params={"iss": ehr.iss, "launch": launch}, follow_redirects=False).headers["location"]
        return str(httpx2.get(away, verify=VERIFY).headers["location"])

    for order in (("amina-is-open", "bo-is-open"), ("bo-is-open", "amina-is-open")):
        windows = {launch: sent_back(launch) for launch in pages}
        for launch in order:
            answer = visitor.get(windows[launch])
            assert answer.status_code == 200 and answer.url.path == pages[launch], visitor.words()
            assert said[launch][0] in visitor.words() and said[launch][1] not in visitor.page
        for launch, page in pages.items():
            assert said[launch][0] in visitor.get(page).text and said[launch][1] not in visitor.page, "and when it is loaded again"
        assert not [c for c in visitor.http.cookies if c.startswith("launch")]
    mixed = {launch: dict(parse_qsl(urlsplit(sent_back(launch)).query)) for launch in pages}
    wrong = {"state": mixed["amina-is-open"]["state"], "code": mixed["bo-is-open"]["code"]}
    answer = visitor.get(f"/launch/callback/surgery?{urlencode(wrong)}")
    assert answer.status_code == 400 and WORDS["refused"] in visitor.words() and HIS not in visitor.page, "the code of one window is nothing to the other"

    ask = pages["bo-is-open"].replace("in-a-hurry", "ask")
    visitor.get(ask)
    form = re.search(r'<select[^>]* name="form".*?<option value="([^"]+)"', visitor.page, re.S)
    assert form
    filled = {**visitor.fields(ask), "form": form[1], "first-day": "1", "first-month": "2", "first-year": str(datetime.now(UTC).year + 1), "weeks": "13", "times": "1", "within": "14"}
    come(visitor, ehr)
    old = visitor._seen(visitor.http.post(ask, data=filled, headers={"Origin": g.base}))
    assert old.status_code == 403 and "Nothing was saved" in visitor.words() and "open somebody else, in another window" in visitor.words()
    assert all(words not in visitor.page for words in (HERS, HIS, "Amina", "Second"))

    def tasks() -> list[int]:
        return [g.get("gp", f"Task?patient={page.split('/')[3]}").json()["total"] for page in pages.values()]

    before = tasks()
    visitor.get(ask)
    new = visitor._seen(visitor.http.post(ask, data={**filled, **visitor.fields(ask)}, headers={"Origin": g.base}))
    assert new.status_code == 200 and new.url.path == f"/team/people/{ask.split('/')[3]}", visitor.words()
    assert [after - was for was, after in zip(before, tasks(), strict=True)] == [0, 1], "what is sent from his window is his, whoever was opened last"


def test_a_browser_keeps_no_more_than_a_few_comings_at_once(started: tuple[Ehr, Gateway], ehr: Ehr, visitor: Visitor) -> None:
    for _ in range(2 * WINDOWS):
        visitor.http.get("/launch", params={"iss": ehr.iss, "launch": "amina-is-open"}, follow_redirects=False)
    assert len([c for c in visitor.http.cookies if c.startswith("launch")]) == WINDOWS
    assert come(visitor, ehr).status_code == 200, "the newest of them is there"


def test_who_that_is_here_is_decided_by_what_operators_wrote(started: tuple[Ehr, Gateway], ehr: Ehr) -> None:
    """A name that they have now, one person, one open account at that organisation; and no right to run this service by another's word."""
    g, name = started[1], {"system": ehr.base, "value": "dr-patel"}
    past, coming = {"end": "2020-01-01"}, {"start": "2090-01-01"}

    async def doing(ctx: Any) -> None:
        store = ctx.house.store
        mine = await people.find(store, "gp", ctx.at)
        assert mine is not None

        def act() -> accounts.Act:
            return accounts.Act(datetime.now(UTC), ctx.house.new_id, "", "")

        for wrong in ({**name, "use": "old"}, {**name, "period": past}, {**name, "period": coming}, {**name, "system": "https://x.example"}, {**name, "value": "DR-PATEL"}):
            await goes_by(ctx, "gp", wrong)
            assert seen(g, ehr) == 403, wrong
        await goes_by(ctx, "gp", name, active=False)
        assert seen(g, ehr) == 403
        await goes_by(ctx, "gp", {**name, "use": "old", "period": past}, {**name, "period": {"start": "2020-01-01"}})
        assert seen(g, ehr) == 200
        await goes_by(ctx, "stranger", name)
        assert seen(g, ehr) == 403, "two people of one name are nobody"
        await goes_by(ctx, "stranger", {**name, "value": "dr-other"})
        await accounts.close(store, "gp", act())
        assert seen(g, ehr) == 403
        await accounts.reopen(store, "gp", act())
        ehr.claims = {"auth_time": int((datetime.now(UTC) - timedelta(minutes=5)).timestamp())}
        assert seen(g, ehr) == 403, "a sign-in from before the account was changed, as with a session of ours"
        ehr.claims = {}
        await people.add(store, replace(mine, username="gp-twice"), "only-for-this-test")
        assert seen(g, ehr) == 403, "two open accounts"
        await accounts.close(store, "gp-twice", act())
        await accounts.change(store, "gp", act(), give=["operator", "privacy-officer"])
        assert seen(g, ehr) == 200
        for door in ("/operator", "/privacy/audit"):
            assert seen(g, ehr, door) == 403, door
        await accounts.change(store, "gp", act(), take=["operator", "privacy-officer"], give=["volunteer"])
        assert seen(g, ehr) == 200
        rows = [msgspec.json.decode(raw, type=Row) for raw in (await store.kept_all(SESSION, datetime.now(UTC))).values()]
        latest = max((r.caller for r in rows if r.caller.subject == "gp"), key=lambda c: c.expires)
        assert latest.roles == {"clinician", "break-glass", "volunteer"}, "what takes away stays"
        await accounts.change(store, "gp", act(), take=["volunteer"])

    wired_operator(g, doing)


def seen(g: Gateway, ehr: Ehr, then: str = "") -> int:
    """What a browser of its own ends with, that comes from there and goes on to `then`."""
    with httpx2.Client(base_url=g.base, follow_redirects=True, verify=VERIFY) as browser:
        answer = browser.get("/launch", params={"iss": ehr.iss, "launch": "amina-is-open"})
        assert answer.status_code == 200 or browser.get("/team").url.path == "/sign-in"
        return browser.get(then).status_code if then else answer.status_code


def refused_looks(g: Gateway) -> int:
    """How often her page says that her GP looked for her and was told no: what was alike in a minute is one line with a count."""
    patient = as_(g, "patient")
    patient.get("/my-plan/who-looked")
    line = r"Dr Asha Patel, Example Street Surgery What they did Looked for you by NHS number, to see your plan or record(?:, (\d+) times)? Allowed\? Told no"
    found = re.findall(line, patient.words())
    patient.http.close()
    return sum(int(times or 1) for times in found)


def test_consent_decides_as_always(started: tuple[Ehr, Gateway], ehr: Ehr, visitor: Visitor) -> None:
    """She says no to her GP: the same answer as for somebody who is nobody here, and a row for her; guessing is slowed."""
    g = started[1]
    before = refused_looks(g)
    said = g.call("patient", "POST", "Consent", body=consent(g.patient, permit(str(g.persona("gp")["fhirUser"]), type="deny")))
    assert said.status_code == 201, said.text
    stays_out(visitor, come(visitor, ehr), "person", 404)  # the last of this gateway: her no stays
    hidden = come(visitor, ehr)
    ehr.patient = {**AMINA, "identifier": [{"system": NHS_NUMBER, "value": "9990000026"}]}
    absent = come(visitor, ehr)

    def told(answer: httpx2.Response) -> tuple[Any, ...]:
        names = [h for h in answer.headers.raw if h[0].lower() not in (b"date", b"content-security-policy")]
        return answer.status_code, re.sub(r'nonce="[^"]+"|value="[0-9a-f]{20,}"', "", answer.text), [n for n, _ in names]

    assert told(hidden) == told(absent), "hidden equals absent"
    assert refused_looks(g) == before + 2
    officer = as_(g, "privacy-officer")
    officer.get("/privacy/audit")
    row = "Dr Asha Patel, Example Street Surgery What they did Came here from their own system (surgery: nobody found) Whose record Nobody's Allowed? Told no"
    assert officer.words().count(row) == 3, officer.words()
    officer.http.close()
    statuses = [come(visitor, ehr).status_code for _ in range(14)]
    assert statuses[-1] == 429 and set(statuses) == {404, 429}, statuses
    assert "Amina" not in visitor.page


# -- without a server -------------------------------------------------------------------------------------------------


EHR = LauncherSettings(name="ehr", iss="https://ehr.example/fhir", client="us", organisation="D82001")


json_value = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.sampled_from(["family", "use", "system", "value", "type"]), v), max_leaves=8)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["identifier", "name", "birthDate", "link", "active"]), json_value))
def test_whatever_a_patient_of_theirs_is_it_is_somebody_or_nobody(patient: dict[str, Any]) -> None:
    paper = on_paper(patient)
    assert paper is None or all(isinstance(part, str) and part for part in paper[::2])


def test_a_present_name_is_looked_for_before_a_former_one() -> None:
    assert on_paper(AMINA) == ("9990000018", "1951-04-07", "EXAMPLE")
    assert on_paper({**AMINA, "identifier": [*AMINA["identifier"], {"system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000026"}]}) is None, "of two numbers neither"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"iss": "http://ehr.example/fhir"}, "must be an https address"), ({"iss": "https://u:p@ehr.example/fhir"}, "must be an https address"),
        ({"sign_in": "http://ehr.example"}, "`sign_in`"), ({"client": " "}, "needs a `client`"), ({"organisation": ""}, "needs a `client`"),
        ({"secret": "a-long-secret", "key": "k.pem"}, "keep one"), ({"key": "/nowhere/k.pem"}, "not a file that can be read"),
    ],
)  # fmt: skip
def test_a_launcher_that_cannot_be_is_refused_in_one_sentence(change: dict[str, str], said: str) -> None:
    wrong = unsafe_launchers(Settings(launcher=[EHR.model_copy(update=change)]))
    assert wrong is not None and said in wrong and "u:p" not in wrong
    assert unsafe_launchers(Settings(launcher=[EHR])) is None
    assert "keep one" in str(unsafe_launchers(Settings(launcher=[EHR, EHR])))
    assert "GATEWAY_BUILT_IN_ISSUER" in str(unsafe_launchers(Settings(launcher=[EHR], built_in_issuer=False)))
