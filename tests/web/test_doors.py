"""The pages as a browser without JavaScript uses them: real server, forms, cookies; what is refused and how."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from ..conftest import Gateway

PASSWORD = "demo-only-password"


class Visitor:
    """A browser without scripts: keeps cookies, fills in the form that the last page showed."""

    def __init__(self, gateway: Gateway) -> None:
        self.base = gateway.base
        self.http = httpx2.Client(base_url=gateway.base, follow_redirects=True, headers={"Origin": gateway.base}, timeout=30)
        self.page = ""

    def get(self, path: str) -> httpx2.Response:
        return self._seen(self.http.get(path))

    def _seen(self, answer: httpx2.Response) -> httpx2.Response:
        self.page = answer.text
        return answer

    def fields(self, action: str) -> dict[str, Any]:
        """The hidden fields of the form with this action."""
        form = re.search(rf'<form[^>]*action="{re.escape(action)}"[^>]*>(.*?)</form>', self.page, re.S)
        assert form, f"no form for {action} on the page"
        out: dict[str, Any] = {}
        for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form.group(1)):
            out.setdefault(name, []).append(html.unescape(value))
        return out

    def send(self, action: str, **typed: Any) -> httpx2.Response:
        return self._seen(self.http.post(action, data={**self.fields(action), **typed}))

    def sign_in(self, username: str, password: str = PASSWORD) -> httpx2.Response:
        self.get("/sign-in")
        return self.send("/sign-in", username=username, password=password)

    def words(self) -> str:
        """What the page says, without markup."""
        main = re.search(r"<main.*?</main>", self.page, re.S)
        assert main
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main.group())).split())


@pytest.fixture
def visitor(demo: Gateway) -> Iterator[Visitor]:
    v = Visitor(demo)
    yield v
    v.http.close()


def as_(demo: Gateway, who: str) -> Visitor:
    v = Visitor(demo)
    answer = v.sign_in(who)
    assert answer.status_code == 200, answer.text
    return v


def share(v: Visitor, who: str = "Rosa", **more: Any) -> httpx2.Response:
    """The four steps, up to the summary."""
    new = "/my-plan/sharing/new"
    v.get(new)
    v.send(new, go="find", find=who)
    ref = re.search(rf'value="(Practitioner/[^"]+)"[^>]*>\s*<label[^>]*>[^<]*{who}', v.page)
    assert ref, v.words()
    v.send(new, go="what", who=ref.group(1))
    v.send(new, go="when", parts=more.pop("parts", ["plan"]))
    until = {"until_choice": "day", "until-day": "31", "until-month": "1", "until-year": "2040"}
    return v.send(new, go="check", **{**until, "why": "So that she can find me a choir <b>", **more})


def share_nothing(demo: Gateway) -> None:
    """Stop whatever another test has shared."""
    v = as_(demo, "patient")
    while stop := re.search(r"/my-plan/sharing/[^/\"]+/stop", v.get("/my-plan/sharing").text):
        v.get(stop.group())
        v.send(stop.group())


# -- signing in -------------------------------------------------------------------------------------------------------


def test_the_start_page_says_whom_to_sign_in_as(visitor: Visitor) -> None:
    assert visitor.get("/").status_code == 200
    for text in ("Sign in as Amina Example", "Sign in as Rosa Lind", "demo-only-password", "These people are made up"):
        assert text in visitor.words()


def test_the_person_signs_in_and_reads_her_plan(visitor: Visitor) -> None:
    answer = visitor.sign_in("patient")
    assert answer.url.path == "/my-plan"
    for text in ("What matters to me", "My goals", "What we will do", "If things get worse", "My team", "Key worker"):
        assert text in visitor.words()
    assert answer.headers["cache-control"] == "no-store"


def test_a_wrong_name_and_a_wrong_password_are_one_answer(visitor: Visitor) -> None:
    wrong = []
    for name in ("patient", "nobody-of-this-name"):
        answer = visitor.sign_in(name, "not this one")
        assert answer.status_code == 401
        wrong.append(visitor.words())
    assert wrong[0] == wrong[1]
    assert visitor.http.get("/my-plan", follow_redirects=False).headers["location"].startswith("/sign-in")


@pytest.mark.parametrize("path", ["/my-plan", "/my-plan/sharing", "/my-plan/who-looked", "/my-plan/sent", "/team", "/team/people/x"])
def test_without_signing_in_every_page_asks_to(visitor: Visitor, path: str) -> None:
    answer = visitor.http.get(path, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")


@pytest.mark.parametrize(
    "onward", ["//evil.example", "https://evil.example/my-plan", "/\\evil.example", "/my-plan\r\nX: y", "javascript:1"]
)
def test_signing_in_leads_only_to_our_own_pages(visitor: Visitor, onward: str) -> None:
    visitor.get("/sign-in")
    answer = visitor.send("/sign-in", username="patient", password=PASSWORD, next=onward)
    assert answer.url.netloc == httpx2.URL(visitor.base).netloc and answer.url.path == "/my-plan"


def test_signing_out_ends_it(demo: Gateway) -> None:
    v = as_(demo, "patient")
    assert "You are signed out" in v.send("/sign-out").text
    assert v.http.get("/my-plan", follow_redirects=False).status_code == 303


def test_a_page_of_somebody_else_says_so(demo: Gateway) -> None:
    assert as_(demo, "gp").get("/my-plan").status_code == 403
    assert as_(demo, "patient").get("/team").status_code == 403


def test_the_daughter_who_acts_for_her_reads_the_plan_until_her_role_ends(demo: Gateway) -> None:
    leila = as_(demo, "proxy")
    assert leila.get("/home").url.path == "/team"
    assert "Amina" in leila.words() or "Mina" in leila.words()
    assert leila.get(f"/team/people/{demo.patient}").status_code == 200
    assert "My goals" in leila.words() and "Some information may be withheld." in leila.words()
    amina = as_(demo, "patient")
    amina.get("/my-plan/who-looked")
    assert "Leila Example" in amina.words(), amina.words()
    found = demo.get("patient", f"Consent?patient={demo.patient}").json()["entry"]
    role = next(e["resource"] for e in found if "England-NHSProxyLegalBasis" in str(e["resource"]["policyRule"]))
    for status, seen in (("inactive", 404), ("active", 200)):
        etag = demo.get("patient", f"Consent/{role['id']}").headers["etag"]
        put = demo.call("patient", "PUT", f"Consent/{role['id']}", body=role | {"status": status}, headers={"If-Match": etag})
        assert put.status_code == 200, put.text
        assert leila.get(f"/team/people/{demo.patient}").status_code == seen


# -- forms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": ""}, {"Origin": "http://["}, {"Origin": "", "Referer": "http://[::"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_a_form_from_elsewhere_is_refused(demo: Gateway, headers: dict[str, str]) -> None:
    v = as_(demo, "patient")
    fields = v.fields("/sign-out")
    answer = v.http.post("/sign-out", data=fields, headers=headers)
    assert answer.status_code == 403 and "Nothing was saved" in answer.text
    assert v.get("/my-plan").url.path == "/my-plan"


def test_a_form_without_its_token_or_with_anothers_is_refused(demo: Gateway) -> None:
    v, other = as_(demo, "patient"), as_(demo, "patient")
    for token in ("", "x", other.fields("/sign-out")["form_token"][0]):
        assert v.http.post("/sign-out", data={"form_token": token}).status_code == 403
    assert v.http.post("/sign-in", data={"username": "patient", "password": PASSWORD}).status_code == 403


def test_what_is_no_form_or_too_long_is_a_page_too(demo: Gateway) -> None:
    v = as_(demo, "patient")
    assert v.http.post("/my-plan/sharing/new", json={"a": 1}).status_code == 415
    assert v.http.post("/my-plan/sharing/new", data={"why": "x" * 70_000}).status_code == 413


# -- the story --------------------------------------------------------------------------------------------------------


def test_hidden_and_absent_are_the_same_page(demo: Gateway) -> None:
    share_nothing(demo)
    v = as_(demo, "link-worker")
    hidden = v.get(f"/team/people/{demo.patient}")
    absent = v.get("/team/people/0198c0de-0000-7000-8000-000000000000")
    assert hidden.status_code == absent.status_code == 404

    def plain(answer: httpx2.Response) -> str:
        return re.sub(r'nonce="[^"]+"', "", answer.text)

    assert plain(hidden) == plain(absent)
    assert {k for k in hidden.headers} == {k for k in absent.headers}
    assert v.get("/team/people/..%2f..").status_code == 404


def test_the_gp_reads_the_shared_plan(demo: Gateway) -> None:
    v = as_(demo, "gp")
    assert "Amina Example" in v.words() or "Mina" in v.words()
    assert v.get(f"/team/people/{demo.patient}").status_code == 200
    assert "Some information may be withheld." in v.words() and "My goals" in v.words()


def test_she_shares_it_works_she_stops_and_it_is_gone(demo: Gateway) -> None:
    """The third part of the story, by forms alone."""
    share_nothing(demo)
    amina, rosa = as_(demo, "patient"), as_(demo, "link-worker")
    page = f"/team/people/{demo.patient}"
    assert rosa.get(page).status_code == 404
    summary = share(amina)
    assert "Rosa Lind may see your whole plan until the end of 31 January 2040." in amina.words(), summary.text
    assert rosa.get(page).status_code == 404, "nothing is shared before saving"
    saved = amina.send("/my-plan/sharing/new", go="save")
    assert saved.url.path == "/my-plan/sharing", amina.words()
    said = amina.words()
    for text in ("Your choice is saved", "Rosa Lind", "31 January 2040", "So that she can find me a choir <b>"):
        assert text in said, text
    assert rosa.get(page).status_code == 200 and "My goals" in rosa.words()
    assert rosa.get("/team").status_code == 200 and demo.patient in rosa.page
    stop = re.search(r"/my-plan/sharing/[^/\"]+/stop", saved.text)
    assert stop
    amina.get(stop.group())
    assert "Rosa Lind" in amina.words()
    assert "It is stopped" in amina.send(stop.group()).text
    assert rosa.get(page).status_code == 404
    amina.get("/my-plan/who-looked")
    log = amina.words()
    assert "Rosa Lind" in log and "Allowed" in log and "Told no" in log


def test_only_goals_is_only_goals_and_her_details_and_says_so(demo: Gateway) -> None:
    share_nothing(demo)
    amina = as_(demo, "patient")
    assert demo.get("patient", f"/plans/{demo.patient}").json()["unmet_needs"]
    share(amina, parts=["goals"])
    words = amina.words()
    assert "Rosa Lind may see these parts of your plan: My goals and what we will do, until" in words
    for text in ("tasks that others were asked to do", "Of your details only your name, your language and one way to reach you. Not your NHS number"):
        assert text in words, words
    amina.send("/my-plan/sharing/new", go="save")
    plan = demo.get("link-worker", f"/plans/{demo.patient}").json()
    assert plan["goals"] and plan["actions"] and not plan.keys() & {"unmet_needs", "needs", "about_me", "team", "contingency"}
    assert demo.get("link-worker", f"ServiceRequest?patient={demo.patient}").json()["total"] == 0
    assert "Of your details only your name" in amina.words(), "the list of choices says it too"
    share_nothing(demo)


def test_a_grant_changes_nothing_for_the_gp(demo: Gateway) -> None:
    amina, gp = as_(demo, "patient"), as_(demo, "gp")
    before = gp.get(f"/team/people/{demo.patient}").text
    share(amina)
    amina.send("/my-plan/sharing/new", go="save")
    after = gp.get(f"/team/people/{demo.patient}").text
    assert re.sub(r'nonce="[^"]+"', "", before) == re.sub(r'nonce="[^"]+"', "", after)


def test_two_windows_conflict_in_plain_words(demo: Gateway) -> None:
    one, two = as_(demo, "patient"), as_(demo, "patient")
    share(one)
    share(two, who="Sam")
    assert one.send("/my-plan/sharing/new", go="save").url.path == "/my-plan/sharing"
    again = two.send("/my-plan/sharing/new", go="save")
    assert again.status_code == 409 and "changed in another window" in two.words()
    assert two.send("/my-plan/sharing/new", go="save").url.path == "/my-plan/sharing"
    assert "Sam Other" in two.words()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"until_choice": ""}, "Choose until when."),
        ({"until-year": "2001"}, "That day is over."),
        ({"until-day": "31", "until-month": "2"}, "Write a day that exists"),
        ({"until-day": "", "until-month": "", "until-year": ""}, "Write the last day they can see it."),
        ({"why": "x" * 501}, "at most 500"),
    ],
)
def test_mistakes_are_said_and_what_was_typed_stays(demo: Gateway, typed: dict[str, str], said: str) -> None:
    v = as_(demo, "patient")
    share(v, **typed)
    assert said in v.words() and "Step 3 of 4" in v.words()


def test_a_made_up_person_or_part_is_not_granted(demo: Gateway) -> None:
    v = as_(demo, "patient")
    v.get("/my-plan/sharing/new")
    for who in ("Practitioner/nobody", "Patient/" + demo.patient, "sector:everyone", "<script>", ""):
        v.send("/my-plan/sharing/new", go="save", who=who, parts=["plan"], until_choice="open")
        assert "Choose who you want to share with." in v.words()


def test_stopping_what_is_not_there_is_not_found(demo: Gateway) -> None:
    assert as_(demo, "patient").get("/my-plan/sharing/nothing/stop").status_code == 404


def test_the_log_can_be_narrowed_by_day_and_organisation(demo: Gateway) -> None:
    gp = as_(demo, "gp")
    for _ in range(30):
        gp.get(f"/team/people/{demo.patient}")
    v = as_(demo, "patient")
    v.get("/my-plan/who-looked")
    assert "Example Street Surgery" in v.words() and " times" in v.words()
    surgery = re.search(r'<option value="(Organization/[^"]+)">Example Street Surgery', v.page)
    assert surgery
    v.get(f"/my-plan/who-looked?organisation={surgery.group(1)}")
    table = v.words().partition("What happened")[2]
    assert "Asha Patel" in table and "Tom Reed" not in table and "hospital" not in table.lower()
    v.get("/my-plan/who-looked?to-day=1&to-month=1&to-year=2020")
    assert "Nobody in the time and place you chose." in v.words()
    v.get("/my-plan/who-looked?from-day=31&from-month=2&from-year=2026")
    assert "Write a day that exists" in v.words()
    assert v.get("/my-plan/who-looked?before=nonsense").status_code == 404


def test_the_log_goes_on_page_by_page_without_loss(demo: Gateway) -> None:
    share_nothing(demo)
    me = f"Patient/{demo.patient}"
    for _ in range(5):
        for who in ("gp", "stranger"):
            for path in (me, f"{me}/_history", f"{me}/_history/1", f"{me}/$everything", f"Patient?_id={demo.patient}"):
                demo.get(who, path)
    v = as_(demo, "patient")
    pages, where = 0, "/my-plan/who-looked"
    seen: list[str] = []
    while where:
        v.get(where)
        rows = re.findall(r'<tr role="row" class="nhsuk-table__row">(.*?)</tr>', v.page, re.S)
        seen += rows
        pages += 1
        more = re.search(r'href="(/my-plan/who-looked\?[^"]*before=[^"]+)">Show older', v.page)
        where = html.unescape(more.group(1)) if more else ""
    assert pages >= 2
    no = [row for row in seen if "Told no" in row and "Sam Other" in row]
    assert sum(int(n[1]) if (n := re.search(r", (\d+) times", row)) else 1 for row in no) >= 25


def newest(demo: Gateway, rows: int = 1) -> list[str]:
    """What the log says happened last, a line each, in words."""
    v = as_(demo, "patient")
    v.get("/my-plan/who-looked")
    found = re.findall(r'<tr role="row" class="nhsuk-table__row">(.*?)</tr>', v.page, re.S)
    lines = [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", row)).split()) for row in found]
    return [line for line in lines if "signed" not in line.lower()][:rows]


@pytest.mark.parametrize(
    "search",
    [
        "CarePlan?patient={id}", "Goal?subject=Patient/{id}", "Patient?_id={id}", "CarePlan?patient.identifier=" + "{nhs}",
        "Patient?identifier={nhs}", "Patient?identifier={nhs}&_summary=count", "CarePlan?patient=nobody,{id}", "Goal?_id={goal}",
    ],
)  # fmt: skip
def test_she_sees_who_searched_for_her_and_found_nothing(demo: Gateway, search: str) -> None:
    """A refused search that names her is hers to know of; to who asked it is the answer for nobody."""
    share_nothing(demo)
    nhs, none = "https://fhir.nhs.uk/Id/nhs-number|", "0198c0de-0000-7000-8000-000000000000"
    goal = demo.get("patient", f"Goal?patient={demo.patient}").json()["entry"][0]["resource"]["id"]
    asked = demo.get("stranger", search.format(id=demo.patient, nhs=nhs + "9990000018", goal=goal))
    nobody = demo.get("stranger", search.format(id=none, nhs=nhs + "9990009999", goal=none))
    assert asked.status_code == nobody.status_code == 200
    bare = [{k: v for k, v in a.json().items() if k not in ("link", "id", "meta")} for a in (asked, nobody)]
    assert bare[0] == bare[1] and "entry" not in bare[0] and bare[0]["total"] == 0
    assert asked.headers.keys() == nobody.headers.keys()
    (line,) = newest(demo)
    assert "Sam Other, Faraway Surgery" in line and "Searched in your plan or record" in line, line
    assert "Told no because you have not shared this with them" in line, line


def test_a_search_that_shows_her_to_who_may_see_her_is_no_refusal(demo: Gateway) -> None:
    assert demo.get("gp", f"Communication?patient={demo.patient}").json()["total"] == 0
    demo.get("gp", "Patient?identifier=https://fhir.nhs.uk/Id/nhs-number|9990000018")
    (line,) = newest(demo)
    assert "Asha Patel" in line and "Allowed because they look after you" in line, line


def test_what_changed_nothing_is_not_said_to_have_changed_it(demo: Gateway) -> None:
    goal = demo.get("gp", f"Goal?patient={demo.patient}").json()["entry"][0]["resource"]
    put = demo.call("gp", "PUT", f"Goal/{goal['id']}", body=goal, headers={"If-Match": f'W/"{goal["meta"]["versionId"]}"'})
    assert put.status_code == 200 and put.json()["meta"]["versionId"] == goal["meta"]["versionId"]
    (line,) = newest(demo)
    assert "Sent the same again to your plan or record" in line and "Changed" not in line, line


def test_the_reason_of_a_deletion_is_the_one_that_decided(demo: Gateway) -> None:
    share_nothing(demo)
    made = demo.call("hospital", "POST", "Observation", body={
        "resourceType": "Observation", "status": "final", "code": {"text": "Taken twice"}, "subject": {"reference": f"Patient/{demo.patient}"},
    })  # fmt: skip
    path = f"Observation/{made.json()['id']}"
    assert demo.call("hospital", "DELETE", path, headers={"If-Match": made.headers["etag"]}).status_code in (200, 204)
    removed, added = newest(demo, 2)
    assert "Removed from your plan or record Allowed" in " ".join(removed.replace("Allowed?", "").split()), removed
    assert "they wrote it or keep it themselves" in removed and "you said yes" not in removed, removed
    assert "they may add to people's records" in added, added


def cards(v: Visitor) -> dict[str, str]:
    """Who can see my plan: each heading of a card and what the card says."""
    v.get("/my-plan/sharing")
    out: dict[str, str] = {}
    for name, rest in re.findall(r'<h3[^>]*>\s*<span class="app-words">(.*?)</span>(.*?)</div></div>', v.page, re.S):
        assert name not in out, f"{name} is there twice"
        out[html.unescape(name)] = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", rest)).split())
    return out


def test_everybody_who_can_see_it_is_there_once_with_what_why_and_since_when(demo: Gateway) -> None:
    share_nothing(demo)
    here = cards(as_(demo, "patient"))
    assert {"Example Street Surgery", "Example County Council", "Example General Hospital", "Kindly Neighbours", "Leila Example"} <= here.keys()
    surgery, hospital = here["Example Street Surgery"], here["Example General Hospital"]
    assert "What Your plan, but not what is marked as private" in surgery and "Nothing yet" not in surgery
    assert "Why They are written down in your team You are registered with them" in surgery and "Added by Example General Hospital" in surgery
    assert "What What they wrote or keep themselves" in hospital and "Why They wrote it or keep it themselves" in hospital
    assert "Nothing yet: they have not said yes to this" in here["Kindly Neighbours"] and "Say no" not in here["Kindly Neighbours"]
    assert "Acts for you" in here["Leila Example"] and "Why You agreed to it" in here["Leila Example"]
    assert all("Since " in card for who, card in here.items() if who != "Example Ambulance Service"), "urgent care has always been able to"
    assert not {"Kindly Neighbours", "Faraway Surgery"} & {who for who, card in here.items() if "Your plan" in card}


def test_she_says_no_to_the_hospital_that_wrote_it(demo: Gateway) -> None:
    share_nothing(demo)
    amina = as_(demo, "patient")
    goals = demo.get("hospital", f"Goal?patient={demo.patient}").json()["total"]
    assert goals > 0 and "Say no to this" in cards(amina)["Example General Hospital"]
    said_no = re.search(r'<span class="app-words">Example General Hospital</span>.*?href="(/my-plan/sharing/no[^"]+)"', amina.page, re.S)
    assert said_no
    amina.get(html.unescape(said_no.group(1)))
    amina.send("/my-plan/sharing/no")
    assert demo.get("hospital", f"Goal?patient={demo.patient}").json()["total"] == 0
    share_nothing(demo)
    assert demo.get("hospital", f"Goal?patient={demo.patient}").json()["total"] == goals


def test_she_says_no_to_the_surgery_and_takes_it_back(demo: Gateway) -> None:
    share_nothing(demo)
    amina, gp, council = as_(demo, "patient"), as_(demo, "gp"), as_(demo, "social-worker")
    page = f"/team/people/{demo.patient}"
    assert gp.get(page).status_code == council.get(page).status_code == 200
    said_no = re.search(
        r'<h3[^>]*>\s*<span class="app-words">Example Street Surgery</span>.*?href="(/my-plan/sharing/no[^"]+)"',
        amina.get("/my-plan/sharing").text, re.S,
    )  # fmt: skip
    assert said_no
    amina.get(html.unescape(said_no.group(1)))
    assert "Say no to Example Street Surgery?" in amina.words()
    assert "You said no." in amina.send("/my-plan/sharing/no").text
    assert gp.get(page).status_code == 404 and council.get(page).status_code == 200
    share_nothing(demo)
    assert gp.get(page).status_code == 200


def test_an_address_that_is_not_there_is_a_page(visitor: Visitor) -> None:
    answer = visitor.get("/static/nothing.css")
    assert answer.status_code == 404
    assert visitor.get("/static/nhsuk/nhsuk-frontend-10.6.1.min.css").status_code == 200


def test_the_team_accepts_a_hospitals_task_on_its_page_and_sees_the_plan(demo: Gateway) -> None:
    share_nothing(demo)
    nurse, page = as_(demo, "community-nurse"), f"/team/people/{demo.patient}"
    assert nurse.get(page).status_code == 404
    task = {
        "resourceType": "Task", "status": "requested", "intent": "order", "description": "Change the dressing on Friday",
        "for": {"reference": f"Patient/{demo.patient}"},
        "owner": {"identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": "RY9"}},
    }  # fmt: skip
    made = demo.call("hospital", "POST", "Task", body=task)
    assert made.status_code == 201, made.text
    nurse.get("/team")
    assert "Change the dressing on Friday" in nurse.words()
    other = as_(demo, "link-worker")
    assert "Change the dressing" not in other.get("/team").text
    action = f"/team/tasks/{made.json()['id']}/accept"
    taken = other.http.post(action, data={**nurse.fields(action)})
    assert taken.status_code in (403, 404)
    nurse.send(action)
    assert "You accepted the task." in nurse.words() and action not in nurse.page
    assert "Tasks you or your organisation took on Change the dressing on Friday Accepted" in nurse.words()
    assert nurse.get(page).status_code == 200 and "My goals" in nurse.words()
    told = "What others were asked to do Change the dressing on Friday Accepted Who does it Example Community Team"
    assert told in nurse.words()
    gp = as_(demo, "gp")
    mine = [e["resource"] for e in demo.get("gp", f"Task?patient={demo.patient}&status=accepted").json()["entry"]]
    place = next(t for t in mine if "https://fhir-gateway.example/CodeSystem/task" in str(t.get("code")))
    assert place["description"] and place["description"] not in html.unescape(gp.get("/team").text), "a confirmed place is no task"
    for who, path in (("patient", "/my-plan"), ("gp", page)):
        reader = as_(demo, who)
        reader.get(path)
        assert told in reader.words() and "such as blood pressure, has its own page. " in reader.words() and f'href="{path}/results"' in reader.page
    assert demo.get("patient", f"Task/{made.json()['id']}").json()["status"] == "accepted"


# -- consents from elsewhere --------------------------------------------------------------------------------------------


def foreign(g: Gateway, provision: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "Consent", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{g.patient}"}, "dateTime": "2026-11-20",
        "policyRule": {"coding": [{"system": "https://fhir-gateway.example/CodeSystem/policy", "code": "uk-direct-care"}]},
        "provision": provision,
    }  # fmt: skip


def test_what_may_surprise_about_a_consent_from_elsewhere_is_said_on_the_page(demo: Gateway) -> None:
    page = as_(demo, "patient")
    page.get("/my-plan/sharing")
    assert "surprise" not in page.words(), "what the page writes surprises nobody"
    only = {"type": "permit", "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Appointment"}]}
    assert demo.call("patient", "POST", "Consent", body=foreign(demo, only)).status_code == 201
    page.get("/my-plan/sharing")
    assert "What may surprise you about this" in page.words()
    assert "what they see now without your asking would end" in page.words()
    nobody = {"type": "deny", "actor": [{"role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}, "reference": {"reference": "HealthcareService/nope"}}]}
    assert demo.call("patient", "POST", "Consent", body=foreign(demo, {"provision": [nobody]})).status_code == 201
    page.get("/my-plan/sharing")
    assert "`HealthcareService/nope` is somebody we do not know: it closes nothing for anybody yet." in page.words()
