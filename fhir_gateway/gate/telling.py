"""Telling people that something changed: queued in the commit that changes it, without a word of what it was.

Whoever sends it (`tell`) asks consent again, and finds the channel, the language and the safe time then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from ..domain import building, strict
from ..domain.arrivals import let_in
from ..domain.directory import DIRECTORY_TYPES, confirmed
from ..domain.periods import micros
from ..domain.standing import CONFIRMED, STANDING_TYPES, Standing
from ..domain.types import Keep, Op, Ref, Send, Stored
from .context import Context, directory_now, stand

Why = Literal["break-glass", "claim", "new-access", "recall-failed", "choice-changed", "address-code", "conflict", "identity", "inbox-waits", "not-recognised"]
Whom = Literal["patient", "privacy-officer"]
QUEUES: Final = ("tell:patient", "tell:privacy-officer")
DIRECTORY: Final = "tell:directory"  # changes of the directory, until it is known whom they are news to
_OPENING: Final = frozenset({"Consent", "CareTeam", "ServiceRequest"})


def tell(why: Why, patient: str, whom: Whom = "patient") -> list[Op]:
    """Operations that queue one notice about `patient` (`Patient/…`), to be committed with what it is about."""
    return [Send(f"tell:{whom}", Ref("Patient", patient.removeprefix("Patient/")), 0, patient, why)]


def tell_of_a_message(sender: str | None) -> list[Op]:
    """One notice to the privacy officer that a message of `sender` (`Type/id`) waits in the inbox; whom it is about nobody knows yet."""
    type, _, id = (sender or "Device/unknown").partition("/")
    return [Send("tell:privacy-officer", Ref(type, id), 0, None, "inbox-waits")]


async def of_new_access(ctx: Context, new: Mapping[Ref, Stored], ops: Sequence[Op]) -> list[Op]:
    """One notice for each person to whose record these writes let somebody in who was not let in before.

    `new` is what is about to be written, `ops` all that is committed with it. Whoever writes, the person is told: on their own
    page it may have been somebody else.
    """
    people = sorted({s.facts.patients[0] for ref, s in new.items() if s.facts.patients and _may_open(ref, s)})
    out: list[Op] = []
    for person in people:
        before = (await stand(ctx.house, [person], None, ctx.place))[person]
        after = await _after(ctx, person, new, ops)
        if let_in(after, micros(ctx.at)) - let_in(before, micros(ctx.at)):
            out += tell("new-access", person)
    return out


def of_the_directory(new: Mapping[Ref, Stored]) -> list[Op]:
    """One entry for each directory resource that an operator's word changes: who is to be told is found out after the commit."""
    found = (ref for ref, s in new.items() if ref.type in DIRECTORY_TYPES and confirmed(s.writer) and not s.facts.patients)
    return [Send(DIRECTORY, ref, new[ref].version, None, "directory") for ref in found]


def _may_open(ref: Ref, stored: Stored) -> bool:
    """Can this write let somebody in at all: a look without the record, since most cannot."""
    if ref.type == "Task" and stored.body is not None:
        return strict.decode(stored.body).get("status") in CONFIRMED
    return ref.type in _OPENING or (ref.type == "Patient" and stored.version > 1)


async def _after(ctx: Context, person: str, new: Mapping[Ref, Stored], ops: Sequence[Op]) -> Standing:
    house = ctx.house
    records = await house.store.patient_versions(person, sorted(STANDING_TYPES))
    mine = [s for ref, s in new.items() if ref.type in STANDING_TYPES and person in s.facts.patients]
    accepted = {k.split(" ", 1)[1]: v.decode() for k, v in (await house.store.kept_all("accepted", ctx.at, prefix=f"{person} ")).items()}
    accepted |= {op.key.split(" ", 1)[1]: op.value.decode() for op in ops if isinstance(op, Keep) and op.kind == "accepted" and op.key.startswith(f"{person} ")}
    directory, _ = ctx.place or await directory_now(house)
    return building.build(person, [*records, *mine], (), directory, house.policy, accepted=accepted)
