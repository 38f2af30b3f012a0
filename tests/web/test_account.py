"""One's own sign-in by forms: the level shown, sign out everywhere, apps with access, the officer's step-up."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import msgspec
import pytest

from fhir_gateway.auth import clients, sessions
from fhir_gateway.auth.kept import digest, pack
from fhir_gateway.domain.types import Keep
from tests.conftest import gateway
from tests.staff import _with, run
from tests.web import every_page
from tests.web.test_doors import PASSWORD, Visitor, as_
from tests.web.test_urgent import GLASS, filled

if TYPE_CHECKING:
    from tests.conftest import Gateway

BACK = "http://127.0.0.1:9/back"
VERIFIER = "v" * 50


@pytest.fixture
def app(demo: Gateway) -> str:
    scopes = "openid fhirUser offline_access launch/patient patient/*.rs"
    run(_with(demo, lambda store: clients.change(store, clients.Client("plan-pal", "app", "Plan Pal", scopes, (BACK,)))))
    return "plan-pal"


def let_in(demo: Gateway, v: Visitor, app: str) -> dict[str, Any]:
    """The person lets the app in; what the token endpoint answers."""
    challenge = base64.urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code", "client_id": app, "redirect_uri": BACK, "aud": f"{demo.base}/fhir", "scope": "openid offline_access patient/*.rs",
        "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    v.get(f"/oauth/authorize?{urlencode(asked)}")
    form = {**v.fields("/oauth/authorize"), "decision": "approve"}
    answer = v.http.post("/oauth/authorize", data=form, follow_redirects=False)
    (code,) = parse_qs(urlsplit(answer.headers["location"]).query)["code"]
    return token(demo, grant_type="authorization_code", client_id=app, redirect_uri=BACK, code=code, code_verifier=VERIFIER)


def token(demo: Gateway, **form: str) -> dict[str, Any]:
    return dict(httpx2.post(f"{demo.base}/oauth/token", data=form).json())


def reads(demo: Gateway, bearer: str) -> int:
    return demo.call(None, "GET", f"Patient/{demo.patient}", headers={"Authorization": f"Bearer {bearer}"}).status_code


@pytest.fixture
def amina(demo: Gateway) -> Iterator[Visitor]:
    v = as_(demo, "patient")
    yield v
    v.http.close()


def test_the_level_of_assurance_is_shown_in_plain_words(demo: Gateway, amina: Visitor) -> None:
    amina.get("/my-plan")
    assert "Identity check: High" in amina.page and 'href="/account"' in amina.page
    amina.get("/account")
    assert "High: we have checked who you are" in amina.words() and "Here , since" in amina.words()
    worker = as_(demo, "gp")
    worker.get("/account")
    assert "Example Street Surgery" in worker.words() and "You may open a record in an emergency" in worker.words()
    assert "High: a smartcard or a security key" in worker.words()


@pytest.mark.parametrize("path", ["/account", "/account/apps"])
def test_only_who_is_signed_in_has_the_pages(demo: Gateway, path: str) -> None:
    assert Visitor(demo).get(path).url.path == "/sign-in"


def test_signing_out_everywhere_ends_every_browser_and_nobody_else_s(demo: Gateway, amina: Visitor) -> None:
    phone, worker = as_(demo, "patient"), as_(demo, "gp")
    amina.get("/account")
    assert amina.words().count("last used") >= 2
    assert amina.http.post("/account/sign-out-everywhere", data={"form_token": "x"}).status_code == 403
    assert phone.get("/my-plan").url.path == "/my-plan", "a form from elsewhere ends nothing"
    amina.send("/account/sign-out-everywhere")
    assert "You are signed out everywhere" in amina.words()
    assert amina.get("/my-plan").url.path == "/sign-in" and phone.get("/my-plan").url.path == "/sign-in"
    assert worker.get("/team").url.path == "/team"
    again = as_(demo, "patient")
    again.get("/my-plan/who-looked?mine=yes")
    assert "Signed out everywhere Allowed" in again.words()


def test_an_app_is_listed_and_stopped_with_all_its_tokens(demo: Gateway, amina: Visitor, app: str) -> None:
    held, other = let_in(demo, amina, app), let_in(demo, amina, app)
    assert reads(demo, held["access_token"]) == 200
    leila = as_(demo, "proxy")
    leila.get("/account/apps")
    assert "You have let no app in" in leila.words()
    assert leila.http.post(f"/account/apps/{app}/stop", data=leila.fields("/sign-out")).status_code == 404
    amina.get("/account/apps")
    assert "Plan Pal" in amina.words() and "read, search: everything in the plan (of one person)" in amina.words()
    assert reads(demo, held["access_token"]) == 200
    amina.send(f"/account/apps/{app}/stop")
    assert "The app is stopped" in amina.words() and "You have let no app in" in amina.words()
    assert reads(demo, held["access_token"]) == 401 and reads(demo, other["access_token"]) == 401
    for tokens in (held, other):
        assert token(demo, grant_type="refresh_token", client_id=app, refresh_token=tokens["refresh_token"])["error"] == "invalid_grant"
    assert reads(demo, let_in(demo, amina, app)["access_token"]) == 200, "they may let it in again"
    amina.get("/my-plan/who-looked?mine=yes")
    assert "You What they did Stopped the app Plan Pal Allowed" in amina.words()
    amina.get("/my-plan/who-looked")
    assert "Plan Pal, for you What they did Looked at your plan or record" in amina.words(), amina.words()
    assert "You What they did Let in the app Plan Pal" in amina.words() and "You What they did Stopped the app Plan Pal" in amina.words()
    mine = demo.get("patient", "AuditEvent?subtype=authorize,app-stopped").json()["entry"]
    assert {e["resource"]["subtype"][0]["code"] for e in mine} == {"authorize", "app-stopped"}
    agents = [a for e in demo.get("patient", "AuditEvent?subtype=read&_count=100").json()["entry"] for a in e["resource"]["agent"]]
    apps = [a for e in mine for a in e["resource"]["agent"] if a["requestor"]]
    assert {a.get("name") for a in apps} == {"Amina Example"}, "an app's rows carry the person's name, as the pages' do"
    assert not [a for a in agents if a.get("name") == "amina"]


def grown_old(demo: Gateway, v: Visitor, minutes: int = 10) -> None:
    """The session as it is when its person signed in some time ago."""

    async def doing(store: Any) -> None:
        key = digest(v.http.cookies["session"])
        row = msgspec.json.decode(await store.kept(sessions.SESSION, key, datetime.now(UTC)), type=sessions.Row)
        assert row.caller.signed_in is not None
        caller = replace(row.caller, signed_in=row.caller.signed_in - timedelta(minutes=minutes))
        await store.commit(Keep(sessions.SESSION, key, pack(replace(row, caller=caller)), datetime.now(UTC) + timedelta(minutes=20)))

    run(_with(demo, doing))


def test_an_officer_who_signed_in_a_while_ago_proves_it_again_before_a_review(demo: Gateway) -> None:
    sam = as_(demo, "stranger")
    filled(sam, "/team/emergency", GLASS)
    officer = as_(demo, "privacy-officer")
    officer.get("/privacy")
    assert 'name="password"' not in officer.page
    grown_old(demo, officer)
    officer.get("/privacy")
    id = re.findall(r"/privacy/([^/\"]+)/end", officer.page)[-1]
    for wrong in ("", "not this one"):
        officer.send(f"/privacy/{id}/review", outcome="justified", words="As the ward says", password=wrong)
        assert "We ask again because" in officer.words() and "As the ward says" in officer.page
        officer.send(f"/privacy/{id}/end", password=wrong)
        assert "We ask again because" in officer.words()
    assert demo.get("stranger", f"Patient/{demo.patient}").status_code == 200
    officer.send(f"/privacy/{id}/end", password=PASSWORD)
    assert "It is ended" in officer.words() and demo.get("stranger", f"Patient/{demo.patient}").status_code == 404
    officer.send(f"/privacy/{id}/review", outcome="justified", words="As the ward says", password=PASSWORD)
    assert "Your review is saved" in officer.words() and PASSWORD not in officer.page


def test_an_officer_turns_the_pages_of_a_long_queue_and_a_mistake_stays_on_its_page(demo: Gateway) -> None:
    for n in range(26):
        asked = {"reason": f"Found on the floor, {n}", "ground": "incapacity-vital-interest"}
        assert demo.call("stranger", "POST", f"/patients/{demo.patient}/break-glass", body=asked).status_code == 201
    officer = as_(demo, "privacy-officer")
    officer.get("/privacy")
    assert officer.page.count('class="nhsuk-card"') == 25 and "Found on the floor, 25" not in officer.page
    (more,) = re.findall(r'href="/privacy\?(after=[^"]+)"', officer.page)
    officer.get(f"/privacy?{more}")
    assert "Found on the floor, 25" in officer.page and "Show later ones" not in officer.page
    id = re.findall(r"/privacy/([^/\"]+)/end", officer.page)[-1]
    officer.send(f"/privacy/{id}/review?{more}", words="As the ward says")
    assert "Choose one" in officer.words() and "As the ward says" in officer.page and "Found on the floor, 25" in officer.page
    officer.send(f"/privacy/{id}/review?{more}", outcome="justified", words="As the ward says")
    assert "Your review is saved" in officer.words()
    officer.get("/privacy?show=reviewed")
    assert "Found on the floor, 25" in officer.page
    assert officer.get("/privacy?after=x").status_code == 400
    assert len(demo.lines("emergencies", "list", "--json")) >= 25
    demo.call("stranger", "DELETE", f"/patients/{demo.patient}/break-glass")


NEW = "lanterns over wet gravel"


def test_a_person_changes_their_password_with_the_old_one_and_everything_else_ends(demo: Gateway, app: str) -> None:
    amina, elsewhere = as_(demo, "proxy"), as_(demo, "proxy")
    amina.get("/account")
    amina.get("/account/password")
    assert amina.page.count('type="password"') == 3 and 'autocomplete="new-password"' in amina.page
    for fields, said in (
        ({"old": "not this one", "new": NEW, "again": NEW}, "This is not your password"),
        ({"old": PASSWORD, "new": NEW, "again": NEW + "x"}, "not the same"),
        ({"old": PASSWORD, "new": "short", "again": "short"}, "8 to 1,000"),
        ({"old": PASSWORD, "new": "password1", "again": "password1"}, "easy to guess"),
        ({"old": PASSWORD, "new": "proxy2026", "again": "proxy2026"}, "easy to guess"),
    ):
        assert amina.send("/account/password", **fields).status_code == 400 and said in amina.words()
        assert NEW not in amina.page and PASSWORD not in amina.page
    elsewhere.get("/account")
    assert "My sign-in" in elsewhere.words(), "nothing has changed yet"
    amina.send("/account/password", old=PASSWORD, new=NEW, again=NEW)
    assert "You have a new password" in amina.words()
    elsewhere.get("/account")
    assert "Your password" in elsewhere.words(), "signed out"
    amina.get("/account/password")
    amina.send("/account/password", old=NEW, new=PASSWORD, again=PASSWORD)
    assert "You have a new password" in amina.words()


def test_signing_out_clears_what_the_browser_keeps(demo: Gateway) -> None:
    v = as_(demo, "gp")
    v.get("/account")
    answer = v.http.post("/sign-out", data=v.fields("/sign-out"), follow_redirects=False)
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"' and "Max-Age=0" in answer.headers["Set-Cookie"]


# -- leaving ------------------------------------------------------------------------------------------------------------

WEATHER = "https://www.bbc.co.uk/weather"


def left(v: Visitor, form: Any, **headers: str) -> httpx2.Response:
    answer = v.http.post("/leave", data=form, headers=headers, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["Location"] == WEATHER, "it leads away whatever is wrong"
    return answer


def signed_in(v: Visitor) -> bool:
    return v.http.get("/account", follow_redirects=False).status_code == 200


def test_leaving_ends_the_session_and_is_a_line_in_the_log(demo: Gateway) -> None:
    v, elsewhere = as_(demo, "patient"), as_(demo, "patient")
    old = dict(v.http.cookies)
    answer = left(v, v.fields("/leave"))
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"' and answer.headers["Cache-Control"] == "no-store"
    assert "Max-Age=0" in answer.headers["Set-Cookie"] and "session" not in v.http.cookies
    v.http.cookies.update(old)
    assert not signed_in(v), "whoever kept the cookie has nothing of it"
    assert signed_in(elsewhere), "another browser is another session"
    elsewhere.get("/my-plan/who-looked?what=signed")
    assert "Signed out Allowed" in elsewhere.words(), elsewhere.words()


def test_the_address_of_leaving_and_a_form_from_elsewhere_end_nothing(demo: Gateway) -> None:
    v, other = as_(demo, "patient"), as_(demo, "patient")
    form = v.fields("/leave")
    assert v.http.get("/leave", follow_redirects=False).headers["Location"] == WEATHER
    assert not left(v, form, Origin="https://evil.example").headers.keys() & {"clear-site-data", "set-cookie"}, "nor takes anything away"
    left(v, form, **{"Sec-Fetch-Site": "cross-site"})
    left(v, {})
    left(v, other.fields("/leave"))
    left(v, {"x": "y" * 70_000}, **{"Sec-Fetch-Site": "same-origin"})
    assert signed_in(v)


def test_an_old_page_of_this_browser_leaves_as_well(demo: Gateway) -> None:
    """Its form token is of a session that has another name by now: the browser itself says that the page is ours."""
    v = as_(demo, "patient")
    old = v.fields("/leave")
    v.sign_in("patient")
    left(v, old, Origin="https://evil.example", **{"Sec-Fetch-Site": "same-origin"})
    assert signed_in(v)
    left(v, old, **{"Sec-Fetch-Site": "same-origin"})
    assert not signed_in(v)


def test_leaving_comes_first_on_every_page_of_a_person_or_a_relative_and_on_no_other(demo: Gateway) -> None:
    """On everybody's: to have it tells nothing of anybody."""
    amina, leila = as_(demo, "patient"), as_(demo, "proxy")
    own = [p for p in every_page.LOOKED if "{" not in p and p != "/my-plan/telling/code" and p.startswith(("/account", "/my-plan", "/services", "/asked", "/forms"))]
    assert len(own) > 15
    for v, paths in ((amina, ["/", *own, "/team"]), (leila, ["/team", "/my-plan/sharing", f"/team/people/{demo.patient}"])):
        for path in paths:
            answer = v.get(path)
            first, second = re.findall(r'<(?:a|button|input(?! type="hidden")|select|summary)\b[^>]*>', answer.text)[:2]
            assert "nhsuk-skip-link" in first and "app-leave__button" in second, path
            assert f"form-action 'self' {WEATHER.removesuffix('/weather')};" in answer.headers["Content-Security-Policy"], path
    for v in (as_(demo, "gp"), as_(demo, "privacy-officer"), Visitor(demo)):
        for path in ("/", "/account", "/team"):
            answer = v.get(path)
            assert "app-leave" not in answer.text and "form-action 'self';" in answer.headers["Content-Security-Policy"], path


def test_on_an_https_address_browsers_are_told_to_stay_on_it(tmp_path: Path) -> None:
    with gateway(tmp_path, GATEWAY_BASE_URL="https://care.example") as g:
        for path in ("/", "/health", "/fhir/metadata", "/fhir/Patient", "/openapi.json", "/nowhere", "/static/app.css"):
            answer = g.get(None, path)
            assert answer.headers["Strict-Transport-Security"] == "max-age=63072000; includeSubDomains", path
            assert answer.headers["X-Content-Type-Options"] == "nosniff", path


def test_every_answer_says_what_a_browser_may_do_with_it(demo: Gateway) -> None:
    for path in ("/", "/health", "/metrics", "/fhir/metadata", "/fhir/Patient", "/openapi.json", "/nowhere", "/plans", "/oauth/jwks", "/static/app.css"):
        answer = demo.get(None, path)
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; "), path
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], path
        assert answer.headers["Referrer-Policy"] == ("same-origin" if path == "/" else "no-referrer"), path
        assert "Strict-Transport-Security" not in answer.headers, "plain http on this machine"
    read = demo.get("patient", f"Patient/{demo.patient}")
    assert read.status_code == 200 and read.headers["Referrer-Policy"] == "no-referrer" and "Content-Security-Policy" in read.headers
    refused = demo.call("patient", "POST", "Patient", body={"resourceType": "Nothing"})
    assert refused.status_code >= 400 and refused.headers["Referrer-Policy"] == "no-referrer" and "Content-Security-Policy" in refused.headers
