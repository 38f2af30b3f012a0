"""A Standing out of a person's record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .descendants import Descendants, widened
from .directory import Directory
from .emergencies import Emergency
from .grants import Grant
from .periods import bounds
from .person import born, died, is_at_risk, links, operator_facts
from .practice import practice_of
from .provisions import Uncomputable, parse
from .relationships import (
    asks_membership,
    confirmations_in,
    from_claim,
    from_practice,
    from_referral,
    from_task,
    from_team,
    invitations,
)
from .slips import of_partner
from .standing import Broken, Policy, Relationship, Standing
from .versions import Record, Version, chains_of, remembered


def build(
    patient: str,
    records: Sequence[Record],
    claims: Iterable[Mapping[str, Any]],
    directory: Directory,
    policy: Policy,
    *,
    accepted: Mapping[str, str] | None = None,
    emergencies: Iterable[Emergency] = (),
) -> Standing:
    """From the record of `patient` (`Patient/…`): its Consents, CareTeams, Tasks, ServiceRequests, RelatedPersons, Patient.

    `records` may hold every version of a resource, and should for CareTeam, Task, ServiceRequest and Patient: who named an
    owner, and whether the owner accepted, is read from the versions' writers. Where earlier versions are missing, only what
    the present writer itself wrote counts.

    `claims` are `{user, organisation?, reason, at, until?}`. `accepted` maps a Task (`Task/…`) to the user who accepted it,
    where that is also kept elsewhere. `emergencies` are those ever begun about this person: what is over counts for nothing.

    A Patient that is deleted ends what its practice may do, and all that opened by it: an attorney's role with the lost capacity, a
    parent's with the age, what another record said yes to. What protected the person (danger, opt-out, suspended proxies, death, the noes and
    dangers of merged records) holds as the Patient last said it: otherwise whoever deletes it would be shown where they are.
    """
    chains = chains_of(records)
    now = {ref: chain[-1] for ref, chain in chains.items()}
    taken = {ref: user for ref, user in (accepted or {}).items()}
    confirmations = list(confirmations_in(now, chains, directory, taken))
    grants, broken = _consents(now, records, policy.descendants)
    related: list[Relationship] = []
    for ref in sorted(now):
        kind, chain = ref.split("/", 1)[0], chains[ref]
        if kind == "Task" and not asks_membership(now[ref].body):
            related += from_task(ref, chain, directory, taken)
        elif kind == "ServiceRequest":
            related += from_referral(ref, chain, now, chains, directory, taken)
        elif kind == "CareTeam":
            related += from_team(ref, chain, confirmations, directory)
        elif ref == patient:
            related += from_practice(ref, chain, confirmations, directory)
    related += [from_claim(c) for c in claims if str(c.get("reason") or "").strip()]
    known = remembered(records, patient)
    person = known[-1] if known else None
    body = person.body if person else {}
    others = tuple(links(known))
    return Standing(
        patient, grants, broken, tuple(related), tuple(invitations(now)), others,
        died=died(person), born=born(body), at_risk=is_at_risk(body), practice=practice_of(body, directory, linked=any(k.merged for k in others)), policy=policy,
        emergencies=tuple(e.open for e in emergencies if e.ended is None), gone=bool(known) and patient not in now, **operator_facts(known),
    )  # fmt: skip


def _consents(
    now: Mapping[str, Version], records: Sequence[Record], descendants: Descendants
) -> tuple[tuple[Grant, ...], tuple[Broken, ...]]:
    latest: dict[str, int] = {}
    for r in records:
        latest[str(r.ref)] = max(r.version, latest.get(str(r.ref), 0))
    grants: list[Grant] = []
    broken: list[Broken] = []
    for ref in sorted(now):
        if ref.startswith("Consent/"):
            read = read_foreign if now[ref].writer.method == "SYNC" else read_consent
            grant = read(now[ref].body, ref.removeprefix("Consent/"), latest[ref])
            (grants if isinstance(grant, Grant) else broken).append(grant)  # type: ignore[arg-type]
    return tuple(widened(g, descendants) for g in grants if g.speaks()), tuple(b for b in broken if b.where)


def read_consent(body: Mapping[str, Any], id: str, version: int) -> Grant | Broken:
    """A Grant, or what stands in for one that cannot be computed; a Broken with empty `where` has no effect at all."""
    try:
        return parse(body, id, version)
    except Uncomputable as wrong:
        provision = body.get("provision")
        try:
            low, high = bounds(provision.get("period") if isinstance(provision, dict) else None)
        except (ValueError, TypeError, AttributeError):
            low, high = None, None
        silent = body.get("status") not in ("active", None) or _other_scope(body.get("scope"))
        return Broken(id, version, "" if silent else wrong.where, wrong.why, low, high)


def read_foreign(body: Mapping[str, Any], id: str, version: int) -> Grant | Broken:
    """The same of a Consent from a partner: one with a slip in a no would close less than it seems, so it cannot be computed."""
    said = read_consent(body, id, version)
    wrong = of_partner(body) if isinstance(said, Grant) else []
    return Broken(id, version, wrong[0].where, wrong[0].text, said.root.low, said.root.high) if wrong and isinstance(said, Grant) else said


def _other_scope(concept: Any) -> bool:
    codes = [c.get("code") for c in (concept or {}).get("coding", ())] if isinstance(concept, dict) else []
    return bool(codes) and all(c in ("treatment", "adr") for c in codes)
