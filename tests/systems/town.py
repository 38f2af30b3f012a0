"""A town with a gateway, as the people of a programme meet it: commands on the machine, sign-in by the pages, FHIR over HTTP.

Nothing here reaches inside: the operator brings organisations in by `import`, systems by `clients add`, people by `people add`; whoever
signs in types the password they were given, takes one of their own, and lets the town's app in.
"""

from __future__ import annotations

import base64
import html
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey

from ..conftest import Gateway
from ..spoken import ODS, Colleague, actor, checked, consent, id_of, permit, save
from ..web.test_doors import Visitor

GIVEN, OWN = "as the operator made it up", "four words not together"
BACK = "http://127.0.0.1:9/back"
SECTOR = "https://fhir-gateway.example/CodeSystem/sector"
JOB = "https://fhir-gateway.example/CodeSystem/role"
NHS = "https://fhir.nhs.uk/Id/nhs-number"
SNOMED = "http://snomed.info/sct"
REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACTIONS = "http://terminology.hl7.org/CodeSystem/consentaction"
TYPES = "http://hl7.org/fhir/resource-types"
NOWHERE = "0198c0de-0000-7000-8000-000000000000"  # the id of nothing
SCOPES = "openid fhirUser user/*.cruds patient/*.cruds"


class Member(Colleague):
    """Somebody signed in to the town's app; `page` is their browser."""

    def __init__(self, gateway: Gateway, user: str, token: str, organisation: str = "", code: str = "", browser: Visitor | None = None) -> None:
        super().__init__(gateway, user, token, organisation)
        self.code, self.browser = code, browser

    @property
    def id(self) -> str:
        return self.user.split("/", 1)[1]

    @property
    def page(self) -> Visitor:
        assert self.browser is not None, "a system has no browser"
        return self.browser

    def make(self, resource: dict[str, Any], expect: int = 201) -> dict[str, Any]:
        """Create it over FHIR; what its writer then reads of it."""
        made = self.call("POST", resource["resourceType"], body=resource)
        assert made.status_code == expect, f"{made.status_code} {made.text}"
        return self.read(f"{resource['resourceType']}/{id_of(made)}") if expect == 201 else made.json()

    def read(self, ref: str) -> dict[str, Any]:
        found = self.get(ref)
        assert found.status_code == 200, f"{ref}: {found.status_code} {found.text}"
        return dict(found.json())

    def find(self, search: str) -> list[dict[str, Any]]:
        """Everything a search finds."""
        found = self.get(search)
        assert found.status_code == 200, f"{search}: {found.status_code} {found.text}"
        return [e["resource"] for e in found.json().get("entry", ())]

    def one(self, search: str) -> dict[str, Any]:
        (found,) = self.find(search)
        return found

    def status(self, path: str) -> int:
        return self.get(path).status_code

    def knows_nothing_of(self, *refs: str) -> None:
        """Each of these is to them as what is not there: the same answer, and no search finds it."""
        for ref in refs:
            type = ref.split("/")[0]
            hidden, absent = self.get(ref), self.get(f"{type}/{NOWHERE}")
            assert (hidden.status_code, hidden.content) == (404, absent.content), f"{ref}: {hidden.status_code} {hidden.text}"
            assert self.total(f"{type}?_id={ref.split('/')[1]}") == 0

    def change(self, ref: str, expect: int = 200, **to: Any) -> httpx2.Response:
        """Read it, change some of it and save it, as an app does."""
        now = self.get(ref)
        assert now.status_code == 200, f"{ref}: {now.status_code} {now.text}"
        done = save(self, {k: v for k, v in (now.json() | to).items() if v is not None}, now.headers["etag"])
        assert done.status_code == expect, f"{done.status_code} {done.text}"
        return done

    def agree(self, patient: str) -> int:
        """Accept every place and task that waits for them; how many."""
        waiting = [t for t in self.find(f"Task?patient={patient}&status=requested") if self.names(t.get("owner", {}))]
        for task in waiting:
            self.change(f"Task/{task['id']}", status="accepted")
        return len(waiting)

    def names(self, owner: dict[str, Any]) -> bool:
        """Is this Reference to them, or to where they work."""
        return owner.get("reference") in (self.user, self.organisation) or owner.get("identifier", {}).get("value") == self.code

    def plan(self, patient: str) -> dict[str, Any]:
        found = self.get(f"/plans/{patient}")
        assert found.status_code == 200, found.text
        return dict(found.json())


class Person(Member):
    """Somebody whose record it is."""

    def allow(self, *rules: dict[str, Any], **more: Any) -> str:
        """Write a consent of their own: its reference."""
        made = self.call("POST", "Consent", body=consent(self.id, *rules, **more))
        assert made.status_code == 201, made.text
        return f"Consent/{id_of(made)}"

    def end(self, ref: str) -> None:
        self.change(ref, status="inactive")


@dataclass
class Town:
    """One gateway without a demo; every story has its own organisations and people in it."""

    gateway: Gateway
    folder: Path
    refs: dict[str, str] = field(default_factory=dict)
    people: int = 0

    def command(self, *args: str, stdin: str | None = None) -> list[dict[str, Any]]:
        return self.gateway.lines(*args, "--json", stdin=stdin)

    def open(self) -> Town:
        """The app by which everybody here signs in."""
        self.command("clients", "add", "town", "--name", "The town's app", "--redirect", BACK, "--scopes", SCOPES)
        return self

    def directory(self, *resources: dict[str, Any]) -> dict[str, str]:
        """What the operator brings in, confirmed: where each is here, by the id it had in the file."""
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": f"https://town.example/fhir/{r['resourceType']}/{r['id']}", "resource": r} for r in resources]}
        file = self.folder / f"directory-{secrets.token_hex(4)}.json"
        file.write_text(json.dumps(bundle))
        (line,) = self.command("import", "--as", "operator", str(file))
        assert not line["refused"], line
        found = {old.split("/fhir/")[-1]: ref for old, ref in line["refs"].items()}
        self.refs |= found
        return found

    def number(self) -> str:
        """Another NHS number of the range for tests, with its check digit."""
        while True:
            self.people += 1
            nine = f"9990{self.people + 200:05}"
            check = 11 - sum(int(d) * w for d, w in zip(nine, range(10, 1, -1), strict=True)) % 11
            if check != 10:
                return nine + str(check % 11)

    # -- who signs in ------------------------------------------------------------------------------------------------

    def account(self, name: str, who: str, *more: str) -> tuple[Visitor, str]:
        """An account, its owner's first sign-in, and a token of the town's app: (browser, token)."""
        self.command("people", "add", name, "--who", who, *more, "--password-file", "-", stdin=f"{GIVEN}\n")
        browser = Visitor(self.gateway)
        browser.sign_in(name, GIVEN)
        browser.send("/sign-in/first-password", username=name, old=GIVEN, new=OWN, again=OWN)
        return browser, self.token(browser)

    def token(self, browser: Visitor, app: str = "town", scopes: str = SCOPES) -> str:
        """The person agrees on the page that the town's app, or another, may act for them."""
        verifier = secrets.token_urlsafe(40)
        challenge = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code", "client_id": app, "redirect_uri": BACK, "state": "s", "aud": f"{self.gateway.base}/fhir",
            "scope": scopes, "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        page = browser.get(f"/oauth/authorize?{urlencode(asked)}").text
        fields = {n: html.unescape(v) for n, v in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page)}
        agreed = browser.http.post("/oauth/authorize", data=fields | {"decision": "approve"}, follow_redirects=False)
        assert agreed.status_code == 303, agreed.text
        (code,) = parse_qs(urlsplit(agreed.headers["location"]).query)["code"]
        form = {"grant_type": "authorization_code", "client_id": app, "redirect_uri": BACK, "code_verifier": verifier, "code": code}
        given = browser.http.post("/oauth/token", data=form)
        assert given.status_code == 200, given.text
        return str(given.json()["access_token"])


@dataclass
class Programme:
    """One story: its organisations, staff, systems and people. `key` keeps its names apart from those of other stories."""

    town: Town
    key: str
    codes: dict[str, str] = field(default_factory=dict)
    waiting: list[dict[str, Any]] = field(default_factory=list)  # organisations that the operator has not brought in yet

    # -- organisations and staff -------------------------------------------------------------------------------------

    def places(self, **places: str) -> None:
        """Organisations: name and sector. Their ODS codes are of this story alone."""
        for name, sector in places.items():
            self.codes[name] = f"{self.key}{len(self.codes) + 1:02}".upper()
            self.waiting.append({
                "resourceType": "Organization", "id": f"{self.key}-{name}", "active": True, "name": self.called(name),
                "identifier": [{"system": ODS, "value": self.codes[name]}], "type": [{"coding": [{"system": SECTOR, "code": sector}]}],
            })  # fmt: skip

    def settled(self, *more: dict[str, Any]) -> dict[str, str]:
        """The operator brings in whoever waits, with these: where each of these is here."""
        waiting, self.waiting = [*self.waiting, *more], []
        return self.town.directory(*waiting) if waiting else {}

    def called(self, name: str) -> str:
        return f"{name.replace('_', ' ').title()} ({self.key})"

    def place(self, name: str) -> str:
        """The organisation's reference here."""
        self.settled()
        return self.town.refs[f"Organization/{self.key}-{name}"]

    def staff(self, **who: tuple[str, str] | tuple[str, str, tuple[str, ...]]) -> list[Member]:
        """Colleagues: (place, job[, roles of the sign-in]), who sign in."""
        resources: list[dict[str, Any]] = []
        for name, (place, job, *_) in who.items():
            resources += [
                {"resourceType": "Practitioner", "id": f"{self.key}-{name}", "active": True, "name": [{"family": self.key.title(), "given": [name.title()]}]},
                {
                    "resourceType": "PractitionerRole", "id": f"{self.key}-{name}-role", "active": True,
                    "practitioner": {"reference": f"Practitioner/{self.key}-{name}"}, "organization": {"reference": self.town.refs.get(own := f"Organization/{self.key}-{place}", own)},
                    "code": [{"coding": [{"system": JOB, "code": job}], "text": job}],
                },
            ]  # fmt: skip
        refs = self.settled(*resources)
        out = []
        for name, (place, _, *rest) in who.items():
            user = refs[f"Practitioner/{self.key}-{name}"]
            roles = [part for role in (rest[0] if rest else ()) for part in ("--role", role)]
            browser, token = self.town.account(f"{self.key}-{name}", user, "--organisation", self.codes[place], *roles)
            out.append(Member(self.town.gateway, user, token, self.place(place), self.codes[place], browser))
        return out

    def again(self, who: Member, name: str) -> Member:
        """The same, signed in anew, after something of their account changed."""
        browser = Visitor(self.town.gateway)
        browser.sign_in(f"{self.key}-{name}", OWN)
        return type(who)(self.town.gateway, who.user, self.town.token(browser), who.organisation, who.code, browser)

    def system(self, name: str, place: str, *more: str, scopes: str = "system/*.cruds") -> Member:
        """A registered system of a place, which proves itself by its own key."""
        key = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, private=True)
        self.settled()
        id, file = f"{self.key}-{name}", self.town.folder / f"{self.key}-{name}.jwks"
        file.write_text(json.dumps({"keys": [key.as_dict(private=False) | {"kid": key.thumbprint()}]}))
        self.town.command("clients", "add", id, "--keys", str(file), "--organisation", self.codes[place], "--scopes", scopes, *more)
        gateway = self.town.gateway
        claims = {"iss": id, "sub": id, "aud": f"{gateway.base}/oauth/token", "exp": int((datetime.now(UTC) + timedelta(minutes=4)).timestamp()), "jti": secrets.token_hex(16)}
        said = jwt.encode({"alg": "ES384", "kid": key.thumbprint()}, claims, key, algorithms=["ES384"])
        form = {
            "grant_type": "client_credentials", "scope": scopes, "client_assertion": said,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        }  # fmt: skip
        given = httpx2.post(f"{gateway.base}/oauth/token", data=form, timeout=30)
        assert given.status_code == 200, given.text
        return Member(gateway, f"Device/{id}", given.json()["access_token"], self.place(place), self.codes[place])

    # -- people and their plans --------------------------------------------------------------------------------------

    def plan_of(self, given: str, *, born: str = "1950-03-04", team: Iterable[tuple[str, str]] = (), **more: Any) -> dict[str, Any]:
        """A plan file of somebody here; `team` is (name, place)."""
        goal = {"id": "g-1", "text": f"{given} walks to the shop and back", "needs": ["n-1"], "status": "in progress", "importance": 8}
        return {
            "plan": "1", "id": f"{self.key}-{given.lower()}", "title": f"{given}'s plan", "status": "active",
            "person": {"id": f"{self.key}-{given.lower()}", "nhs_number": self.town.number(), "name": {"given": [given], "family": self.key.title()}, "birth_date": born,
                       "address": {"lines": ["1 Sample Street"], "city": "Norwich", "postcode": "NR1 0ZZ"}, "phone": "07700 900123"},
            "team": [{"id": f"t-{n}", "name": name, "role": "colleague", "organisation": {"ods": self.codes[place], "name": self.called(place)}} for n, (name, place) in enumerate(team)],
            "needs": [{"id": "n-1", "text": "I get out of breath", "said_by": "person"}],
            "goals": [goal],
            "actions": [{"id": "a-1", "text": "Walk with Joan on Tuesdays", "goals": ["g-1"], "who": "person", "status": "planned"}],
        } | more  # fmt: skip

    def bring(self, source: Member, plan: dict[str, Any]) -> str:
        """The plan comes in from a registered system: the person's id here."""
        sent = source.call("POST", "/plans", body=plan, headers={"Content-Type": "application/json"})
        assert sent.status_code == 201, sent.text
        return str(sent.headers["location"].split("/plans/")[1])

    def person(self, name: str, patient: str) -> Person:
        """The person gets an account, and signs in."""
        browser, token = self.town.account(f"{self.key}-{name}", f"Patient/{patient}")
        return Person(self.town.gateway, f"Patient/{patient}", token, browser=browser)


def classes(*types: str) -> dict[str, Any]:
    """Of a consent's rule: these kinds of things alone."""
    return {"class": [{"system": TYPES, "code": t} for t in types]}


def actions(*codes: str) -> dict[str, Any]:
    return {"action": [{"coding": [{"system": ACTIONS, "code": c}]} for c in codes]}


def about(patient: str | Member) -> dict[str, str]:
    return {"reference": f"Patient/{patient.id if isinstance(patient, Member) else patient}"}


__all__ = ["NHS", "NOWHERE", "ODS", "SNOMED", "Member", "Person", "Programme", "Town", "about", "actions", "actor", "checked", "classes", "consent", "id_of", "permit", "save"]
