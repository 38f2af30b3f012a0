"""Random requests over every surface, about what is here, what is hidden and what never was."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fhir_gateway.domain.types import Ref
from fhir_gateway.domain.vocabulary import HL7

from ..worlds import Dice
from .worlds import (
    DATES,
    IDS,
    JSON,
    NHS_NUMBERS,
    PATIENTS,
    PLACES,
    STAFF,
    TYPES,
    URGENT_TYPES,
    Step,
    a_reference,
    a_resource,
    choice_about,
    consent_of,
    in_an_emergency,
    looking_after,
)

ALL_TYPES = (*TYPES, "Patient", "Consent", "Organization", "Practitioner")
SORTS = ("_lastUpdated", "-_lastUpdated", "_id", "-_id")
MORE: dict[str, tuple[str, ...]] = {
    "CarePlan": ("goal={Goal}", "goal.start-date=ge2022", "goal:Goal.lifecycle-status=active", "condition.code=44054006", "goal:missing=true",
                 "subject.family=Example", "patient.birthdate=1950-01-01", "activity-reference={Task}", "goal:identifier=http://ids|r1", "part-of={CarePlan}",
                 "_include=CarePlan:goal", "_include=CarePlan:goal&_include:iterate=Goal:subject", "_include=CarePlan:*", "_include=*", "_revinclude=CarePlan:part-of",
                 "_revinclude=Provenance:target", "_revinclude=*", "care-team.participant=Practitioner/gp", "date=ge2022", "_sort=date", "status=active"),
    "Goal": ("lifecycle-status=active", "lifecycle-status:not=active", "start-date=ge2022", "start-date:missing=true", "_has:CarePlan:goal:status=active",
             "_has:CarePlan:goal:_id={CarePlan}", "_revinclude=CarePlan:goal", "_revinclude=CarePlan:goal&_include:iterate=CarePlan:goal", "_sort=start-date",
             "_sort=-start-date", "patient.family=Example", "target-date:missing=true"),
    "Observation": ("status=final", "value-quantity=gt2", "_sort=value-quantity", "_sort=-date", "code=1", "code:not=1", "derived-from={Observation}",
                    "derived-from.code=1", "_include=Observation:derived-from", "_has:Observation:derived-from:status=final", "_has:Condition:evidence-detail:_id={Condition}",
                    "focus={Goal}", "performer=Practitioner/gp", "date=2022", "performer:missing=false"),
    "Task": ("owner=Practitioner/gp", "status=requested,accepted", "patient.family=Other", "focus={Goal}", "_include=Task:focus", "based-on={CarePlan}", "_include=Task:owner"),
    "Condition": ("code=74732009", "encounter={Encounter}", "_include=Condition:encounter", "evidence-detail={Observation}", "_sort=onset-date", "_revinclude=Goal:addresses"),
    "Patient": ("family=Example", "_sort=family", "_has:Goal:patient:lifecycle-status=active", "_has:Observation:patient:code=1", "_revinclude=Goal:patient",
                "_revinclude=*", "general-practitioner=Practitioner/gp", "_revinclude=CarePlan:subject&_include:iterate=CarePlan:goal", "link={Patient}",
                "_has:Provenance:patient:_id=r1", "_has:Task:patient:_has:CarePlan:activity-reference:status=active", "_include=Patient:general-practitioner"),
    "List": ("item={Goal}", "_include=List:item", "item.lifecycle-status=active"), "Group": ("member={Patient}", "_include=Group:member"),
    "Provenance": ("target={CarePlan}", "_include=Provenance:target", "patient={Patient}", "agent=Practitioner/gp"),
    "Composition": ("entry={Goal}", "_include=Composition:entry", "subject.family=Example"),
    "DocumentReference": ("related={Goal}", "_include=DocumentReference:related"), "Encounter": ("_revinclude=Condition:encounter",),
    "CareTeam": ("participant=Practitioner/gp", "_include=CareTeam:participant"), "ServiceRequest": ("performer=Practitioner/gp", "code=44054006"),
    "Communication": ("recipient={Patient}", "_include=Communication:recipient"), "Appointment": ("actor={Patient}", "patient={Patient}"),
    "Procedure": ("reason-reference={Condition}", "_include=Procedure:reason-reference"), "RelatedPerson": ("name=Ash", "_sort=name"),
    "Organization": ("_sort=name", "_has:CareTeam:participant:status=active", "_revinclude=Task:owner"),
    "Practitioner": ("_has:Task:owner:status=accepted", "_has:CareTeam:participant:_id={CareTeam}", "_revinclude=*"),
    "Consent": ("status=active", "patient={Patient}", "actor=Practitioner/gp", "data={Goal}"),
    "Flag": ("patient={Patient}",), "QuestionnaireResponse": ("based-on={CarePlan}", "authored=ge2022"),
}  # fmt: skip
EVERY = (
    "_lastUpdated=ge2026", "_id={any}", "_tag=http://tags|r1", "_tag:missing=true", "_security=http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R",
    "_security:missing=true", "identifier=http://ids|r1", "identifier:missing=true", "patient=p1", "patient=Patient/p2", "subject=Patient/p1", "_profile:missing=true",
    "_list=r1", "_text=walk", "_content=walk", "_filter=status eq active", "_source:missing=true", "identifier:contains=r", "nothing=1",
)  # fmt: skip
SHAPE = ("_total=accurate", "_total=none", "_summary=count", "_summary=true", "_summary=data", "_elements=status,subject", "_count=1", "_count=2", "_count=3", "_count=0", "_total=estimate")


# `{ref}`: of something written, hidden or not, or never; `{who}`: somebody; `{person}`: the id of a person
MY_PAGES = (
    "/home", "/my-plan", "/my-plan", "/my-plan/who-looked", "/my-plan/who-looked?who={who}", "/my-plan/telling", "/my-plan/private", "/my-plan/private/{ref}",
    "/my-plan/private/{ref}", "/my-plan/sharing", "/my-plan/sharing", "/my-plan/sharing/new", "/my-plan/sharing/new?who={who}", "/my-plan/sharing/hide",
    "/my-plan/sharing/hide?thing={ref}", "/my-plan/sharing/only", "/my-plan/sharing/no?who={who}", "/my-plan/sharing/why", "/my-plan/sharing/why?who={who}&what={ref}",
    "/my-plan/sharing/why?who={who}&what={ref}", "/my-plan/sharing/sees?who={who}", "/my-plan/sharing/sees?who={who}&for=emergency",
)  # fmt: skip
OWNER_PAGES = tuple(p for p in MY_PAGES if p.startswith("/my-plan/sharing"))
TEAM_PAGES = ("/home", "/team", "/team", "/team/people/{person}", "/team/people/{person}", "/team/people/{person}", "/team/emergency", "/team/claim", "/team/find", "/team/telling")


@dataclass(frozen=True)
class Request(Step):
    """`edit`: what is sent is made of what this reader sees at `path` at that moment."""

    edit: str = ""

    def __str__(self) -> str:
        return super().__str__() + (f" <{self.edit}>" if self.edit else "")


class Asking:
    """Requests of one person, about resources by whatever was written in a world."""

    def __init__(self, dice: Dice, who: str, refs: Sequence[Ref], mine: Sequence[Ref] = (), *, own_kept: bool = False) -> None:
        self.dice, self.who, self.mine, self.own_kept = dice, who, mine, own_kept
        self.refs = [r for r in refs if r.type in ALL_TYPES]
        if who == "medic":
            self.refs += [r for r in self.refs if r.type in URGENT_TYPES] * 6

    def any_ref(self, type: str = "") -> str:
        found = [r for r in self.refs if not type or r.type == type]
        if not found or self.dice.one_in(8):
            return f"{type or self.dice.choice(ALL_TYPES)}/nothing"
        return str(self.dice.choice(found))

    def own_ref(self) -> str:
        """More often something that they wrote: others' they may seldom change."""
        return str(self.dice.choice(self.mine)) if self.mine and not self.dice.one_in(3) else self.any_ref()

    def filled(self, text: str) -> str:
        """`{Goal}`: the ids of one or two; `{any}`: of any type."""
        while "{" in text:
            before, _, rest = text.partition("{")
            name, _, after = rest.partition("}")
            ids = [self.any_ref("" if name == "any" else name).split("/")[1] for _ in range(self.dice.randint(1, 3))]
            text = before + ",".join(ids) + after
        return text

    def request(self, method: str, path: str, body: Any = None, edit: str = "", **headers: str) -> Request:
        return Request(self.who, method, path, body, headers=tuple((k.replace("_", "-"), v) for k, v in headers.items()), edit=edit)

    # -- reads --------------------------------------------------------------------------------------------------------

    def read(self) -> Request:
        d = self.dice
        way = d.randint(0, 29)
        ref = self.any_ref()
        type = ref.split("/")[0]
        if way == 0:
            return self.request("GET", ref + d.choice(("", "", "?_summary=true", "?_elements=status", "?_summary=text")))
        if way == 1:
            return self.request(d.choice(("GET", "HEAD")), ref, **d.choice(({"if_none_match": 'W/"1"'}, {"if_none_match": 'W/"2"'}, {"if_modified_since": "Sun, 01 Nov 2026 10:00:00 GMT"}, {"if_none_match": "*"})))
        if way == 2:
            return self.request("GET", f"{ref}/_history/{d.choice(('1', '2', '3', '9'))}")
        if way in (3, 4):
            place = d.choice((ref, ref, type, type, "", "Task", "Consent", "Patient"))
            said = [s for s in d.some(("_count=1", "_count=2", "_since=2026-11-01T09:00:01Z", "_since=2026-11-01T09:10:00Z", "_at=2026-11-01", "_at=2026-11-01T09:07:00Z", "_summary=true"), 2)]
            return self.request("GET", f"{place}/_history".lstrip("/") + ("?" + "&".join(said) if said else ""))
        if way == 5:
            return self.request("GET", f"Patient/{d.choice(('p1', 'p1', 'p2', 'p3', 'nothing'))}/{d.choice((*ALL_TYPES, '*', '*', '*'))}" + d.choice(("", "?_count=2", "?_total=accurate", "?_count=3&_sort=-_lastUpdated", "?_summary=count")))
        if way == 6:
            what = d.choice((f"Patient/{d.choice(('p1', 'p2', 'p3'))}/$everything", "Patient/$everything"))
            return self.request("GET", what + d.choice(("", "?_count=3", "?_type=Goal,CarePlan", "?start=2022-01-01&_count=4", "?_since=2026-11-01T09:05:00Z", "?end=2022-12-31&_count=2")))
        if way == 7:
            return self.request("GET", f"{self.any_ref('CarePlan')}/$document")
        if way == 8:
            return self.request("POST", f"{ref}/$validate?mode={d.choice(('update', 'delete', 'profile'))}", None if d.one_in(2) else a_resource(d, type, "p1") if type in TYPES else None)
        if way == 9:
            return self.explain(ref)
        if way == 10:
            return self.request("GET", f"/plans/{d.choice(('p1', 'p2', 'p3', 'nothing'))}")
        if way == 11:
            asked = [{"request": {"method": "GET", "url": quote(self.read_path(), safe="/?=&:,.|$-_*")}} for _ in range(d.randint(1, 4))]
            return self.request("POST", "", {"resourceType": "Bundle", "type": d.choice(("batch", "transaction")), "entry": asked})
        if way == 12:
            path, _, form = self.search_path().partition("?")
            return self.request("POST", f"{path}/_search".lstrip("/"), form, content_type="application/x-www-form-urlencoded")
        if way == 13:
            return self.request("HEAD", self.search_path())
        if way == 14:
            return self.request("GET", self.any_ref("Binary"), accept="text/plain")
        if way == 15:
            return self.request("GET", self.search_path(), x_purpose_of_use=d.choice(("TREAT", "ETREAT", "HRESCH", "CAREMGT")))
        if way == 16:
            return self.explain(ref)
        if way in (17, 18):
            return self.preview()
        if way in (19, 20):
            return self.request(d.choice(("GET", "GET", "HEAD")), f"{ref}/$meta")
        return self.request("GET", self.search_path(), **({"prefer": "handling=strict"} if d.one_in(10) else {}))

    def whole(self) -> list[Request]:
        """All of somebody who must not be found, and what searches bring along of where they are."""
        asked = ("Patient/p1/$everything?_count=200", "Patient/p1/$everything?_count=2", "Encounter?patient=p1&_include=*", "Patient?_id=p1&_include=*")
        return [self.request("GET", path) for path in asked]

    def explain(self, ref: str) -> Request:
        d = self.dice
        said = {"what": ref, **d.choice(({}, {"who": self.somebody()}, {"who": self.somebody()})), **d.choice(({}, {}, {"action": "correct"}, {"purpose": d.choice(("BTG", "HRESCH", "ETREAT"))}))}
        if d.one_in(3):
            return self.request("POST", "Consent/$explain", {"resourceType": "Parameters", "parameter": [{"name": k, "valueString": v} for k, v in said.items()]})
        return self.request("GET", "Consent/$explain?" + "&".join(f"{k}={v}" for k, v in said.items()))

    def preview(self) -> Request:
        d = self.dice
        who, mine = self.somebody(), {"other-patient": "Patient/p2"}.get(self.who, "Patient/p1")
        told: list[dict[str, Any]] = [{"name": "who", "valueString": who}]
        if not d.one_in(5):
            choice = choice_about(d, mine, who) if d.one_in(2) else consent_of(d, mine)
            told.append({"name": "consent", "resource": {**choice, **({"id": f"c{d.randint(0, 3)}"} if d.one_in(3) else {})}})
        if d.one_in(5):
            told.append({"name": "purpose", "valueString": d.choice(("TREAT", "ETREAT", "HRESCH", "BTG"))})
        return self.request("POST", "Consent/$preview", {"resourceType": "Parameters", "parameter": told})

    def somebody(self) -> str:
        return self.dice.choice((*STAFF, *PLACES, "Practitioner/sam", "Practitioner/medic", "RelatedPerson/carer", "sector:health", "CareTeam/r1"))

    def page(self) -> Request:
        """What they see in a browser, and now and then what is not for them."""
        d = self.dice
        mine = self.who in ("patient", "other-patient")
        which = MY_PAGES if mine else (*TEAM_PAGES, *TEAM_PAGES, *(OWNER_PAGES if self.who == "proxy" else ()))
        path = d.choice((*which, *which, *(TEAM_PAGES if mine else MY_PAGES)))
        return self.request("PAGE", path.format(ref=self.any_ref(), who=self.somebody(), person=d.choice((*PATIENTS, "p1", "nobody"))))

    def in_turn(self, about: str) -> list[Request]:
        """What a case of this turn asks beside all else: the first person's record, in several ways, and last a write."""
        d = self.dice
        if about == "owner":
            pages = [self.request("PAGE", p) for p in ("/my-plan", d.choice(MY_PAGES[:8]).format(ref=self.any_ref(), who=self.somebody()))]
            looks = [self.request("GET", f"{self.own_ref()}/$meta") for _ in range(3)]
            return [*pages, *looks, *(self.preview() for _ in range(3)), self.explain(self.own_ref()), self.meta(self.own_ref(), "$meta-add"), self.meta(self.own_ref(), "$meta-add")]
        if about == "urgent care":
            return [*(self.request("GET", f"{t}?patient=p1") for t in URGENT_TYPES), self.request("GET", "Flag/u0/$meta"), self.request("PAGE", "/team/people/p1")]
        if about in ("emergency", "claim"):
            types = d.sample(TYPES, 6)
            reads = [self.request("GET", p) for p in ("Patient/p1", "Patient/p1/$everything", f"{self.any_ref()}/$meta", *(f"{t}?patient=p1" for t in types))]
            last = (in_an_emergency if about == "emergency" else looking_after)(d, self.who, "p1", "p2")
            return [*reads, self.request("PAGE", "/team"), self.request("PAGE", "/team/people/p1"), self.asked(last)]
        return []

    def asked(self, step: Step) -> Request:
        return Request(*(getattr(step, f) for f in ("who", "method", "path", "body", "name", "after", "headers")))

    def read_path(self) -> str:
        return self.dice.choice((self.any_ref(), f"{self.any_ref()}/_history/1", self.search_path(), f"{self.any_ref()}/_history", "Patient/p1/*?_count=2"))

    def search_path(self) -> str:
        d = self.dice
        type = d.choice((*(URGENT_TYPES * 6 if self.who == "medic" else ()), *(t for t in ("CarePlan", "Goal", "Observation", "Patient", "Task") for _ in range(4)), *ALL_TYPES, ""))
        said = [self.filled(t) for t in d.sample(MORE.get(type, ()), min(len(MORE.get(type, ())), d.randint(0, 2)))]
        said += [self.filled(t) for t in d.some(EVERY, 1) if not (type == "Patient" and t.startswith(("patient", "subject")))]
        said += d.some(SHAPE, 2)
        if type in URGENT_TYPES and self.who == "medic":  # who has to name the person
            said.append(d.choice(("patient=p1", "patient=p2")))
        if not any(s.startswith("_sort") for s in said) and d.one_in(3):
            said.append(f"_sort={d.choice(SORTS)}")
        if not type:
            said = [s for s in said if not s.startswith(("patient", "subject", "identifier"))] + [f"_type={','.join(d.sample(ALL_TYPES, d.randint(1, 5)))}"]
        return type + "?" + "&".join(said)

    # -- writes -------------------------------------------------------------------------------------------------------

    def write(self) -> Request:
        d = self.dice
        way = d.randint(0, 20)
        ref = self.own_ref()
        type = d.choice(TYPES)
        seen = d.choice(("current",) * 6 + ("1", "2", "9", ""))
        match = {"if_match": seen} if seen else {}
        if way in (0, 1):
            return self.request("PUT", ref, edit=d.choice(("language", "nothing", "status", "fresh")), **match)
        if way in (2, 3):
            patch = d.choice(([{"op": "add", "path": "/language", "value": "en"}], [{"op": "test", "path": "/subject/reference", "value": "Patient/p1"}],
                              [{"op": "remove", "path": "/goal/0"}], [{"op": "replace", "path": "/status", "value": "completed"}], [{"op": "add", "path": "/goal/-", "value": a_reference(d, "Goal")}]))  # fmt: skip
            return self.request("PATCH", ref, patch, content_type="application/json-patch+json", **match)
        if way == 4:
            return self.request("DELETE", ref, **match)
        if way in (5, 6):
            return self.request("POST", type, a_resource(d, type, d.choice(("p1", "p1", "p2", "nobody"))), **({"prefer": d.choice(("return=minimal", "return=representation", "return=OperationOutcome"))} if d.one_in(3) else {}))
        if way == 7:
            where = self.condition()
            method = d.choice(("PUT", "PATCH", "DELETE"))
            if method == "PUT":
                return self.request("PUT", where, a_resource(d, where.split("?")[0], "p1"), **match) if where.split("?")[0] in TYPES else self.request("DELETE", where, **match)
            body = [{"op": "add", "path": "/language", "value": "cy"}] if method == "PATCH" else None
            return self.request(method, where, body, **({"content_type": "application/json-patch+json"} if body else {}), **match)
        if way == 8 and self.own_kept:
            type, _, asked = self.condition(TYPES).partition("?")
            return self.request("POST", type, a_resource(d, type, "p1"), if_none_exist=asked)
        if way == 8 and self.who in ("patient", "app", "other-patient"):
            return self.request("POST", "Consent", consent_of(d, {"other-patient": "Patient/p2"}.get(self.who, "Patient/p1")))
        if way in (9, 10, 11):
            return self.request("POST", "", self.bundle(d.choice(("transaction", "transaction", "batch"))), **({"idempotency_key": "once"} if d.one_in(3) else {}))
        if way == 12:
            plan = {"plan": "1", "id": f"plan-{d.choice(IDS)}", "title": "A plan", "status": "active", "goals": [{"id": "g1", "text": "Walk", "status": "planned"}],
                    "person": {"id": d.choice(("p1", "px")), "name": {"given": ["p1"], "family": "Example"}, "birth_date": "1950-01-01"}}  # fmt: skip
            return self.request("POST", "/plans", plan)
        if way == 13:
            said = {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
                {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": f"{ref.split('/')[0]}.status"}, {"name": "value", "valueCode": "completed"}]}]}  # fmt: skip
            return self.request("PATCH", ref, said, **match)
        if way in (16, 17):
            return self.meta(ref)
        if way == 18:
            return self.asked((in_an_emergency if d.one_in(2) else looking_after)(d, self.who))
        if way == 19:
            return self.request("DELETE", f"/patients/{d.choice(PATIENTS)}/{d.choice(('claims', 'break-glass'))}")
        if way == 20:
            person = d.choice(PATIENTS)
            paper = {"nhs_number": NHS_NUMBERS[person], "birth_date": d.choice(("1950-01-01", "1950-01-01", "1951-01-01")), "family_name": d.choice(("Example", "Other"))}
            return Request(self.who, "POST", "/patients/find", paper, headers=JSON)
        return self.request("PUT", ref, edit="language", **match)

    def meta(self, ref: str, *ways: str) -> Request:
        """A tag or a label put on or taken off."""
        d = self.dice
        label = d.choice(({"system": f"{HL7}/v3-Confidentiality", "code": "R"}, {"system": f"{HL7}/v3-ActCode", "code": d.choice(("PSY", "NOPAT", "HIV"))}))
        about = d.choice(({"tag": [{"system": "http://tags", "code": d.choice(IDS)}]}, {"security": [label]}))
        told: list[dict[str, Any]] = [{"name": "meta", "valueMeta": about}]
        if d.one_in(2):
            told.append({"name": "reason", "valueString": "it was a mistake"})
        return self.request("POST", f"{ref}/{d.choice(ways or ('$meta-add', '$meta-delete'))}", {"resourceType": "Parameters", "parameter": told})

    def condition(self, types: Sequence[str] = ALL_TYPES) -> str:
        d = self.dice
        type = d.choice((*types, *(t for t in ("Goal", "CarePlan", "Observation", "Task") for _ in range(6))))
        told = [t for t in MORE.get(type, ()) if not t.startswith(("_include", "_revinclude", "_sort"))]
        said = [d.choice(("identifier=http://ids|r1", "identifier=http://ids|r2", "_id={" + type + "}", "patient=p1", *told))]
        return f"{type}?" + quote("&".join(self.filled(s) for s in said), safe="=&:,|")

    def bundle(self, kind: str) -> dict[str, Any]:
        return {"resourceType": "Bundle", "type": kind, "entry": [self.entry(n) for n in range(self.dice.randint(1, 4))]}

    def entry(self, n: int) -> dict[str, Any]:
        d = self.dice
        way, ref = d.randint(0, 7), self.own_ref()
        type = d.choice(TYPES)
        if way == 0:
            return {"request": {"method": "GET", "url": ref}}
        if way == 1:
            return {"request": {"method": "DELETE", "url": ref, **({"ifMatch": 'W/"1"'} if d.one_in(2) else {})}}
        if way == 2:
            patch = base64.b64encode(json.dumps([{"op": "add", "path": "/language", "value": "en"}]).encode()).decode()
            return {"resource": {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": patch},
                    "request": {"method": "PATCH", "url": d.choice((ref, self.condition())), "ifMatch": 'W/"1"'}}  # fmt: skip
        body = a_resource(d, type, "p1")
        if way == 3:
            body = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": "Patient/p1"},
                    "derivedFrom": [{"reference": self.condition(("Observation",))}]}  # fmt: skip
            type = "Observation"
        if way == 4 and self.own_kept:
            where = self.condition(TYPES)
            type = where.split("?")[0]
            return {"fullUrl": f"urn:uuid:0000000{n}-0000-4000-8000-000000000000", "resource": a_resource(d, type, "p1"), "request": {"method": "POST", "url": type, "ifNoneExist": where.split("?")[1]}}
        if way == 5 and ref.split("/")[0] in TYPES:
            type, id = ref.split("/")
            return {"resource": {**a_resource(d, type, "p1"), "id": id}, "request": {"method": "PUT", "url": ref, "ifMatch": 'W/"1"'}}
        return {"fullUrl": f"urn:uuid:0000000{n}-0000-4000-8000-000000000000", "resource": body, "request": {"method": "POST", "url": type}}


LOOKS = ("Patient/$everything?_count=200", "_history?_count=200", "?_type=" + ",".join((*TYPES, "Patient")) + "&_count=200&_total=accurate",
         "?_type=CarePlan,List,Provenance&_include=*&_count=200", "Patient?_revinclude=*&_count=50")  # fmt: skip
__all__ = ["DATES", "LOOKS", "Asking", "Request"]
