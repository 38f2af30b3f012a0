"""Whose writes are drafts, which of them are not, and what cannot be one: the rules alone. And who reads and accepts one in somebody's place, in a house of its own (`family`). The whole is told in
tests/systems/test_11_*.py."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.auth.people import Account
from fhir_gateway.domain import drafts, strict
from fhir_gateway.domain.drafts import JOB, Draft, Item
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.scopes import Scopes
from fhir_gateway.domain.types import Actor, Drop, Facts, Ref
from fhir_gateway.domain.vocabulary import ACT_CODE, RESTRICTING_ROLES, SIGN_IN_ROLES
from fhir_gateway.gate import Context, Written
from fhir_gateway.gate.launching import ROLES
from fhir_gateway.store import sqlite
from fhir_gateway.web.pages.leaves import changed, every
from fhir_gateway.web.pages.versions import words_of

from .staff import consent, permit
from .telling.place import BASIS, Place
from .telling.servers import Post

VOLUNTEER = Actor("professional", frozenset({"Practitioner/v", "Organization/h"}), user="Practitioner/v", drafts_only=True)
TASK = {"resourceType": "Task", "status": "requested", "owner": {"reference": "Practitioner/v"}, "description": "Come on Tuesdays"}
ANSWERS = {"resourceType": "QuestionnaireResponse", "status": "in-progress"}


@pytest.mark.parametrize(("kind", "roles", "jobs", "said"), [
    ("professional", {"volunteer"}, [], True), ("proxy", {"volunteer"}, [], True), ("professional", set(), [frozenset({JOB})], True),
    ("professional", {"clinician"}, [frozenset({"x|gp"}), frozenset({JOB})], True), ("professional", {"refer"}, [frozenset({"x|gp"})], False),
    ("patient", {"volunteer"}, [], False), ("system", {"volunteer"}, [], False),
])  # fmt: skip
def test_a_volunteer_is_one_by_the_sign_in_or_by_a_job(kind: str, roles: set[str], jobs: list[frozenset[str]], said: bool) -> None:
    assert drafts.only_drafts(kind, roles, jobs) is said


def test_only_their_own_answer_to_a_task_and_unfinished_answers_do_not_wait() -> None:
    def waits(new: dict[str, object], before: dict[str, object] | None = None, own: bool = False, actor: Actor = VOLUNTEER) -> bool:
        return drafts.waits(actor, new, before, own)

    assert waits({"resourceType": "Goal", "lifecycleStatus": "proposed"}), "whatever it says of itself"
    assert not waits({"resourceType": "Goal"}, actor=replace(VOLUNTEER, drafts_only=False))
    assert waits(TASK), "a new one is nobody's answer"
    assert not waits(TASK | {"status": "accepted"}, TASK)
    for more in ({"note": [{"text": "x"}]}, {"owner": {"reference": "Organization/o"}}, {"description": "x"}, {"output": []}):
        assert waits(TASK | {"status": "accepted"} | more, TASK), more
    by_code = {"statusReason": {"coding": [{"system": "urn:why", "code": "away"}]}, "meta": {"versionId": "2"}}
    assert not waits(TASK | {"status": "rejected"} | by_code, TASK)
    worded = {"coding": [{"system": "urn:why", "code": "away", "display": "words"}]}
    for more in ({"statusReason": {"text": "words"}}, {"businessStatus": worded}, {"statusReason": worded}, {"statusReason": {"coding": [{"code": "come on Monday"}]}}, {"meta": {"tag": [{"display": "words"}]}}):
        assert waits(TASK | {"status": "rejected"} | more, TASK), more
    assert waits(TASK | {"status": "accepted"}, TASK | {"owner": {"reference": "Practitioner/other"}})
    assert not waits(ANSWERS) and not waits(ANSWERS | {"item": []}, ANSWERS, own=True)
    assert waits(ANSWERS | {"item": []}, ANSWERS), "somebody else's answers"
    assert waits(ANSWERS, ANSWERS | {"status": "completed"}, own=True), "what was finished is not begun again"
    assert waits(ANSWERS | {"status": "completed"}, ANSWERS, own=True)


def test_what_lets_people_in_or_is_hidden_from_the_person_is_no_draft() -> None:
    def facts(type: str, *people: str, **more: object) -> Facts:
        return replace(Facts(type, "1", people or ("Patient/1",)), **more)  # type: ignore[arg-type]

    assert drafts.refused(facts("Goal")) == ""
    for type in ("Patient", "Consent", "Binary", "Encounter", "Person", "Group", "Practitioner"):
        assert drafts.refused(facts(type)), type
    assert drafts.refused(facts("Goal", "Patient/1", "Patient/2"))
    assert drafts.refused(facts("Goal", sensitivity=frozenset({"NOPAT"})))


def test_the_task_of_a_draft_says_nothing_of_what_is_in_it() -> None:
    items = (Item("Goal/1", 3, '{"resourceType":"Goal","description":{"text":"secret"}}', "secret"), Item("Goal/2", 0, "{}", "secret"))
    draft = Draft("t", "Patient/1", "Practitioner/v", "Vic", "Organization/h", "town", "professional", "2026-11-26T10:00:00Z", items)
    task = drafts.task(draft)
    assert "secret" not in json.dumps(task) and task["intent"] == "proposal"
    assert not {"focus", "basedOn", "partOf", "reasonReference"} & task.keys(), "it stands for nothing in the record: a referral would close with it"
    said = drafts.attested(draft, [Ref("Goal", "1")], "Patient/1", datetime(2026, 11, 26, tzinfo=UTC))
    assert [a["who"]["reference"] for a in said["agent"]] == ["Practitioner/v", "Patient/1"] and said["agent"][0]["onBehalfOf"] == {"reference": "Organization/h"}


def test_however_a_volunteer_comes_in_they_are_one() -> None:
    """From their own system, by an app let in there, by a token of before: what restricts is taken from the account."""
    vic = Account("vic", "Practitioner/v", roles=("clinician", "operator", "volunteer"))
    assert vic.narrowed(frozenset({"clinician"})) == {"clinician", "volunteer"}
    assert vic.narrowed(frozenset()) == {"volunteer"} and Account("gp", "Practitioner/g", roles=("clinician",)).narrowed(ROLES) == {"clinician"}
    assert {drafts.ROLE} == RESTRICTING_ROLES <= SIGN_IN_ROLES


def test_the_page_says_all_that_would_be_written() -> None:
    """Not the words alone that stand beside a code, a dose or a reference; and what of it changed."""
    dosage = {"text": "As before", "doseAndRate": [{"doseQuantity": {"value": 50, "unit": "mg", "code": "mg"}}], "asNeededBoolean": False}
    code = {"text": "Aspirin", "coding": [{"system": "http://snomed.info/sct", "code": "387458008", "display": "Warfarin"}]}
    div = {"status": "additional", "div": "<div>more <b>words</b> &amp; these</div>"}
    new = {
        "id": "1", "resourceType": "MedicationStatement", "meta": {"versionId": "2", "tag": [{"display": "a tag"}]}, "medicationCodeableConcept": code, "dosage": [dosage], "text": div,
        "extension": [{"url": "urn:x", "valueString": "extended"}], "identifier": [{"value": "X-1"}], "_status": {"extension": [{"url": "urn:y", "valueCode": "y1"}]}, "status": "active",
        "informationSource": {"reference": "Practitioner/v", "display": "Dr Good"},
    }  # fmt: skip
    now = {"id": "1", "meta": {"versionId": "1"}, "status": "active", "dosage": [{"text": "As before", "doseAndRate": [{"doseQuantity": {"value": 5, "unit": "mg"}}]}], "note": [{"text": "x"}]}
    known = {"Practitioner/v": "Vic"}
    said = {k: every(new.get(k), known) for k in changed(now, new)}
    assert set(said) == new.keys() - {"id", "resourceType", "status"} | {"note"} and said["note"] == ""
    for element, words in (
        ("medicationCodeableConcept", ("Aspirin", "387458008", "Warfarin")), ("dosage", ("As before", "50", "No")), ("text", ("more words & these",)), ("extension", ("extended",)),
        ("identifier", ("X-1",)), ("_status", ("y1",)), ("meta", ("a tag",)), ("informationSource", ("Dr Good", "Vic")),
    ):  # fmt: skip
        assert all(w in said[element] for w in words), said[element]
    assert every({"start": "2026-01-01"}, {}) == words_of({"start": "2026-01-01"}), "what words say is said once"


def test_the_person_attests_references_of_a_new_provenance_and_no_words() -> None:
    entity = [{"role": "source", "what": {"reference": "QuestionnaireResponse/1", "display": "words"}, "agent": [{"who": {"display": "words"}}]}, {"role": "source", "what": {"display": "words"}}]
    body = json.dumps({"resourceType": "Provenance", "entity": entity})
    draft = Draft("t", "Patient/1", "Practitioner/v", "Vic", None, None, "professional", "2026-11-26T10:00:00Z", (Item("Provenance/1", 0, body), Item("Provenance/2", 3, body)))
    said = drafts.attested(draft, [Ref("Goal", "1")], "Patient/1", datetime(2026, 11, 26, tzinfo=UTC))
    assert said["entity"] == [{"role": "source", "what": {"reference": "QuestionnaireResponse/1"}}]


# -- who reads and accepts one in somebody's place ----------------------------------------------------------------------


@dataclass
class Family:
    """A child of fifteen, who is at risk of nothing; their mother, who decides for them; and a volunteer whom the child lets write."""

    place: Place
    child: str
    mother: Context
    vic: Context

    async def says(self, *rules: dict[str, Any]) -> None:
        """A consent of the child's own."""
        await gate.create(self.place.me, "Consent", strict.dump(consent(self.child.removeprefix("Patient/"), *rules)))

    def about(self, type: str, **more: Any) -> dict[str, Any]:
        return {"resourceType": type, "subject": {"reference": self.child}, **more}

    async def proposes(self, body: dict[str, Any], over: Written | None = None) -> Written:
        raw = strict.dump(body)
        done = await gate.update(self.vic, over.ref, raw, if_match=over.version) if over else await gate.create(self.vic, body["resourceType"], raw)
        assert done.did == "drafted" and done.draft is not None
        return done

    async def seen(self, who: Context) -> list[Any]:
        return await gate.drafts_for(who, self.child)

    async def accept(self, who: Context, draft: Written) -> list[Ref]:
        assert draft.draft is not None
        return await gate.answer_draft(who, self.child, draft.draft.id, "accept")

    async def refused(self, who: Context, draft: Written) -> str:
        with pytest.raises(Problem) as no:
            await self.accept(who, draft)
        return no.value.kind


@pytest_asyncio.fixture
async def family(tmp_path: Path) -> AsyncIterator[Family]:
    place = Place(Post())
    store = await sqlite.open(tmp_path / "gateway.sqlite", clock=lambda: place.now)
    await place.open(store)
    child = place.names["amina"]
    await place.change(place.records, "amina", birthDate="2011-06-01")
    mother = {"resourceType": "RelatedPerson", "active": True, "patient": {"reference": child}, "name": [{"family": "Example"}]}
    place.names["leila"] = str((await gate.create(place.me, "RelatedPerson", strict.dump(mother))).ref)
    await place.appoint("leila", "parental-responsibility")
    gp = await place.gp()
    out = Family(place, child, place.proxy(place.names["leila"]), replace(gp, actor=replace(gp.actor, drafts_only=True, clinician=False)))
    every = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": a}]} for a in ("access", "collect", "correct")]
    await out.says(permit(place.names["asha"], action=every))
    yield out
    await store.close()


SECRET = {"meta": {"security": [{"system": ACT_CODE, "code": "SEX"}]}, "code": {"text": "Something private"}}


async def test_who_decides_for_a_child_reads_and_accepts_no_draft_of_what_the_child_hides_from_them(family: Family) -> None:
    hidden = [{"system": ACT_CODE, "code": "SEX"}]
    await family.says(permit(family.place.names["leila"], type="deny", securityLabel=hidden))
    open = await family.proposes(family.about("Condition", code={"text": "A cold"}))
    new = await family.proposes(family.about("Condition", **SECRET))
    cold = await gate.create(family.place.me, "Condition", strict.dump(family.about("Condition", code={"text": "A cough"})))
    edit = await family.proposes(family.about("Condition", id=cold.ref.id, **SECRET), cold)
    assert [w.draft.id for w in await family.seen(family.mother)] == [open.draft.id]  # type: ignore[union-attr]
    assert len(await family.seen(family.place.me)) == 3
    assert [await family.refused(family.mother, d) for d in (new, edit)] == ["not-found", "not-found"]
    assert await family.accept(family.mother, open) == [open.ref]
    assert await family.accept(family.place.me, new) == [new.ref] and await family.accept(family.place.me, edit) == [cold.ref]


async def test_who_may_not_any_more_accepts_nothing_however_late_that_was_said(family: Family) -> None:
    """Between the look at what they may and the commit."""
    place, inner = family.place, family.place.house.store

    class Late:
        """The same store; the child's no comes just before the commit that accepts."""

        said = False

        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        async def commit(self, *ops: Any) -> None:
            if not self.said and any(isinstance(op, Drop) and op.kind == "draft" for op in ops):
                self.said = True
                await family.says(permit(place.names["leila"], type="deny"))
            await inner.commit(*ops)

    draft = await family.proposes(family.about("Condition", code={"text": "A cold"}))
    late = replace(family.mother, house=replace(place.house, store=Late()))
    assert await family.refused(late, draft) == "unavailable"
    assert await family.refused(late, draft) == "not-found"
    assert [w.draft.id for w in await family.seen(place.me)] == [draft.draft.id]  # type: ignore[union-attr]
    assert await family.accept(place.me, draft) == [draft.ref]


async def test_nobody_accepts_what_they_wrote_themselves(family: Family) -> None:
    leila = family.place.names["leila"]
    hers = replace(family, vic=replace(family.vic, actor=replace(family.vic.actor, user=leila)))
    draft = await hers.proposes(family.about("Condition", code={"text": "A cold"}))
    (seen,) = await family.seen(family.mother)
    assert not seen.may and await family.refused(family.mother, draft) == "forbidden"
    assert await family.accept(family.place.me, draft) == [draft.ref]


async def test_who_decides_for_somebody_is_shown_a_draft_as_they_are_shown_the_record(family: Family) -> None:
    """No narrative, in the draft or of what is there; all of it for the person."""
    told = {"text": {"status": "additional", "div": '<div xmlns="http://www.w3.org/1999/xhtml">hidden words</div>'}}
    now = await gate.create(family.place.me, "Condition", strict.dump(family.about("Condition", code={"text": "A cough"}, **told)))
    await family.proposes(family.about("Condition", code={"text": "A cold"}, **told))
    await family.proposes(strict.decode((await gate.read(family.vic, now.ref)).body) | {"code": {"text": "A worse cough"}}, now)

    def said(found: list[Any]) -> str:
        return "".join([*(i.body for w in found for i in w.draft.items), json.dumps([w.before for w in found])])

    assert said(await family.seen(family.place.me)).count("hidden words") == 3
    assert "hidden words" not in said(found := await family.seen(family.mother)) and "A worse cough" in said(found)


async def test_an_app_that_reads_tasks_alone_and_who_wrote_it_get_no_words_of_a_draft(family: Family) -> None:
    draft = await family.proposes(family.about("Condition", code={"text": "A cold"}))
    for who in (family.vic, replace(family.place.me, scopes=Scopes.parse("patient/Task.rs"), launch=family.child)):
        assert [(i.ref, i.body, i.title) for w in await family.seen(who) for i in w.draft.items] == [(str(draft.ref), "", "")]


async def test_who_may_see_a_draft_and_not_add_such_a_thing_does_not_accept_it(family: Family) -> None:
    add = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": a}]} for a in ("collect", "correct")]
    await family.says(permit(family.place.names["leila"], type="deny", action=add))
    draft = await family.proposes(family.about("Condition", code={"text": "A cold"}))
    assert len(await family.seen(family.mother)) == 1 and await family.refused(family.mother, draft) == "forbidden"
    assert await family.accept(family.place.me, draft) == [draft.ref]


async def test_who_decides_for_a_child_accepts_a_change_and_an_end_and_is_shown_all_that_would_go(family: Family) -> None:
    """Their role is registered to read; what a volunteer proposes they accept in the child's place."""
    made = [await gate.create(family.place.me, "Condition", strict.dump(family.about("Condition", code={"text": words}))) for words in ("A cough", "A cold")]
    edit = await family.proposes(family.about("Condition", id=made[0].ref.id, code={"text": "A worse cough"}), made[0])
    gone = await gate.remove(family.vic, made[1].ref, if_match=1)
    assert gone.did == "drafted" and gone.draft is not None
    seen = {w.draft.id: w for w in await family.seen(family.mother)}
    assert [w.may for w in seen.values()] == [True, True]
    assert seen[gone.draft.id].before[str(made[1].ref)]["code"] == {"text": "A cold"}
    with pytest.raises(Problem):
        await gate.update(family.mother, made[0].ref, strict.dump(family.about("Condition", id=made[0].ref.id, code={"text": "Mine"})), if_match=1)
    assert await family.accept(family.mother, edit) == [made[0].ref] and await family.accept(family.mother, gone) == [made[1].ref]
    assert json.loads((await gate.read(family.mother, made[0].ref)).body)["code"] == {"text": "A worse cough"}
    with pytest.raises(Problem) as over:
        await gate.read(family.place.me, made[1].ref)
    assert over.value.kind == "gone"


@pytest.mark.parametrize("how", ["update", "remove"])
async def test_who_may_not_change_it_by_the_childs_own_word_is_told_so_and_not_that_it_was_changed(family: Family, how: str) -> None:
    add = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": "correct"}]}]
    await family.says(permit(family.place.names["leila"], type="deny", action=add))
    here = await gate.create(family.place.me, "Condition", strict.dump(family.about("Condition", code={"text": "A cough"})))
    drafted = await family.proposes(family.about("Condition", id=here.ref.id, code={"text": "Worse"}), here) if how == "update" else await gate.remove(family.vic, here.ref, if_match=1)
    assert [w.may for w in await family.seen(family.mother)] == [False] and [w.may for w in await family.seen(family.place.me)] == [True]
    with pytest.raises(Problem) as no:
        await family.accept(family.mother, drafted)
    assert no.value.kind == "forbidden" and "not yours" in no.value.text and "meanwhile" not in no.value.text
    assert (await gate.read(family.place.me, here.ref)).version == 1
    assert await family.accept(family.place.me, drafted) == [here.ref]


async def test_that_a_draft_is_there_which_is_hidden_from_them_shows_nowhere_to_who_acts_for_the_child(family: Family) -> None:
    """Asked all that they may ask, with such a draft and without it: the same; before it is answered and after."""
    await family.says(permit(family.place.names["leila"], type="deny", securityLabel=[{"system": ACT_CODE, "code": "SEX"}]))
    here = family.child.removeprefix("Patient/")
    cough = await gate.create(family.place.me, "Condition", strict.dump(family.about("Condition", code={"text": "A cough"})))

    async def told(who: Context) -> list[Any]:
        found = [await gate.search(who, "Task", params) for params in ([("patient", here)], [("code", "accept-draft")], [("status", "requested"), ("_summary", "count")])]
        found += [await gate.everything(who, here), await gate.history(who, "Task", None, [])]
        rows, _ = await gate.trail_page(who, [("patient", here)])
        trail = [(n.what, n.refs) for n in rows if n.user != who.actor.user]
        return [[(e.ref, e.version) for e in page.entries if e.ref.type == "Task"] for page in found] + [[p.total for p in found[:3]], await gate.drafts_seen(who, family.child), trail]

    before = await told(family.mother)
    new, edit = await family.proposes(family.about("Condition", **SECRET)), await family.proposes(family.about("Condition", id=cough.ref.id, **SECRET), cough)
    await gate.drafts_for(family.vic, family.child)
    assert len(await family.seen(family.place.me)) == 2 and await told(family.mother) == before
    for waits in (new, edit):
        assert waits.draft is not None
        for asked in (gate.read(family.mother, waits.draft), gate.vread(family.mother, waits.draft, 1), gate.history(family.mother, "Task", waits.draft.id, [])):
            with pytest.raises(Problem) as no:
                await asked
            assert no.value.kind == "not-found"
    await gate.answer_draft(family.place.me, family.child, new.draft.id, "refuse")  # type: ignore[union-attr]
    await gate.answer_draft(family.vic, family.child, edit.draft.id, "withdraw")  # type: ignore[union-attr]
    assert await told(family.mother) == before
    open = await family.proposes(family.about("Condition", code={"text": "A cold"}))
    assert (await told(family.mother))[:4] == before[:4] and (await told(family.mother))[-2] == 1, "one that they may see they are told of by itself"
    await family.accept(family.mother, open)


async def test_a_relative_who_is_a_volunteer_finds_the_task_of_their_own_draft(family: Family) -> None:
    """And not of another's."""
    every = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentaction", "code": a}]} for a in ("access", "collect", "correct")]
    await family.place.grant(basis=(BASIS, "consent"), provision=permit(family.place.names["leila"], action=every))
    aunt = replace(family.mother, actor=replace(family.mother.actor, drafts_only=True))
    other = await family.proposes(family.about("Condition", code={"text": "A cold"}))
    mine = await gate.create(aunt, "Condition", strict.dump(family.about("Condition", code={"text": "A cough"})))
    assert mine.draft is not None and other.draft is not None
    assert [e.ref for e in (await gate.search(aunt, "Task", [("code", "accept-draft")])).entries] == [mine.draft]
    assert json.loads((await gate.read(aunt, mine.draft)).body)["status"] == "requested"
    with pytest.raises(Problem) as no:
        await gate.read(aunt, other.draft)
    assert no.value.kind == "not-found"


async def test_a_proposed_end_of_a_task_ends_no_referral(family: Family) -> None:
    """Their own answer to one Task is written; that the other is done is proposed in the same transaction, and nothing is over."""
    wanted = await gate.create(family.place.me, "ServiceRequest", strict.dump(family.about("ServiceRequest", status="active", intent="order")))

    def task(owner: str, **more: Any) -> dict[str, Any]:
        about = {"for": {"reference": family.child}, "focus": {"reference": str(wanted.ref)}, "owner": {"reference": owner}}
        return {"resourceType": "Task", "status": "requested", "intent": "order", **about, **more}

    owners = (family.place.names["asha"], family.child)
    made = [await gate.create(family.place.me, "Task", strict.dump(task(owner))) for owner in owners]
    ends = [
        {"resource": task(owner, id=t.ref.id, status="completed"), "request": {"method": "PUT", "url": str(t.ref), "ifMatch": f'W/"{t.version}"'}}
        for owner, t in zip(owners, made, strict=True)
    ]
    told = await gate.transaction(family.vic, strict.dump({"resourceType": "Bundle", "type": "transaction", "entry": ends}))
    assert [e["response"]["status"][:3] for e in told["entry"]] == ["200", "202"]
    assert json.loads((await gate.read(family.place.me, wanted.ref)).body)["status"] == "active"
    (draft,) = await family.seen(family.place.me)
    await gate.answer_draft(family.place.me, family.child, draft.draft.id, "accept")
    assert json.loads((await gate.read(family.place.me, wanted.ref)).body)["status"] == "completed"


async def test_whoever_wrote_an_accepted_draft_is_its_author_for_a_no_and_nobody_by_it_for_a_yes(family: Family) -> None:
    me, vic = family.place.me, family.place.names["asha"]
    here = await gate.create(me, "Condition", strict.dump(family.about("Condition", code={"text": "A cough"})))
    drafted = [await family.proposes(family.about("Condition", code={"text": "A cold"}))]
    drafted.append(await family.proposes(family.about("Condition", id=here.ref.id, code={"text": "A worse cough"}), here))
    for draft in drafted:
        await family.accept(me, draft)
    await family.says(permit(family.place.names["leila"], type="deny", data=[{"meaning": "authoredby", "reference": {"reference": vic}}]))
    for draft in drafted:
        with pytest.raises(Problem) as no:
            await gate.read(family.mother, draft.ref)
        assert no.value.kind == "not-found"
    mine = strict.decode((await gate.read(me, drafted[0].ref)).body)
    await gate.update(me, drafted[0].ref, strict.dump({**mine, "code": {"text": "Better"}}), if_match=1)
    for draft in drafted:
        facts = (await family.place.house.store.get(draft.ref)).facts  # type: ignore[union-attr]
        assert vic in facts.authors and vic not in facts.makers and facts.origin is not None and vic not in facts.origin, "it opens nothing to them"
