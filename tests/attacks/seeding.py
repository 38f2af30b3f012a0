"""Two people's records and everybody around them, written through the gate like anybody's: what the placeholders of the cases name.

Amber (A) shares with her GP, a voluntary worker and a hospital by a Consent of hers; Bram (B) shares with nobody but one GP, with whom
she shares, too, and whose app is opened on her (TOK_LAUNCH_A). Every text of B's has CANARY_B in it. An operator writes the directory, a registered system brings the two people in, they write the rest themselves.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey

from fhir_gateway import gate
from fhir_gateway.auth import accounts, clients, people
from fhir_gateway.domain.types import Ref
from fhir_gateway.gate import Context
from fhir_gateway.settings import Settings, load
from fhir_gateway.wiring import Wired, context_as, new_id, now, operator, wired

from ..staff import consent, permit

CANARY_A, CANARY_A_QR, CANARY_B = "Kestrel7QVXA", "Nightjar3QRA", "Capercaillie9ZWB"
NHS_A, NHS_B = "9990000034", "9990000042"
ATK = "urn:atk"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
CATEGORY = "http://hl7.org/fhir/us/core/CodeSystem/careplan-category"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
SECTORS = "https://fhir-gateway.example/CodeSystem/sector"
NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
PASSWORD_A, PASSWORD_B, PASSWORD_STAFF = "a-password-of-Amber-1", "a-password-of-Bram-22", "a-password-of-staff-3"
REDIRECT, REDIRECT_OTHER = "https://app.example/cb", "https://other.example/cb"
DATES = {
    "D0": "1979-12-31", "D1": "1980", "D2": "1980-05", "D3": "1980-05-11", "D4": "1980-05-11T16:32:15Z",
    "D5": "1980-05-11T16:32:15.500Z", "D6": "1981-01-01",
}  # fmt: skip
STAFF = {  # account -> organisation, sector, family name, roles
    "gp": ("D82001", "health", "Penhaligon", ("clinician", "declassifier")),
    "other-gp": ("D82999", "health", "Strangeways", ("clinician",)),
    "both-gp": ("D82007", "health", "Bothways", ("clinician",)),
    "vcse": ("VX901", "voluntary", "Lightfoot", ()),
    "gp-expired": ("D82002", "health", "Yesterday", ("clinician",)),
    "gp-future": ("D82003", "health", "Tomorrow", ("clinician",)),
    "gp-error": ("D82004", "health", "Mistaken", ("clinician",)),
    "gp-none": ("D82005", "health", "Nobody", ("clinician",)),
    "deactivated": ("D82006", "health", "Retired", ("clinician",)),
    "admin": ("QX9", "health", "Keymaster", ("operator", "privacy-officer", "registrar")),
}


@dataclass
class Seeded:
    """What was written: placeholder to id or value, and the private keys of the systems that were registered."""

    values: dict[str, str] = field(default_factory=dict)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)  # client id -> private JWK

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Seeded:
        return cls(**json.loads(file.read_text()))


def settings(data: Path, base: str, allowed: str) -> dict[str, str]:
    """The environment of a gateway whose records are in `data`. `allowed` is the one host that it may call, by its partner's address."""
    host, _, port = base.removeprefix("http://").rpartition(":")
    return {
        "GATEWAY_DATA": str(data), "GATEWAY_HOST": host, "GATEWAY_PORT": port, "GATEWAY_REMOTE_URL": f"http://{allowed}/fhir",
        "GATEWAY_REMOTE_ORGANISATION": "RY9", "GATEWAY_REMOTE_DIRECTION": "in", "GATEWAY_REMOTE_POLL_SECONDS": "3600",
    }  # fmt: skip


def seed(data: Path, base: str, allowed: str) -> Seeded:
    """Write everything into an empty folder. Raises what the gate raises: nothing is left out silently."""
    return asyncio.run(_seed(loaded(data, base, allowed)))


def loaded(data: Path, base: str, allowed: str) -> Settings:
    given = {k.removeprefix("GATEWAY_").lower(): v for k, v in settings(data, base, allowed).items()}
    return load(**given)


async def _seed(s: Settings) -> Seeded:
    async with wired(s) as w:
        out = Seeded()
        await _directory(w, out)
        await _clients(w, out)
        county = await context_as(w, "county")
        out.values |= {"PAT_A": await _person(county, "Amber", "Siân", NHS_A, CANARY_A), "PAT_B": await _person(county, CANARY_B, CANARY_B, NHS_B, CANARY_B)}
        for who, password in (("a", PASSWORD_A), ("b", PASSWORD_B)):
            await people.add(w.store, people.Account(f"person-{who}", f"Patient/{out.values[f'PAT_{who.upper()}']}", "", purpose="TREAT"), password)
        await _record_b(w, out)
        await _record_a(w, out)
        await _consents(w, out)
        await _groups(w, out)
        await accounts.close(w.store, "deactivated", accounts.Act(now(), new_id))
        await _versions(w, out)
        return out


async def made(ctx: Context, body: dict[str, Any]) -> str:
    """The id of what was created."""
    return (await gate.create(ctx, body["resourceType"], json.dumps(body).encode())).ref.id


# -- people and programs ----------------------------------------------------------------------------------------------


async def _directory(w: Wired, out: Seeded) -> None:
    ctx = operator(w)
    await made(ctx, {
        "resourceType": "Organization", "active": True, "name": "Example Community Team", "identifier": [{"system": ODS, "value": "RY9"}],
        "type": [{"coding": [{"system": SECTORS, "code": "health"}]}],
    })  # fmt: skip
    for account, (ods, sector, family, roles) in STAFF.items():
        place = await made(ctx, {
            "resourceType": "Organization", "active": True, "name": f"{family} House", "identifier": [{"system": ODS, "value": ods}],
            "type": [{"coding": [{"system": SECTORS, "code": sector}]}],
        })  # fmt: skip
        person = await made(ctx, {"resourceType": "Practitioner", "active": account != "deactivated", "name": [{"family": family, "given": ["Pat"]}]})
        await made(ctx, {
            "resourceType": "PractitionerRole", "active": True, "practitioner": {"reference": f"Practitioner/{person}"},
            "organization": {"reference": f"Organization/{place}"},
        })  # fmt: skip
        key = account.upper().replace("-", "_")
        out.values |= {f"PRAC_{key}": person, f"ORG_{key}": place, f"PRAC_{key}_NAME": family}
        one = people.Account(
            account, f"Practitioner/{person}", f"Pat {family}", organisation=f"Organization/{place}", roles=roles, purpose="TREAT"
        )
        await people.add(w.store, one, PASSWORD_STAFF)
    hosp = await made(ctx, {
        "resourceType": "Organization", "active": True, "name": "Hospital One", "identifier": [{"system": ODS, "value": "RX9"}],
        "type": [{"coding": [{"system": SECTORS, "code": "health"}]}],
    })  # fmt: skip
    county = await made(ctx, {
        "resourceType": "Organization", "active": True, "name": "County Records", "identifier": [{"system": ODS, "value": "RC9"}],
        "type": [{"coding": [{"system": SECTORS, "code": "health"}]}],
    })  # fmt: skip
    v = out.values
    v |= {"ORG_HOSP1": hosp, "ORG_COUNTY": county, "PRAC_OTHER": v["PRAC_OTHER_GP"], "ORG_OTHER": v["ORG_OTHER_GP"], "PRAC_OTHER_NAME": v["PRAC_OTHER_GP_NAME"]}


async def _clients(w: Wired, out: Seeded) -> None:
    for name, scopes, contributor in (("hosp1", "system/*.cruds", True), ("county", "system/*.cruds", True), ("other-system", "system/*.rs", False)):
        key = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384", "kid": f"{name}-1"}, private=True)
        out.keys[name] = key.as_dict(private=True)
        place = out.values["ORG_HOSP1" if name == "hosp1" else "ORG_COUNTY"]
        await clients.add(w.store, clients.Client(
            name, "system", name, scopes, jwks={"keys": [key.as_dict(private=False)]}, organisation=f"Organization/{place}", purpose="TREAT",
            contributor=contributor,
        ))  # fmt: skip
    scopes = "openid fhirUser launch/patient offline_access patient/*.cruds user/*.cruds"
    await clients.add(w.store, clients.Client("app-public", "app", "An app", scopes, (REDIRECT,)))
    await clients.add(w.store, clients.Client("app-other", "app", "Another app", scopes, (REDIRECT_OTHER, REDIRECT)))
    out.values |= {"CLIENT_PUB": "app-public", "CLIENT_OTHER": "app-other", "CLIENT_SYS": "hosp1", "CLIENT_OTHER_SYS": "other-system"}


async def _person(ctx: Context, family: str, given: str, number: str, canary: str) -> str:
    return await made(ctx, {
        "resourceType": "Patient", "active": True, "name": [{"family": family, "given": [given]}], "birthDate": "1961-06-01",
        "identifier": [{"system": NHS_NUMBER, "value": number}, {"system": ATK, "value": f"{canary}-patient"}],
        "address": [{"line": [f"1 {canary} Street"], "city": canary}], "telecom": [{"system": "email", "value": f"{canary}@example.org"}],
    })  # fmt: skip


# -- their records ----------------------------------------------------------------------------------------------------


def text(words: str) -> dict[str, Any]:
    return {"status": "additional", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{words}</div>'}


def category(code: str) -> dict[str, Any]:
    return {"category": [{"coding": [{"system": CATEGORY, "code": code}], "text": code}]}


def plan(person: str, canary: str, *goals: str, kind: str = "assess-plan", **more: Any) -> dict[str, Any]:
    named = {"goal": [{"reference": f"Goal/{g}"} for g in goals]} if goals else {}
    return {
        "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": {"reference": f"Patient/{person}"}, "title": f"{canary} plan",
        "description": f"{canary} description", "text": text(f"{canary} narrative"), "note": [{"text": f"{canary} note"}], **category(kind),
        **named, **more,
    }  # fmt: skip


def goal(person: str, canary: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": f"{canary} goal"}, "subject": {"reference": f"Patient/{person}"},
        "note": [{"text": f"{canary} note"}], **more,
    }  # fmt: skip


def answers(person: str, canary: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "QuestionnaireResponse", "status": "completed", "subject": {"reference": f"Patient/{person}"},
        "item": [{"linkId": "1", "text": f"{canary} question", "answer": [{"valueString": f"{canary} answer"}]}], **more,
    }  # fmt: skip


async def _record_b(w: Wired, out: Seeded) -> None:
    me, v, c = await context_as(w, "person-b"), out.values, CANARY_B
    person = {"reference": f"Patient/{v['PAT_B']}"}
    v["GOAL_B_IDENT"] = "goal-of-b"  # cases send it: it must not be the canary
    v["GOAL_B"] = await made(me, goal(v["PAT_B"], c, identifier=[{"system": ATK, "value": v["GOAL_B_IDENT"]}]))
    v["CP_B"] = await made(me, plan(v["PAT_B"], c, v["GOAL_B"]))
    v["CP_B_2"] = await made(me, plan(v["PAT_B"], c))
    v["QR_B"] = await made(me, answers(v["PAT_B"], c, authored="2026-05-01", identifier={"system": ATK, "value": f"{c}-qr"}))
    v["BIN_B"] = await made(me, {"resourceType": "Binary", "contentType": "text/plain", "securityContext": person, "data": b64encode(c.encode()).decode()})
    v["DOC_B"] = await made(me, {
        "resourceType": "DocumentReference", "status": "current", "subject": person, "description": c,
        "content": [{"attachment": {"contentType": "text/plain", "title": c, "url": f"Binary/{v['BIN_B']}"}}],
    })  # fmt: skip
    v["LIST_B"] = await made(me, {
        "resourceType": "List", "status": "current", "mode": "working", "title": c, "subject": person, "entry": [{"item": {"reference": f"CarePlan/{v['CP_B']}", "display": c}}],
    })  # fmt: skip
    v["PROV_B"] = await made(me, {
        "resourceType": "Provenance", "target": [{"reference": f"CarePlan/{v['CP_B']}", "display": c}], "recorded": "2026-05-01T10:00:00Z",
        "agent": [{"who": person}], "reason": [{"text": c}],
    })  # fmt: skip
    v["CONSENT_B"] = await made(me, consent(v["PAT_B"], permit(f"Practitioner/{v['PRAC_DEACTIVATED']}", id="b-own-gp")))


async def _record_a(w: Wired, out: Seeded) -> None:
    me, v, c = await context_as(w, "person-a"), out.values, CANARY_A
    person, pat = {"reference": f"Patient/{v['PAT_A']}"}, v["PAT_A"]
    v["GOAL_A"] = await made(me, goal(pat, c, startDate="2026-03-01", identifier=[{"system": ATK, "value": "goal-of-a"}]))
    v["GOAL_A_DENIED"] = await made(me, goal(pat, c))
    v["GOAL_A_DELETED"] = await made(me, goal(pat, c))
    await gate.remove(me, Ref("Goal", v["GOAL_A_DELETED"]), if_match=1)
    v["CP_A"] = await made(me, plan(pat, c, v["GOAL_A"], period={"start": "2026-01-01"}, identifier=[{"system": ATK, "value": "plan-of-a"}]))
    v["CP_A_XREF"] = await made(me, plan(pat, c, v["GOAL_B"]))
    v["CP_A_OTHER_CATEGORY"] = await made(me, plan(pat, c, kind="longitudinal"))
    restricted = {"security": [{"system": CONFIDENTIALITY, "code": "R"}]}
    v["CP_A_RESTRICTED"] = await made(me, plan(pat, c, meta=restricted))
    v["QR_A_HIDDEN_IDENT"] = "qr-of-a-hidden"
    v["QR_A"] = await made(me, answers(pat, CANARY_A_QR, authored="2026-05-01", identifier={"system": ATK, "value": v["QR_A_HIDDEN_IDENT"]}))
    for name, authored in DATES.items():
        v[name] = await made(me, answers(pat, "When", authored=authored, questionnaire="urn:atk:dates", identifier={"system": ATK, "value": name}))
    v["DTZ"] = await made(me, answers(pat, "When", authored="2026-06-15T23:30:00Z", questionnaire="urn:atk:tz", identifier={"system": ATK, "value": "DTZ"}))
    html = b64encode(b"<html><script>alert('stored')</script></html>").decode()
    v["BIN_A_HTML"] = await made(me, {"resourceType": "Binary", "contentType": "text/html", "securityContext": person, "data": html})
    v["N_CP_VISIBLE_A"] = "4"
    v["CP_A_UPPER"] = v["CP_A"].upper()
    b = await context_as(w, "person-b")
    v["CP_B_XREF"] = await made(b, plan(v["PAT_B"], CANARY_B, v["GOAL_A"]))


async def _consents(w: Wired, out: Seeded) -> None:
    """CONSENT_A lets in the GP (all, restricted too, but one goal and one answer), the voluntary worker and the hospital."""
    me, v = await context_as(w, "person-a"), out.values

    def prac(key: str) -> str:
        return f"Practitioner/{v[f'PRAC_{key}']}"

    level = {"securityLabel": [{"system": CONFIDENTIALITY, "code": "R"}]}
    normal = {"securityLabel": [{"system": CONFIDENTIALITY, "code": "N"}]}
    parts = [{"system": RESOURCE_TYPES, "code": t} for t in ("CarePlan", "Goal")]
    hidden = [{"meaning": "instance", "reference": {"reference": r}} for r in (f"Goal/{v['GOAL_A_DENIED']}", f"QuestionnaireResponse/{v['QR_A']}")]
    v["CONSENT_A"] = await made(me, consent(
        v["PAT_A"], permit(prac("GP"), id="gp", **level), permit(prac("GP"), type="deny", id="gp-not", data=hidden),
        permit(prac("VCSE"), id="vcse", **{"class": parts}, **normal), permit(f"Organization/{v['ORG_HOSP1']}", id="hosp", **normal),
    ))  # fmt: skip
    await made(me, consent(v["PAT_A"], permit(prac("BOTH_GP"), **level)))
    await made(await context_as(w, "person-b"), consent(v["PAT_B"], permit(prac("BOTH_GP"), **level)))
    today = datetime.now(UTC)
    for key, period, status in (
        ("GP_EXPIRED", {"start": "2020-01-01", "end": "2021-01-01"}, "active"),
        ("GP_FUTURE", {"start": (today + timedelta(days=400)).date().isoformat()}, "active"),
        ("GP_ERROR", {}, "entered-in-error"),
        ("DEACTIVATED", {}, "active"),
    ):
        said = permit(prac(key), **level, **({"period": period} if period else {}))
        v[f"CONSENT_A_{key}"] = await made(me, consent(v["PAT_A"], said, status=status))


async def _groups(w: Wired, out: Seeded) -> None:
    v = out.values
    members = [{"entity": {"reference": f"Patient/{v[p]}"}} for p in ("PAT_A", "PAT_B")]
    body = {"resourceType": "Group", "type": "person", "actual": True, "active": True, "name": f"Everybody {CANARY_B}", "member": members}
    v["GROUP_ALL"] = await made(await context_as(w, "county"), body)
    for who in "AB":
        (row,) = await w.store.notes(patient=f"Patient/{v[f'PAT_{who}']}", count=1)
        v[f"AUD_{who}"] = row.id


TYPES = {
    "PAT": "Patient", "CP": "CarePlan", "GOAL": "Goal", "QR": "QuestionnaireResponse", "CONSENT": "Consent", "BIN": "Binary", "DOC": "DocumentReference",
    "PROV": "Provenance", "LIST": "List", "GROUP": "Group", "PRAC": "Practitioner", "ORG": "Organization",
}  # fmt: skip


async def _versions(w: Wired, out: Seeded) -> None:
    """`X_ETAG` for everything that was written."""
    for name, id in list(out.values.items()):
        type = TYPES.get(name.partition("_")[0])
        stored = await w.store.get(Ref(type, id)) if type and len(id) == 36 else None
        if stored is not None:
            out.values[f"{name}_ETAG"] = f'W/"{stored.version}"'
