"""What the stories of referrals share: a service in the directory, a referral to it, and who sees what."""

from __future__ import annotations

import json
import secrets
from typing import Any

from ..conftest import Gateway
from ..spoken import save
from ..web.test_doors import Visitor

KINDLY = "https://fhir-gateway.example/id/organisation|org-kindly"
SOCIAL_PRESCRIBING = {"coding": [{"system": "http://snomed.info/sct", "code": "871731000000106"}]}
NEW = "urn:uuid:11111111-1111-4111-8111-111111111111"


def organisation(demo: Gateway, identifier: str) -> str:
    (found,) = demo.get("gp", f"Organization?identifier={identifier}").json()["entry"]
    return f"Organization/{found['resource']['id']}"


def brought(demo: Gateway, *resources: dict[str, Any]) -> list[str]:
    """What the operator brings in by a file of the directory: where each is here."""
    here = "https://directory.example/fhir"
    named = [{"id": f"n-{secrets.token_hex(6)}", **r} for r in resources]
    file = demo.data.parent / f"directory-{secrets.token_hex(4)}.json"
    file.write_text(json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"fullUrl": f"{here}/{r['resourceType']}/{r['id']}", "resource": r} for r in named]}))
    (line,) = demo.lines("import", "--as", "operator", str(file), "--json")
    assert not line["refused"], line
    return [line["refs"][f"{here}/{r['resourceType']}/{r['id']}"] for r in named]


def service(demo: Gateway, name: str, owner: str, category: str = "befriending") -> str:
    """The id of a new service of this organisation."""
    kind = [{"coding": [{"system": "https://fhir-gateway.example/CodeSystem/service-category", "code": category, "display": category.title()}]}]
    (ref,) = brought(demo, {"resourceType": "HealthcareService", "active": True, "name": name, "category": kind, "providedBy": {"reference": owner}})
    return ref.removeprefix("HealthcareService/")


def ask(v: Visitor, id: str, person: str = "", why: str = "") -> None:
    """On the page of the service."""
    v.get(f"/services/{id}{f'?for={person}' if person else ''}")
    done = v.send(f"/services/{id}/ask", why=why, days="30")
    assert done.status_code == 200 and "It was asked for" in done.text, done.text[:2000]


def cannot_ask(v: Visitor, id: str, person: str) -> None:
    """Who does not look after somebody asks for nothing for them, and is told what they would be of nobody."""
    said = []
    for whom in (person, "0198c0de-0000-7000-8000-000000000000"):
        v.get(f"/services/{id}?for={whom}")
        answer = v.http.post(f"/services/{id}/ask", data={**v.fields(f"/services/{id}/ask"), "why": "", "days": "30"})
        v.page = answer.text
        said.append((answer.status_code, v.words().replace(whom, "")))
    assert said[0] == said[1] and said[0][0] == 422, said


def entries(demo: Gateway, query: str, who: str = "patient") -> list[dict[str, Any]]:
    answer = demo.get(who, query)
    assert answer.status_code == 200, answer.text
    return [e["resource"] for e in answer.json().get("entry", ())]


def task_of(demo: Gateway, what: str, who: str = "patient") -> dict[str, Any]:
    (found,) = [t for t in entries(demo, f"Task?patient={demo.patient}&_count=100", who) if t.get("description") == what]
    return found


def move(demo: Gateway, task: dict[str, Any], by: str, status: str, **more: Any) -> None:
    """Whoever does it says how it stands."""
    now = demo.get(by, f"Task/{task['id']}")
    assert now.status_code == 200, now.text
    done = save(demo, now.json() | {"status": status} | more, now.headers["etag"], by=by)
    assert done.status_code == 200, done.text


def knows_nothing_of(demo: Gateway, who: str, *refs: str) -> None:
    """Each of these is to them as what is not there."""
    for ref in refs:
        type = ref.split("/")[0]
        hidden, absent = demo.get(who, ref), demo.get(who, f"{type}/0198c0de-0000-7000-8000-000000000000")
        assert (hidden.status_code, hidden.content) == (404, absent.content), f"{ref}: {hidden.status_code} {hidden.text}"
        assert demo.get(who, f"{type}?_id={ref.split('/')[1]}").json()["total"] == 0


def order(demo: Gateway, task: dict[str, Any], who: str) -> list[str]:
    """Every state of it, oldest first."""
    return [e["resource"]["status"] for e in reversed(demo.get(who, f"Task/{task['id']}/_history").json()["entry"])]
