"""Every kind of what is kept by name beside the records (`Keep`): is it in a person's copy, and does it go with their record.

A kind that is added says so here; a test reads every `Keep` of the program. docs/subject-access.md, docs/retention.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """`file` is the one of the copy that has it (without `.ndjson`); where there is none, `why` says why. `goes`: with the record."""

    file: str = ""
    why: str = ""
    goes: bool = False


def _all(names: str, why: str, *, goes: bool = False) -> dict[str, Kind]:
    return {name: Kind(why=why, goes=goes) for name in names.split()}


KINDS: Final[dict[str, Kind]] = {
    # by `Patient/… more`, or by the person alone
    "claim": Kind("claims", goes=True),
    "claim-said": Kind("claims-said", goes=True),
    "emergency": Kind("emergencies", goes=True),
    "accepted": Kind("accepted", goes=True),
    "draft": Kind("drafts", goes=True),
    "begun": Kind("begun", goes=True),
    "notice": Kind("notices", goes=True),
    "told": Kind("told", goes=True),
    "tell-choice": Kind("tell-choice", goes=True),
    "tell-changes": Kind("tell-changes", goes=True),
    "tell-new": Kind("tell-new", goes=True),
    "sharing-preferences": Kind("sharing-preferences", goes=True),
    "retention-hold": Kind("retention-hold"),
    "printed": Kind("printed", goes=True),
    # by what stands in it
    "tell-former": Kind("tell-former", goes=True),
    "inbox": Kind("waiting", goes=True),
    "quarantine": Kind("waiting", goes=True),
    "conflict": Kind("waiting", goes=True),
    "parked": Kind("waiting", goes=True),
    "recall-ended": Kind("waiting", goes=True),
    "identity": Kind("waiting", goes=True),
    "account": Kind("sign-ins", goes=True),
    "grant": Kind("apps"),
    **_all("reaches", "claims and emergencies say the same", goes=True),
    **_all("tell-code", "the name of the code on its way to the address in tell-new, and nothing else", goes=True),
    **_all("report", "counts over many people, of nobody in particular"),
    **_all("counted", "keyed hashes of who was in a report, without what was counted, for a year: the records that were counted are in the copy; gate/told_again takes out whoever's record ends"),
    **_all("nhs-number", "it points from the number to the record, which has it", goes=True),
    **_all("attempt", "what is on its way to a partner, for moments: what got there is in disclosures and audit", goes=True),
    **_all("identity-met", "that a partner's record was found to be the person's, which the link says", goes=True),
    **_all("deleted-there", "that a partner deleted its copy, which the conflict in waiting says", goes=True),
    **_all("deleted-here", "that a partner's own record was deleted here, until it is known that it is there, too, or is not: the audit says so", goes=True),
    **_all("left-there", "whom what stays in a partner's record is about, which was deleted here: disclosures says that it is there", goes=True),
    **_all("lost-there", "that a partner lost its copy, until it is queued again: the audit says so", goes=True),
    **_all("missed", "that a partner said of a copy that it has it not, for three days; the id that it has there"),
    **_all("main-of-merged", "which plan somebody goes on with whose records were merged: the plans are in the record", goes=True),
    **_all("main-plan", "which of the person's plans is the main one: they are in the record", goes=True),
    **_all("extracted", "what each part of somebody's answers became, as the Provenance of it says", goes=True),
    **_all("recall-told", "that a notice went, which is in notices; the name of a partner and a number"),
    **_all(
        "session session-of code launch launched refresh online grant-of",
        "the hash of a key to a sign-in that is under way, which ends by itself: sign-ins are in audit, apps in apps",
    ),
    **_all("laid", "the digest of each word of a partner's list, so that the same list says nothing anew: the words are in the record", goes=True),
    **_all("sent-plan", "the digest of each word of a plan as a system sent it last, so that it undoes nothing by sending it again: the words are in the record", goes=True),
    **_all("reading", "under which name a text message came, as the identifier of the Observation says", goes=True),
    **_all("task-link task-link-of task-link-to", "the digest of a link to one task, which ends by itself: who made it and what came through it is in audit"),
    **_all("sign-in-failures", "a count under the hash of a name, for a day: wrong passwords are in audit"),
    **_all("push if-none-exist", "which request made which record, so that it makes none again; ends by itself"),
    **_all("newcomers", "how far notices of one change are queued; ends by itself"),
    **_all("printed-link", "which version a link on paper stands for, by the hash of the link: who printed it for whom is in audit", goes=True),
    **_all("disposed", "the certificate of a record that is gone"),
    **_all("finding", "the tries of a member of staff to find people"),
    **_all("client key-used jti revoked secret signing-key remote-key audit-key", "of apps, systems and keys: no person"),
    **_all("audit-head audit-told journal journal-pending journal-end store health labelled", "of this store: no person"),
    **_all("hook-called hook-there", "how a partner tells that something changed there: no person"),
    **_all("watermark backfill turned dropped held-there out-of-reach remote-state reader", "how far a partner is, and what its server keeps and does not: no person"),
    **_all("subscription subscription-state", "which changes a system asked to be told of; by its opaque id at most, and what it was told is in audit"),
    **_all("subscription-event", "which change a system was told of, for a week, as audit says", goes=True),
    **_all("demo", "the names of what the demo loads"),
}
