"""Who takes a referral on is in the team of its plan while they do it: the pure part, version by version."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fhir_gateway.domain import helping
from fhir_gateway.domain.bonds import looks_after, names
from fhir_gateway.domain.directory import Directory
from fhir_gateway.domain.mapping.merging import with_helpers
from fhir_gateway.domain.periods import instant, micros
from fhir_gateway.domain.relationships import BY_LINK, JOINED, OF_PERSON, from_task, from_team
from fhir_gateway.domain.standing import Standing, in_team, related, team_names
from fhir_gateway.domain.types import Actor, Writer
from fhir_gateway.domain.versions import Version

from .worlds import NOW, P1

OURS = "https://fhir-gateway.example/CodeSystem"
AT = micros(NOW)
DAY = 86_400_000_000
HERE = Directory.of([
    *(({"resourceType": "Organization", "active": True, "name": name.title(), "type": [{"coding": [{"system": f"{OURS}/sector", "code": sector}]}]}, f"Organization/{name}", True)
      for name, sector in (("surgery", "health"), ("charity", "voluntary"))),
    *(({"resourceType": "Practitioner", "name": [{"text": p.title()}]}, f"Practitioner/{p}", True) for p in ("gp", "wes", "col")),
    *(({"resourceType": "PractitionerRole", "active": True, "practitioner": {"reference": f"Practitioner/{p}"}, "organization": {"reference": f"Organization/{o}"},
        "code": [{"coding": [{"system": f"{OURS}/role", "code": job}]}]}, f"PractitionerRole/{p}", True)
      for p, o, job in (("gp", "surgery", "gp"), ("wes", "charity", "link-worker"), ("col", "charity", "link-worker"))),
])  # fmt: skip
GP = Writer("Practitioner/gp", "Organization/surgery", may_refer=True, judged=1)
WES, COL = (Writer(f"Practitioner/{n}", "Organization/charity") for n in ("wes", "col"))
ASKS = HERE.actor("Practitioner/wes", kind="professional", organisation="Organization/charity", at=NOW)
TASK, TEAM = "Task/t", "CareTeam/c"


def task(status: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Task", "status": status, "focus": {"reference": "ServiceRequest/r"}, "owner": {"reference": "Organization/charity"}} | more


def record(*tasks: tuple[dict[str, Any], Writer], request: Writer = GP, plan: Writer = GP, **more: list[Version]) -> dict[str, list[Version]]:
    """A person's: a referral for their plan, whose Task became these, one a day up to now."""
    first = AT - len(tasks) * DAY
    return {
        TASK: [Version(body, by, first + n * DAY + DAY) for n, (body, by) in enumerate(tasks)],
        "ServiceRequest/r": [Version({"status": "active", "code": {"text": "Walks"}, "basedOn": [{"reference": "CarePlan/p"}]}, request, first)],
        "CarePlan/p": [Version({"status": "active", "careTeam": [{"reference": TEAM}]}, plan, first)],
        TEAM: [Version({"status": "active", "participant": [{"member": {"reference": "Practitioner/gp"}}]}, GP, first)],
    } | more  # fmt: skip


def taken() -> dict[str, list[Version]]:
    """Wes took it on, and is in the team."""
    chains = record((task("requested"), GP), (task("accepted"), WES))
    change = into(TASK, chains, ASKS, HERE, AT)
    assert change is not None and change.by is not None
    chains[TEAM] = [*chains[TEAM], Version(change.body, change.by, AT)]
    return chains


def into(task: str, chains: dict[str, list[Version]], actor: Actor, directory: Directory, at: int) -> helping.Change | None:
    return next(helping.into(task, chains, actor, directory, at), None)


def out(task: str, chains: dict[str, list[Version]], gone: bool, at: int) -> helping.Change | None:
    return helping.out({r: c for r, c in chains.items() if not (gone and r == task)}, at)


def then(chains: dict[str, list[Version]], ref: str, body: dict[str, Any], by: Writer, at: int) -> dict[str, list[Version]]:
    return {**chains, ref: [*chains[ref], Version(body, by, at)]}


def test_they_come_in_as_who_referred_would_have_written_it_and_it_counts() -> None:
    chains = record((task("requested"), GP), (task("accepted", restriction={"period": {"end": "2027-02-01"}}), GP))
    assert into(TASK, chains, ASKS, HERE, AT) is None, "somebody else moved it to accepted"
    chains = taken()
    change = chains[TEAM][-1]
    assert change.body["participant"][-1] == {
        "extension": [
            {"url": "https://fhir-gateway.example/StructureDefinition/plan-member", "valueString": "joined-t-1"},
            {"url": "https://fhir-gateway.example/StructureDefinition/team-person", "valueReference": {"type": "Practitioner", "display": "Wes"}},
        ],
        "role": [{"text": "Walks"}], "member": {"reference": "Practitioner/wes", "display": "Wes"}, "onBehalfOf": {"reference": "Organization/charity", "display": "Charity"},
        "period": {"start": "2026-11-01T10:00:00.000Z"},
    }  # fmt: skip
    assert (change.writer.user, change.writer.method, change.writer.saw_all) == ("Practitioner/gp", JOINED, False)
    (wes,) = [r for r in from_team(TEAM, chains[TEAM], (), HERE) if "Practitioner/wes" in r.names]
    assert wes.counts and wes.team == TEAM and wes.writer == "Practitioner/gp" and wes.consent_needed
    assert into(TASK, chains, ASKS, HERE, AT + DAY) is None, "once"
    forged = replace(change.writer, method="PUT")
    (not_confirmed,) = [r for r in from_team(TEAM, [chains[TEAM][0], Version(change.body, forged, AT)], (), HERE) if "Practitioner/wes" in r.names]
    assert not not_confirmed.counts, "written by anybody else they are asked first, as always"
    later = {**change.body, "participant": [*change.body["participant"][:-1], {**change.body["participant"][-1], "period": {}}]}
    (prolonged,) = [r for r in from_team(TEAM, [*chains[TEAM], Version(later, GP, AT + DAY)], (), HERE) if "Practitioner/wes" in r.names]
    assert not prolonged.counts, "for a longer time they are put in anew"


@pytest.mark.parametrize(
    ("what", "chains"),
    [
        ("the Task is their own", record((task("requested"), WES), (task("accepted"), WES))),
        ("a colleague's", record((task("requested"), COL), (task("accepted"), WES))),
        ("of somebody without the right to refer", record((task("requested"), replace(GP, may_refer=False)), (task("accepted"), WES))),
        ("they said for which plan", record((task("requested"), GP), (task("accepted"), WES), request=WES)),
        ("who cannot refer said so", record((task("requested"), GP), (task("accepted"), WES), request=replace(GP, may_refer=False))),
        ("they said which team is the plan's", record((task("requested"), GP), (task("accepted"), WES), plan=WES)),
        ("who cannot refer said which team is the plan's", record((task("requested"), GP), (task("accepted"), WES), plan=replace(GP, may_refer=False))),
        ("for no plan", record((task("requested"), GP), (task("accepted"), WES), **{"ServiceRequest/r": [Version({"status": "active"}, GP, 0)]})),
        ("the referral is over", record((task("requested"), GP), (task("accepted"), WES), **{"ServiceRequest/r": [Version({"status": "revoked", "basedOn": [{"reference": "CarePlan/p"}]}, GP, 0)]})),
        ("the team is none that goes on", record((task("requested"), GP), (task("accepted"), WES), **{TEAM: [Version({"status": "inactive"}, GP, 0)]})),
        ("for somebody else", record((task("requested", owner={"reference": "Organization/surgery"}), GP), (task("accepted", owner={"reference": "Organization/surgery"}), WES))),
        ("its time is over", record((task("requested", restriction={"period": {"end": "2026-10-01"}}), GP), (task("accepted", restriction={"period": {"end": "2026-10-01"}}), WES))),
    ],
)  # fmt: skip
def test_nobody_comes_in_where(what: str, chains: dict[str, list[Version]]) -> None:
    assert into(TASK, chains, ASKS, HERE, AT) is None, what
    assert into(TASK, record((task("requested"), GP), (task("accepted"), WES)), ASKS, HERE, AT) is not None


def test_each_whose_word_it_is_must_see_the_plan_and_may_change_the_team() -> None:
    clinician, nurse, system = (replace(GP, user=u, organisation=f"Organization/{u[-1]}") for u in ("Practitioner/a", "Practitioner/b", "Device/c"))
    change = into(TASK, record((task("requested"), clinician), (task("accepted"), WES), request=nurse, plan=system), ASKS, HERE, AT)
    assert change is not None and change.plan == "CarePlan/p" and {w.user for w in change.hands} == {"Practitioner/a", "Practitioner/b", "Device/c"}


def test_the_time_in_the_team_is_that_of_the_task() -> None:
    soon, end = instant(AT + DAY).isoformat(), instant(AT + 9 * DAY).isoformat()
    asked = task("requested", restriction={"period": {"start": soon, "end": end}})
    chains = record((asked, GP), (asked | {"status": "accepted"}, WES))
    change = into(TASK, chains, ASKS, HERE, AT)
    assert change is not None and change.by is not None
    assert [change.body["participant"][-1]["period"][k][:10] for k in ("start", "end")] == ["2026-11-02", "2026-11-10"]
    chains = then(chains, TEAM, change.body, change.by, AT)
    assert into(TASK, chains, ASKS, HERE, AT) is None is out(TASK, chains, False, AT)
    shorter = asked | {"status": "in-progress", "restriction": {"period": {"start": soon, "end": instant(AT + 3 * DAY).isoformat()}}}
    change = out(TASK, then(chains, TASK, shorter, GP, AT + 1), False, AT + 1)
    assert change is not None and change.body["participant"][-1]["period"]["end"][:10] == "2026-11-04" and change.by is None


@pytest.mark.parametrize("end", [task("completed"), task("rejected"), task("failed"), task("requested"), task("accepted", owner={"reference": "Practitioner/col"}), None])
def test_with_the_task_their_time_is_over(end: dict[str, Any] | None) -> None:
    chains, at = taken(), AT + DAY
    change = out(TASK, chains if end is None else then(chains, TASK, end, GP, at), end is None, at)
    assert change is not None and change.team == TEAM
    gp, wes = change.body["participant"]
    assert gp == {"member": {"reference": "Practitioner/gp"}} and wes["period"] == {"start": "2026-11-01T10:00:00.000Z", "end": "2026-11-02T09:59:59.999Z"}
    over = then(chains, TEAM, change.body, Writer("Practitioner/wes", method="SYSTEM"), at)
    (r,) = [r for r in from_team(TEAM, over[TEAM], (), HERE) if "Practitioner/wes" in r.names]
    assert r.counts and r.high is not None and r.high < at, "and the reading with it"
    assert out(TASK, over if end is None else then(over, TASK, end, GP, at), end is None, at) is None, "once"


def test_who_was_put_in_by_somebody_or_is_brought_in_by_another_referral_stays() -> None:
    chains, at = taken(), AT + DAY
    by_hand = {"status": "active", "participant": [{"member": {"reference": "Practitioner/gp"}}, {"member": {"reference": "Practitioner/wes"}}]}
    assert out(TASK, then({**chains, TEAM: [Version(by_hand, GP, 0)]}, TASK, task("completed"), WES, at), False, at) is None
    another = {**chains, "Task/u": [Version(task("requested"), GP, AT), Version(task("accepted"), WES, AT)]}
    assert out(TASK, then(another, TASK, task("completed"), WES, at), False, at) is None
    nothing_else = {**chains, "Task/u": [Version(task("requested"), GP, AT), Version(task("accepted"), COL, AT)]}
    assert out(TASK, then(nothing_else, TASK, task("completed"), WES, at), False, at) is not None


def test_whom_somebody_took_out_comes_in_once_they_are_asked_anew() -> None:
    chains = taken()
    out = {"status": "active", "participant": [{"member": {"reference": "Practitioner/gp"}}]}
    chains = then(chains, TEAM, out, GP, AT + DAY)
    again = then(chains, TASK, task("accepted", note=[{"text": "I go on"}]), WES, AT + 2 * DAY)
    assert into(TASK, again, ASKS, HERE, AT + 2 * DAY) is None
    anew = then(then(then(chains, TASK, task("cancelled"), GP, AT + 2 * DAY), TASK, task("requested"), GP, AT + 3 * DAY), TASK, task("accepted"), WES, AT + 4 * DAY)
    assert into(TASK, anew, replace(ASKS), HERE, AT + 4 * DAY) is not None
    assert into(TASK, anew, replace(ASKS, kind="system"), HERE, AT + 4 * DAY) is None
    assert NOW + timedelta(days=4) == instant(AT + 4 * DAY)


@pytest.mark.parametrize("by", [WES, COL, replace(GP, may_refer=False)])
def test_who_ties_a_task_to_another_referral_brings_nobody_into_its_team(by: Writer) -> None:
    other = {"focus": {"reference": "ServiceRequest/another"}}
    chains = record((task("requested", **other), GP), (task("accepted", **other), WES), (task("accepted"), by), (task("in-progress"), WES))
    assert into(TASK, chains, ASKS, HERE, AT) is None
    kept = then({**taken(), "Task/u": chains[TASK]}, TASK, task("completed"), WES, AT + DAY)
    assert out(TASK, kept, False, AT + DAY) is not None, "nor stays anybody in by it"
    by_gp = record((task("requested", **other), GP), (task("accepted", **other), WES), (task("accepted"), GP), (task("in-progress"), WES))
    assert into(TASK, by_gp, ASKS, HERE, AT) is not None


@pytest.mark.parametrize(
    ("what", "over", "again"),
    [
        ("ServiceRequest/r", {"status": "revoked", "basedOn": [{"reference": "CarePlan/p"}]}, {"status": "active", "basedOn": [{"reference": "CarePlan/p"}]}),
        ("CarePlan/p", {"status": "revoked", "careTeam": [{"reference": TEAM}]}, {"status": "active", "careTeam": [{"reference": TEAM}]}),
        (TEAM, {"status": "inactive"}, {"status": "active"}),
    ],
)
def test_what_was_over_and_they_brought_back_brings_them_nowhere(what: str, over: dict[str, Any], again: dict[str, Any]) -> None:
    chains = then(record((task("requested"), GP), (task("accepted"), WES)), what, over, GP, AT)
    assert into(TASK, chains, ASKS, HERE, AT) is None
    assert into(TASK, then(chains, what, again, WES, AT), ASKS, HERE, AT) is None
    assert into(TASK, then(chains, what, again, GP, AT), ASKS, HERE, AT) is not None


@pytest.mark.parametrize(
    "period",
    [
        {"start": "2026-11-01T10:00:00.001Z"},  # a millisecond later
        {"start": "2026-11-01T10:00:00Z"},  # the same, as another system writes it
        {"start": "2026-11-01T10:00:00.000+00:00", "end": "2027-06-01"},  # shorter
    ],
)
@pytest.mark.parametrize("by", [WES, GP])
def test_a_shorter_time_is_the_same_membership_and_ends_with_the_task(period: dict[str, str], by: Writer) -> None:
    chains, at = taken(), AT + DAY
    gp, wes = chains[TEAM][-1].body["participant"]
    chains = then(chains, TEAM, {**chains[TEAM][-1].body, "participant": [{**wes, "period": period}, gp]}, by, AT + 1)
    assert [r.counts for r in from_team(TEAM, chains[TEAM], (), HERE) if "Practitioner/wes" in r.names] == [True]
    change = out(TASK, then(chains, TASK, task("completed"), WES, at), False, at)
    assert change is not None and [m["member"] for m in change.body["participant"]] == [wes["member"], gp["member"]]
    (r,) = [r for r in from_team(TEAM, [*chains[TEAM], Version(change.body, WES, at)], (), HERE) if "Practitioner/wes" in r.names]
    assert r.high is not None and r.high < at


def test_the_start_of_a_whole_team_that_stands_for_theirs_hides_nobody() -> None:
    """Without a period of their own they have the team's: not longer than they had, so they are in it by the referral still."""
    chains, at = taken(), AT + DAY
    gp, wes = chains[TEAM][-1].body["participant"]
    body = {**chains[TEAM][-1].body, "period": {"start": wes["period"]["start"], "end": "2027-01-01"}, "participant": [gp, {k: v for k, v in wes.items() if k != "period"}]}
    chains = then(chains, TEAM, body, WES, AT + 1)
    assert [r.counts for r in from_team(TEAM, chains[TEAM], (), HERE) if "Practitioner/wes" in r.names] == [True]
    assert out(TASK, then(chains, TASK, task("completed"), WES, at), False, at) is not None


def test_who_would_come_later_does_not_come_once_the_task_is_over() -> None:
    chains, at = taken(), AT + DAY
    gp, wes = chains[TEAM][-1].body["participant"]
    chains = then(chains, TEAM, {**chains[TEAM][-1].body, "participant": [gp, {**wes, "period": {"start": "2026-12-01"}}]}, WES, AT + 1)
    change = out(TASK, then(chains, TASK, task("completed"), WES, at), False, at)
    assert change is not None and change.body["participant"] == [gp]


def test_the_same_end_written_to_the_second_is_the_same_membership() -> None:
    asked = task("requested", restriction={"period": {"end": "2026-11-20T10:00:00.123Z"}})
    chains = record((asked, GP), (asked | {"status": "accepted"}, WES))
    change = into(TASK, chains, ASKS, HERE, AT)
    assert change is not None and change.by is not None
    chains = then(chains, TEAM, change.body, change.by, AT)
    gp, wes = change.body["participant"]
    for end, found in (("2026-11-20T10:00:00Z", True), ("2026-11-21", False)):
        longer = then(chains, TEAM, {**change.body, "participant": [gp, {**wes, "period": {"start": "2026-11-01T10:00:00Z", "end": end}}]}, GP, AT + 1)
        over = then(longer, TASK, asked | {"status": "completed"}, WES, AT + DAY)
        assert (out(TASK, over, False, AT + DAY) is not None) is found, "for longer, they were put in by whoever wrote that"


def test_a_file_of_a_plan_takes_out_whom_its_writer_was_shown_and_nobody_else() -> None:
    now = taken()[TEAM][-1].body
    without = {**now, "participant": now["participant"][:1]}
    assert with_helpers(without, now, {}) == now == with_helpers(dict(now), now, now), "they do not know them, or kept them"
    assert with_helpers(without, now, now) == without


def test_they_are_in_the_team_for_whom_they_took_it_on_and_for_nobody_else() -> None:
    chains = taken()
    gp, wes = chains[TEAM][-1].body["participant"]
    rewritten = {**chains[TEAM][-1].body, "participant": [gp, {k: v for k, v in wes.items() if k != "onBehalfOf"}]}
    elsewhere = HERE.actor("Practitioner/wes", kind="professional", organisation="Organization/hospice", at=NOW)
    for team in (chains[TEAM], [*chains[TEAM], Version(rewritten, WES, AT + 1)]):
        known = Standing(P1, relationships=tuple(replace(r, consent_needed=False) for r in from_team(TEAM, team, (), HERE)))
        for actor, at_work in ((ASKS, True), (replace(elsewhere, organisation="Organization/hospice"), False)):
            assert (related(known, actor, AT + 2) is not None) is looks_after(known, actor, AT + 2, None) is at_work
            assert (TEAM in team_names(known, actor, AT + 2)) is (TEAM in names(known, actor, AT + 2, actor.ids)) is at_work
            assert in_team(known, actor, AT + 2, frozenset({"Practitioner/wes"})) is at_work
    nowhere = replace(ASKS, organisation=None)
    assert into(TASK, record((task("requested"), GP), (task("accepted"), WES)), nowhere, HERE, AT) is None


@pytest.mark.parametrize(
    ("what", "now"),
    [
        ("ServiceRequest/r", {"status": "revoked", "basedOn": [{"reference": "CarePlan/p"}]}), ("ServiceRequest/r", {"status": "active"}), ("ServiceRequest/r", None),
        ("ServiceRequest/r", {"status": "active", "basedOn": [{"reference": "CarePlan/another"}]}),
        ("CarePlan/p", {"status": "revoked", "careTeam": [{"reference": TEAM}]}), ("CarePlan/p", {"status": "active"}), ("CarePlan/p", None),
    ],
)  # fmt: skip
def test_with_the_referral_the_plan_and_its_naming_the_team_their_time_is_over(what: str, now: dict[str, Any] | None) -> None:
    chains, at = taken(), AT + DAY
    assert out(TASK, chains, False, at) is None
    element = {"ServiceRequest/r": "basedOn", "CarePlan/p": "careTeam"}[what]
    assert helping.loses(now, chains[what][-1].body, element) and not helping.loses(chains[what][-1].body | {"title": "New"}, chains[what][-1].body, element)
    without = then(chains, what, now, GP, at) if now is not None else {r: c for r, c in chains.items() if r != what}
    change = out(TASK, without, False, at)
    assert change is not None and change.body["participant"][1]["period"]["end"] == "2026-11-02T09:59:59.999Z"


def test_a_task_that_brought_nobody_in_ends_nobodys_time() -> None:
    chains, at = taken(), AT + DAY
    short = task("accepted", focus={"reference": "ServiceRequest/another"}, restriction={"period": {"end": "2026-11-02"}})
    assert out("Task/u", {**chains, "Task/u": [Version(short | {"status": "requested"}, GP, AT), Version(short, WES, AT)]}, False, at) is None


@pytest.mark.parametrize(("owner", "client", "kept", "counts"), [
    ("charity", f"{BY_LINK}1", {}, True), ("charity", f"{BY_LINK}1", {TASK: "Organization/charity"}, True), ("charity", f"{BY_LINK}1{OF_PERSON}", {}, True),
    ("surgery", f"{BY_LINK}1", {}, False), ("surgery", f"{BY_LINK}1", {TASK: "Organization/surgery"}, False),
    ("surgery", f"{BY_LINK}1{OF_PERSON}", {}, True), ("surgery", "their-system", {}, True), ("surgery", f"{BY_LINK}1", {TASK: "Practitioner/gp"}, True),
])  # fmt: skip
def test_a_yes_by_a_link_that_a_colleague_made_is_none_of_a_health_organisation(owner: str, client: str, kept: dict[str, str], counts: bool) -> None:
    """A charity has no accounts, and the person's own yes to it as well; what an earlier release kept of a link tells not who made it."""
    where = {"owner": {"reference": f"Organization/{owner}"}}
    by = Writer(f"Organization/{owner}", f"Organization/{owner}", client, "system")
    chain = [Version(task("requested", **where), GP, AT - DAY), Version(task("accepted", **where), by, AT)]
    (found,) = from_task(TASK, chain, HERE, kept)
    assert (found.counts, found.consent_needed) == (counts, owner == "charity")
