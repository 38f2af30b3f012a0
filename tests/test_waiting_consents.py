"""A partner's Consent that waits, for it says yes, too, or says by a number alone whose it is: what it says no to holds meanwhile, and nothing that
it says yes to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.domain.directory import ODS_CODE
from fhir_gateway.domain.identity import NHS_NUMBER
from fhir_gateway.domain.types import Ref
from fhir_gateway.sync.replaying import replay

from .spoken import consent, permit
from .test_at_once import begun, grant, shown, task, to_organisation, world
from .test_unread_consents import Scene, scene

__all__ = ["scene", "world"]  # the fixtures
NUMBER, ANOTHER = "9434765919", "9000000009"


def both(s: Scene, whom: str = "charity", yes: str = "link") -> dict[str, Any]:
    """A no to an organisation, and a yes beside it."""
    return consent(s.there, permit(f"{ODS_CODE}|{whom}", type="deny"), permit(s.w.refs[yes] if yes in s.w.refs else s.w.refs["charity"]))


async def sees(s: Scene, who: str) -> bool:
    return (await shown(s.w, who, s.person, "Goal"))[0]


def numbered(body: dict[str, Any], number: str = NUMBER, how: str = "alone") -> dict[str, Any]:
    """The same, about whoever has this NHS number."""
    said = {"system": NHS_NUMBER, "value": number}
    if how == "contained":
        return body | {"contained": [{"resourceType": "Patient", "id": "p", "identifier": [said]}], "patient": {"reference": "#p"}}
    return body | {"patient": {"reference": f"Patient?identifier={NHS_NUMBER}|{number}"} if how == "search" else {"identifier": said}}


async def has_number(s: Scene, person: str = "", number: str = NUMBER) -> None:
    await s.w.change(await s.w.hospital(), person or s.person, identifier=[{"system": NHS_NUMBER, "value": number}])
    await s.round()


async def test_the_no_beside_a_yes_holds_and_the_yes_does_not(scene: Scene) -> None:
    s = scene
    s.hub.says("c", consent(s.there, permit(f"{ODS_CODE}|surgery", type="deny"), permit(s.w.refs["charity"])), 1)
    assert await s.sees() and not await s.sees("link")
    await s.round()
    assert not await s.sees(), "what it says no to is closed at once"
    assert not await s.sees("link"), "a yes from there opens nothing"
    (item,) = (await s.items()).values()
    (kept,) = await s.kept()
    (raised,) = await s.tasks()
    assert item["closes"]["held"] == {s.person: f"Consent/{kept['id']}"}
    assert "permit" not in json.dumps(kept["provision"])
    assert raised["focus"]["reference"] == f"Consent/{kept['id']}" and "says yes, too" in raised["description"]
    (waiting,) = await gate.uncomputable(s.w.operator)
    assert (waiting["consent"], waiting["patient"]) == (f"Consent/{kept['id']}", s.person)
    s.partner.heard.clear()
    await s.round()
    assert len(await s.kept()) == len(await s.tasks()) == 1 and (await s.kept())[0]["meta"]["versionId"] == "1", "met again it is the same"


async def test_who_is_not_said_no_to_goes_on_as_before(scene: Scene) -> None:
    s = scene
    await to_organisation(s.w, s.person, "charity")
    assert await s.sees() and await s.sees("link")
    s.hub.says("c", both(s), 1)
    await s.round()
    assert await s.sees() and not await s.sees("link")


async def test_a_no_within_a_yes_is_as_narrow_as_it_was_said(scene: Scene) -> None:
    s = scene
    await to_organisation(s.w, s.person, "charity")
    await to_organisation(s.w, s.person, "surgery")
    of = {"class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Flag"}]}
    s.hub.says("c", consent(s.there, permit(s.w.refs["charity"], provision=[{"type": "deny", **of}])), 1)
    await s.round()
    assert len(await s.items()) == 1 and await s.sees("link") and await s.sees(), "it says no to flags alone"
    of["class"][0]["code"] = "Goal"
    s.hub.says("c", consent(s.there, permit(f"{ODS_CODE}|charity", provision=[{"type": "deny", **of}])), 2)
    await s.round()
    assert not await s.sees("link") and await s.sees(), "to goals, and to the charity alone"
    assert [t["status"] for t in await s.tasks()].count("requested") == 1


@pytest.mark.parametrize("doubt", ["a yes within a no", "somebody who is not here"])
async def test_where_the_no_cannot_be_told_from_the_rest_all_is_closed(scene: Scene, doubt: str) -> None:
    s = scene
    if doubt == "a yes within a no":
        body = consent(s.there, root={"type": "deny", "provision": [permit(s.w.refs["surgery"])]})
    else:
        body = consent(s.there, permit("RelatedPerson/of-theirs", type="deny"), permit(s.w.refs["charity"]))
    s.hub.says("c", body, 1)
    await s.round()
    assert not await s.sees() and not await s.sees("link") and len(await s.items()) == 1


async def test_it_is_over_when_they_say_only_the_one_or_the_other(scene: Scene) -> None:
    s = scene
    s.hub.says("c", both(s, "surgery"), 1)
    await s.round()
    assert not await s.sees()
    s.hub.says("c", s.no(), 2)
    await s.round()
    assert await s.sees() and not await s.items() and (await s.kept())[0]["provision"] == s.no()["provision"], "what only closes takes its place, whole"
    assert [t["status"] for t in await s.tasks()] == ["completed"] and not await gate.uncomputable(s.w.operator)
    await to_organisation(s.w, s.person, "charity")
    s.hub.says("c", both(s), 3)
    await s.round()
    assert not await s.sees("link") and await s.sees() and len(await s.kept_of_sync()) == 1
    s.hub.says("c", consent(s.there, permit(s.w.refs["charity"])), 4)
    await s.round()
    assert await s.sees("link") and (await s.kept_of_sync())[0]["status"] == "inactive", "their no is over; the yes by which she sees it is the person's own"
    assert {t["status"] for t in await s.tasks()} == {"completed"}


OPTED_OUT: dict[str, Any] = {"policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTOUT"}]}}


async def test_a_yes_that_is_an_exception_to_an_opt_out_is_a_no_to_everybody_else(scene: Scene) -> None:
    """https://hl7.org/fhir/R4/consent-definitions.html#Consent.policyRule: an exception to the base policy."""
    s = scene
    but = consent(s.there, root=permit(s.w.refs["charity"])) | OPTED_OUT
    s.hub.says("amended", consent(s.there, root={}) | OPTED_OUT, 1)
    await s.round()
    (kept,) = await s.kept()
    assert not await s.sees() and not await s.items()
    s.hub.says("amended", but, 2)
    await s.round()
    assert not await s.sees() and not await s.sees("link") and list(await s.items()) == ["surgery Consent/amended"]
    assert [(k["id"], k["status"]) for k in await s.kept()] == [(kept["id"], "active")]
    s.hub.says("amended", consent(s.there, root=permit(s.w.refs["charity"])), 3)
    await s.round()
    assert await s.sees() and not await s.sees("link"), "a yes alone ends it, and opens nothing"


async def test_so_it_is_where_it_comes_as_a_new_one(scene: Scene) -> None:
    s = scene
    s.hub.says("new", consent(s.there, root=permit(s.w.refs["charity"])) | OPTED_OUT, 1)
    await s.round()
    assert not await s.sees() and not await s.sees("link") and list(await s.items()) == ["surgery Consent/new"] and len(await s.kept()) == 1


async def test_it_is_over_when_an_operator_has_ended_it_until_they_say_something_else(scene: Scene) -> None:
    s = scene
    s.hub.says("c", both(s, "surgery"), 1)
    await s.round()
    (kept,) = await s.kept()
    await gate.end_foreign(s.w.operator, kept["id"], evidence="Asked her: she says what is to be on her own page")
    assert await s.sees() and [t["status"] for t in await s.tasks()] == ["completed"]
    s.partner.heard.clear()
    await s.round()
    assert await s.sees() and not await gate.uncomputable(s.w.operator)
    s.hub.says("c", both(s, "surgery") | {"dateTime": "2026-11-01"}, 2)
    await s.round()
    assert not await s.sees() and len(await s.kept()) == 1


async def test_an_operator_may_correct_it_and_the_person_goes_before_it(scene: Scene) -> None:
    s = scene
    s.hub.says("c", both(s, "surgery"), 1)
    await s.round()
    (kept,) = await s.kept()
    put_right = s.no() | {"id": kept["id"], "patient": {"reference": s.person}}
    await replay(s.w.house, s.partner, s.w.operator, "Consent/c", put_right)
    assert await s.sees() and not await s.items() and (await s.kept())[0]["provision"] == s.no()["provision"]
    s.hub.says("c", both(s, "surgery") | {"dateTime": "2026-11-01"}, 2)
    await s.round()
    assert not await s.sees()
    mine = grant({"reference": s.w.refs["charity"]}, s.person, type="deny")
    version = int((await s.kept())[0]["meta"]["versionId"])
    await gate.update(await s.w.me(s.person), Ref("Consent", kept["id"]), json.dumps({"resourceType": "Consent", "id": kept["id"], **mine}).encode(), if_match=version)
    s.hub.says("c", both(s, "surgery") | {"dateTime": "2026-11-02"}, 3)
    await s.round()
    assert await s.sees() and len(await s.kept()) == 1, "over what she said here nothing goes"


async def test_what_is_not_in_force_and_whom_we_do_not_share_closes_nothing(scene: Scene) -> None:
    s = scene
    other, _ = await begun(s.w, "gp")
    await task(s.w, other)
    s.w.house.remotes = ()  # nothing goes there
    s.hub.says("ended", both(s, "surgery") | {"status": "inactive"}, 1)
    s.hub.says("other", both(s, "surgery") | {"patient": {"reference": other}}, 1)
    await s.round()
    assert await s.sees() and (await shown(s.w, "gp", other, "Goal"))[0]
    assert [c["status"] for c in await s.kept()] == ["inactive"], "what is over there is kept as that"


@pytest.mark.parametrize("how", ["alone", "contained", "search"])
async def test_a_no_of_who_is_named_by_a_number_alone_holds_while_it_waits(scene: Scene, how: str) -> None:
    s = scene
    await has_number(s)
    await to_organisation(s.w, s.person, "charity")
    s.hub.says("c", numbered(s.no(), how=how), 1)
    await s.round()
    assert not await s.sees("link") and await s.sees(), "what it says no to, and no more"
    (item,) = (await s.items()).values()
    (kept,) = await s.kept_of_sync()
    (raised,) = await s.tasks()
    assert item["kind"] == "conflict" and "by a number alone" in raised["description"]
    s.partner.heard.clear()
    await s.round()
    assert (await s.kept_of_sync()) == [kept] and len(await s.items()) == 1
    s.hub.says("c", numbered(s.no("surgery"), how=how), 2)
    await s.round()
    assert not await s.sees() and await s.sees("link"), "another state of it takes its place"
    s.hub.says("c", s.no(), 3)
    await s.round()
    assert await s.sees() and not await s.sees("link") and not await s.items(), "by their record of her it is taken in"


async def test_a_number_alone_closes_for_nobody_else_and_a_yes_opens_nothing(scene: Scene) -> None:
    s = scene
    await has_number(s)
    other, _ = await begun(s.w, "link")
    await to_organisation(s.w, other, "charity")  # nothing of the other goes to the surgery
    await s.w.change(await s.w.hospital(), other, identifier=[{"system": NHS_NUMBER, "value": ANOTHER}])
    s.hub.says("other", numbered(s.no("charity"), ANOTHER), 1)
    s.hub.says("nobody", numbered(s.no("surgery"), "9999999999"), 1)
    s.hub.says("unknown", s.no("surgery") | {"patient": {"identifier": {"system": "urn:theirs", "value": "7"}}}, 1)
    s.hub.says("yes", numbered(consent(s.there, permit(s.w.refs["charity"]))), 1)
    await s.round()
    assert (await shown(s.w, "link", other, "Goal"))[0] and await s.sees() and not await s.sees("link")
    assert not await s.kept() and sorted(await s.items()) == ["surgery Consent/unknown", "surgery Consent/yes"], "whose it is, nobody knows, or it says no no"


async def test_another_no_by_number_holds_though_the_first_took_her_record_back(scene: Scene) -> None:
    s = scene
    await has_number(s)
    s.hub.says("c", numbered(s.no("surgery")), 1)
    await s.round()
    await s.round()
    link = await s.w.house.store.link("surgery", Ref(*s.person.split("/")))
    assert not await s.sees() and link is not None and link.gone, "nothing of hers is to be there"
    s.hub.says("d", numbered(s.no("surgery")), 2)
    await s.round()
    first = (await s.items())["surgery Consent/c"]["closes"]["held"][s.person].removeprefix("Consent/")
    await gate.end_foreign(s.w.operator, first, evidence="Asked the surgery: this one was a test")
    assert not await s.sees(), "the second is a no, too"


async def test_an_id_that_comes_again_as_somebody_elses_leaves_a_no_as_it_is_or_closes_more(scene: Scene) -> None:
    s = scene
    s.hub.says("c", s.no("surgery"), 1)
    s.hub.says("d", both(s, "surgery"), 1)
    await s.round()
    link = await s.w.house.store.link_by_remote("surgery", "Consent/c")
    assert link is not None and len(await s.kept()) == 2
    stranger = both(s, "charity") | {"patient": {"reference": "Patient/of-theirs-alone"}}
    s.hub.says("c", stranger, 2)
    s.hub.says("d", stranger, 2)
    await s.round()
    for kept in [c["id"] for c in await s.kept() if c["id"] != link.ref.id]:
        await gate.end_foreign(s.w.operator, kept, evidence="Asked the surgery: it is another's by now")
    assert not await s.sees(), "her own no is not another's to narrow"
