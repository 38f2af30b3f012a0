"""Consents from a partner: kept as far as they close. One that cannot be computed closes until it is put right or ended; for one that
cannot even be read whole, a no of ours stands until then, and for one that waits because it says yes, too, the no in it. docs/consents.md"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from ..domain import consenting, strict
from ..domain.building import read_consent, read_foreign
from ..domain.grants import Grant, walk
from ..domain.noes import noes, opts_out
from ..domain.problem import Problem
from ..domain.standing import Broken
from ..domain.types import Always, Op, Ref, Stored
from ..domain.validate import check
from ..domain.vocabulary import ACT_CODE, CONSENT_SCOPE, CORRECT_CONSENT, OURS, POLICY_SYSTEM, TASK_SYSTEM, UK_DIRECT_CARE
from .committing import Also, Work
from .context import Context, Written
from .proving import need_proof
from .raising import raise_task, task_of_the_house
from .recording import need_evidence
from .storing import put_by_house

STATUSES: Final = ("draft", "proposed", "active", "rejected", "inactive", "entered-in-error")  # http://hl7.org/fhir/R4/valueset-consent-state-codes.html
WAITS: Final = {"system": f"{OURS}/id/waits", "code": "no-of-a-consent"}  # meta.tag of a Consent of ours that holds the no in one that waits
BY_THEMSELVES: Final = frozenset({"patient", "proxy"})


async def keep_foreign(ctx: Context, body: dict[str, Any], people: Collection[str], *, over: Stored | None = None, also: Also | None = None) -> Written:
    """A Consent that a partner sent: kept as far as it closes, in the place of what is kept of it (`over`). One that cannot be computed closes,
    and raises a Task. `people`: those (`Patient/id`) whom that partner and we share, for a partner closes nobody else's record.

    Problem business-rule for one that would open something: that is the person's to say here.
    """
    person = str((body.get("patient") or {}).get("reference", ""))
    stored = await ctx.house.store.get(Ref("Patient", person.removeprefix("Patient/")))
    if not person.startswith("Patient/") or person not in people or stored is None or stored.deleted:
        raise Problem("business-rule", "This must be about a person who is here and whom you share with us.", "Consent.patient")
    if over is not None and person not in over.facts.patients:
        raise Problem("business-rule", "This was somebody else's consent before.", "Consent.patient")
    wrong = [i for i in check(body, ctx.house.r4) if i.severity in ("error", "fatal")]
    if wrong:
        raise Problem("invalid", f"{len(wrong)} thing(s) in this Consent must be put right.", issues=wrong)
    ref = over.ref if over is not None else Ref("Consent", ctx.house.new_id())
    said = read_foreign(body, ref.id, 1)
    if isinstance(said, Grant) and said.speaks() and not consenting.only_closes(said):
        raise Problem("business-rule", "A consent from a partner opens nothing here: the person says so here, or it is recorded here.", "Consent.provision")
    work = Work(ctx)
    written = await put_by_house(work, ref, body, over, "sync", "from a partner", method="SYNC")
    if over is not None:
        await _asked_no_more(work, over, "sync", "the partner sent it anew")
    if isinstance(said, Broken) and said.where:
        text = f"This consent cannot be computed, so it closes the record until it is corrected or ended. {said.where}: {said.why}"
        task = task_of_the_house(work.ctx, CORRECT_CONSENT, text, person, str(ref))
        await put_by_house(work, Ref("Task", work.ctx.house.new_id()), task, None, "sync", "raised by a consent that cannot be computed")
    done = Written(ref, written.version, written.updated, None, "updated" if over is not None else "created")
    await work.commit(*(also(done) if also is not None else ()))
    return done


# -- what cannot be read whole ----------------------------------------------------------------------------------------


def may_be_no(body: Any) -> bool:
    """Would this, what came of a Consent, close something? Whatever cannot be read may. Not what is not in force, nor what only opens: that waits to
    be said here."""
    if not isinstance(body, dict) or body.get("resourceType") != "Consent" or body.get("status") not in STATUSES:
        return True
    said = read_foreign(body, "", 0)
    return bool(said.where) if isinstance(said, Broken) else said.speaks() and (consenting.only_closes(said) or _says_no(said) or opts_out(body))


def only_opens(body: Any) -> bool:
    """Is this a Consent in which there is no no, nor in the policy that it is an exception to?"""
    said = read_foreign(body, "", 0)
    return isinstance(said, Grant) and said.speaks() and not _says_no(said) and not opts_out(body)


def _says_no(said: Grant) -> bool:
    return any(r.type == "deny" for r in walk(said.root))


def its_no(ctx: Context, person: str, body: Any) -> dict[str, Any] | None:
    """The no in this Consent of theirs, whose references are as we call what they name, as a Consent of ours about this person; None where there is
    none, or what it says no to cannot be told for sure."""
    said = read_foreign(body, "", 0) if isinstance(body, dict) else None
    if not isinstance(said, Grant) or not said.speaks() or not _says_no(said) or (opts_out(body) and said.root.type != "deny"):
        return None
    no = _ours(person, ctx) | {
        "meta": {"tag": [WAITS]}, "policyRule": {"coding": [{"system": POLICY_SYSTEM, "code": UK_DIRECT_CARE}]},
        **({"scope": body["scope"]} if "scope" in body else {}), "provision": noes(body.get("provision") or {}, said.root.type),
    }  # fmt: skip
    again = read_foreign(no, "", 0)
    told = isinstance(again, Grant) and _says_no(again) and consenting.only_closes(again)
    return no if told and not any(i.severity in ("error", "fatal") for i in check(no, ctx.house.r4)) else None


async def take_as_no(ctx: Context, person: str, why: str, over: Stored | None, no: dict[str, Any] | None = None) -> tuple[Ref, list[Op]]:
    """A small Consent of ours that closes this person's record until somebody has looked, in the place of what is kept of theirs (`over`), and
    the operations that write it, and the Task that says so, for a commit with what was not taken in. `why`: in plain words. With `no` (`its_no`)
    it closes what that says no to; else it is one that cannot be computed: nobody knows to whom and to what theirs says no. consent.md 1.4
    """
    ref = over.ref if over is not None else Ref("Consent", ctx.house.new_id())
    if over is not None and over.body is not None and no is None:
        said = read_foreign(strict.decode(over.body), ref.id, over.version)
        if isinstance(said, Broken) and said.where:  # it closes already
            return ref, []
    work = Work(ctx)
    await put_by_house(work, ref, no or _unread(person, why, ctx), over, "sync", "a partner's, which was not taken in whole", method="SYNC")
    if over is not None:
        await _asked_no_more(work, over, "sync", "the partner sent it anew")
    _, task = await raise_task(ctx, CORRECT_CONSENT, (_SHARES_NOTHING if no is None else _HOLDS).format(why=why), person, ref)
    return ref, [*work.ops, *work.trail, *task]


_SHARES_NOTHING: Final = "Another service sent us a choice about sharing this record, and we could not read all of it: {why}. It may be a no. So we share nothing of the record until somebody has looked at it."
_HOLDS: Final = "Another service sent us a choice about sharing this record, and we do not take it as it is: {why}. What it says no to is not shared until somebody has looked at it."


def _ours(person: str, ctx: Context) -> dict[str, Any]:
    return {
        "resourceType": "Consent", "status": "active", "scope": {"coding": [{"system": CONSENT_SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}], "patient": {"reference": person},
        "dateTime": ctx.at.isoformat(timespec="seconds").replace("+00:00", "Z"),
    }  # fmt: skip


def _unread(person: str, why: str, ctx: Context) -> dict[str, Any]:
    return _ours(person, ctx) | {
        "policyRule": {"coding": [{"system": ACT_CODE, "code": "OPTOUT"}]},
        "provision": {"type": "deny", "code": [{"text": f"All that another service said, which could not be read: {why}"}]},
    }  # fmt: skip


async def over_foreign(ctx: Context, stored: Stored, why: str) -> list[Op]:
    """The operations that end what is kept of a partner's Consent, and its Tasks: it closes nothing there any more."""
    work = Work(ctx)
    await put_by_house(work, stored.ref, {**strict.decode(stored.body or b""), "status": "inactive"}, stored, "sync", why, method="SYNC")
    await _asked_no_more(work, stored, "sync", why)
    return [*work.ops, *work.trail]


def theirs(stored: Stored | None) -> bool:
    """Is this, what is kept of a partner's Consent, still as the partner or an operator left it, so that what comes of it takes its place?"""
    return stored is not None and not stored.deleted and stored.body is not None and stored.writer.kind not in BY_THEMSELVES


def stands_in(ctx: Context, stored: Stored) -> bool:
    """Does this consent, which came from the organisation that asks, close now because nobody knows what it says?"""
    if not theirs(stored) or stored.writer.method != "SYNC" or stored.writer.organisation != ctx.actor.organisation:
        return False
    said = read_foreign(strict.decode(stored.body or b"{}"), stored.ref.id, stored.version)
    return isinstance(said, Broken) and bool(said.where)


# -- for operators ----------------------------------------------------------------------------------------------------
async def uncomputable(ctx: Context) -> list[dict[str, Any]]:
    """Every consent that closes because it cannot be computed, or holds the no in one that waits: `{consent, version, patient, where, why, since}`. For
    operators."""
    from ..domain import search as searching

    if not ctx.actor.operator:
        raise Problem("forbidden", "This is for an operator.")
    query, after, out = searching.parse("Consent", [("status", "active")], ctx.house.r4), None, []
    while True:
        found = await ctx.house.store.search(query, Always(), filtered=Always(), count=200, after=after)
        for stored in found.hits:
            read = read_foreign if stored.writer.method == "SYNC" else read_consent
            body = strict.decode(stored.body or b"")
            said = read(body, stored.ref.id, stored.version)
            waits = stored.writer.method == "SYNC" and WAITS in body.get("meta", {}).get("tag", ())
            where, why = (said.where, said.why) if isinstance(said, Broken) else ("Consent", "it holds the no in one that waits") if waits else ("", "")
            if where:
                out.append({
                    "consent": str(stored.ref), "version": stored.version, "patient": next(iter(stored.facts.patients), None), "where": where,
                    "why": why, "since": stored.updated.isoformat(),
                })  # fmt: skip
        after = found.after
        if after is None:
            return out


async def end_foreign(ctx: Context, consent: str, *, evidence: str) -> Written:
    """An operator ends a consent that came from a partner, and the Task that it raised. Problem: not-found, forbidden."""
    if not ctx.actor.operator:
        raise Problem("forbidden", "This is for an operator.")
    await need_proof(ctx, "U", "record", "ending somebody else's consent")
    need_evidence(evidence)
    stored = await ctx.house.store.get(Ref("Consent", consent))
    if stored is None or stored.deleted or stored.writer.method != "SYNC":
        raise Problem("not-found", "There is no such consent from a partner.")
    work = Work(ctx)
    body = strict.decode(stored.body or b"")
    written = await put_by_house(work, stored.ref, {**body, "status": "inactive"}, stored, "record", f"ended: {evidence.strip()}")
    await _asked_no_more(work, stored, "record", "the consent was ended")
    await work.commit()
    return Written(stored.ref, written.version, written.updated, None)


async def _asked_no_more(work: Work, consent: Stored, what: str, why: str) -> None:
    """The Tasks that this consent raised are done."""
    for task in await work.ctx.house.store.patient_record(consent.facts.patients[0], ["Task"]):
        about = strict.decode(task.body or b"")
        codes = [c.get("code") for c in (about.get("code") or {}).get("coding", ()) if c.get("system") == TASK_SYSTEM]
        if CORRECT_CONSENT in codes and (about.get("focus") or {}).get("reference") == str(consent.ref) and about.get("status") == "requested":
            await put_by_house(work, task.ref, {**about, "status": "completed"}, task, what, why)


__all__ = ["end_foreign", "its_no", "keep_foreign", "may_be_no", "only_opens", "over_foreign", "stands_in", "take_as_no", "theirs", "uncomputable"]
