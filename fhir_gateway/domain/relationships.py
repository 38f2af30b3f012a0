"""Who looks after a person, read from the versions of their record: the paragraph of consent.md, but for the asker and the instant."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import inf
from typing import Any, Final, NamedTuple

from .directory import Directory
from .periods import bounds
from .referring import counts
from .standing import ACCEPTED, CONFIRMED, OPEN, Invitation, Relationship, named_by
from .types import Writer
from .versions import Version, since
from .vocabulary import CONFIRM_MEMBERSHIP, TASK_SYSTEM

JOINED: Final = "JOIN"  # `Writer.method` of the version by which an accepted referral put somebody into a team (`helping`): no client writes one
BY_LINK: Final = "task-link "  # how `Writer.client` begins for what came by a link to one task (`gate.task_links`)
OF_PERSON: Final = " of the person"  # and how it ends where the person made the link, or who chooses for them

# -- from Tasks, referrals, teams, practices, claims ------------------------------------------------------------------


def from_task(ref: str, chain: Sequence[Version], directory: Directory, taken: Mapping[str, str]) -> Iterator[Relationship]:
    """An open Task counts from when this owner was named on it; re-opening or prolonging it is naming them anew."""
    body = chain[-1].body
    names = named_by(body.get("owner"))
    if not names or body.get("status") not in OPEN:
        return
    low, high = _span((body.get("restriction") or {}).get("period"))

    def named(b: Mapping[str, Any]) -> bool:
        within = _within((low, high), _span((b.get("restriction") or {}).get("period")))
        return within and b.get("status") in OPEN and named_by(b.get("owner")) == names

    took = _took(ref, chain, names, ACCEPTED, directory, taken, named)
    yield _weigh(names, since(chain, named), took, directory, "task", ref, low, high)


def from_referral(
    ref: str, chain: Sequence[Version], now: Mapping[str, Version], chains: Mapping[str, Sequence[Version]], directory: Directory,
    taken: Mapping[str, str],
) -> Iterator[Relationship]:  # fmt: skip
    """A performer has accepted once they accepted a Task of their own about this referral: for as long as that Task says."""
    body = chain[-1].body
    if body.get("status") != "active":
        return
    about = [
        (t, named_by(v.body.get("owner"))) for t, v in now.items()
        if t.startswith("Task/") and ref in named_by(v.body.get("focus")) | {r for b in v.body.get("basedOn", ()) for r in named_by(b)}
    ]  # fmt: skip
    named = _named(chain, "performer")
    for performer in body.get("performer", ()):
        names = named_by(performer)
        if not names:
            continue
        by = since(chain, lambda b, n=names: b.get("status") == "active" and n in named[id(b)])
        spans = {
            _span((chains[t][-1].body.get("restriction") or {}).get("period")) for t, owner in about
            if owner & names and _took(t, chains[t], names, ACCEPTED, directory, taken, _asked(chains[t], names))
        }  # fmt: skip
        for low, high in sorted(spans, key=str) or [(None, None)]:
            yield _weigh(names, by, bool(spans), directory, "referral", ref, low, high)


def _asked(chain: Sequence[Version], names: frozenset[str]) -> Any:
    """Was this version of a Task asking them, for all of the time that it gives them now: a longer time is asking anew."""
    now = _span((chain[-1].body.get("restriction") or {}).get("period"))

    def asked(b: Mapping[str, Any]) -> bool:
        return bool(named_by(b.get("owner")) & names) and _within(now, _span((b.get("restriction") or {}).get("period")))

    return asked


def from_team(
    ref: str, chain: Sequence[Version], confirmations: Sequence[Confirmation], directory: Directory
) -> Iterator[Relationship]:
    """A member counts from when they were put in; a longer period, or a team brought back, is putting them in anew."""
    confirmed = frozenset().union(*(c.names for c in confirmations if c.focus == ref))
    for member, by in put_in(chain):
        if all(n.split("/")[0] in ("Patient", "RelatedPerson", "CareTeam") for n in member.names):
            continue
        joined = by is not None and by.writer.method == JOINED
        found = _weigh(member.names, by, joined or bool(confirmed & member.names), directory, "team", ref, member.low, member.high, team=ref)
        yield replace(found, place=_joined_for(by.body, member.names)) if by is not None and joined else found


def _joined_for(team: Mapping[str, Any], names: frozenset[str]) -> frozenset[str]:
    """For which organisation a referral brought this member in, as it said so then; for nobody's, where it named none."""
    for p in reversed(team.get("participant", ())):
        if named_by(p.get("member")) == names:
            return named_by(p.get("onBehalfOf")) or frozenset({""})
    return frozenset({""})


def put_in(chain: Sequence[Version], slack: int = 0) -> Iterator[tuple[_Member, Version | None]]:
    """Each member whom a team has now, and the version by which they are: a shorter time is the same membership, a longer one another.
    `slack`: one that is so many microseconds longer at either end is none yet."""
    teams = {id(v.body): _Team(v.body) for v in chain}
    for member in _members(chain[-1].body):

        least = member._replace(low=None if member.low is None else member.low + slack, high=None if member.high is None else member.high - slack)

        def named(b: Mapping[str, Any], m: _Member = least) -> bool:
            return teams[id(b)].had(m)

        yield member, since(chain, named)


def from_practice(
    ref: str, chain: Sequence[Version], confirmations: Sequence[Confirmation], directory: Directory
) -> Iterator[Relationship]:
    """The patient's general practitioner."""
    named = _named(chain, "generalPractitioner")
    confirmed = frozenset().union(*(c.names for c in confirmations if c.focus == ref))
    for practice in chain[-1].body.get("generalPractitioner", ()):
        names = named_by(practice)
        if names:
            by = since(chain, lambda b, n=names: n in named[id(b)])
            took = bool(confirmed & names)
            yield _weigh(names, by, took, directory, "practitioner", ref, None, None)


def from_claim(claim: Mapping[str, Any]) -> Relationship:
    """A relationship that somebody claimed with a reason; it is theirs alone, or the organisation's if it claimed as one."""
    user, organisation = claim.get("user") or "", claim.get("organisation")
    names = frozenset({user} if user else {organisation or ""}) - {""}
    low, high = _span({"start": claim.get("at"), "end": claim.get("until")})
    source = f"claim {claim.get('id', '')}".strip()
    return Relationship(names, "claim", source, low, high, user, organisation, reason=str(claim["reason"]))


def invitations(now: Mapping[str, Version]) -> Iterator[Invitation]:
    """Open Tasks and referrals: the named owner may read that one, to be able to accept it."""
    for ref, version in sorted(now.items()):
        body = version.body
        if ref.startswith("Task/") and body.get("status") in OPEN - {"draft"} and named_by(body.get("owner")):
            yield Invitation(ref, named_by(body.get("owner")))
        elif ref.startswith("ServiceRequest/") and body.get("status") == "active":
            names = frozenset().union(*(named_by(p) for p in body.get("performer", ())))
            if names:
                yield Invitation(ref, names)


# -- who is named, and did they accept --------------------------------------------------------------------------------


def _weigh(
    names: frozenset[str], by: Version | None, took: bool, directory: Directory, origin: str, source: str,
    low: int | None, high: int | None, team: str = "",
) -> Relationship:  # fmt: skip
    """One named owner, judged by every sentence of the paragraph except those that need the asker or the instant."""
    writer = by.writer if by else Writer("")
    cared = health_or_care(names, directory, by.at if by else 0)
    why = ""
    if by is None:
        why = "who named them is not known"
    elif not counts(writer, directory, by.at):
        why = "whoever wrote it could not refer"
    elif not took:
        why = "they have not accepted"
    if by is not None:
        low = by.at if low is None else max(low, by.at)
    return Relationship(
        names,
        origin,
        source,
        low,
        high,
        writer.user,
        writer.organisation,
        not why,
        why,
        consent_needed=not cared,
        team=team,
    )


def health_or_care(names: frozenset[str], directory: Directory, at: int) -> bool:
    """Is any of these, by where they work then, health or social care."""
    places = {o for n in names for o in directory.organisations_of(n, at)}
    return any(directory.sector(o) in ("health", "social-care") for o in places)


def _took(
    ref: str, chain: Sequence[Version], names: frozenset[str], statuses: frozenset[str], directory: Directory,
    taken: Mapping[str, str], named: Any,
) -> bool:  # fmt: skip
    """Did the owner themselves move this Task to accepted, since they were named."""
    if chain[-1].body.get("status") not in statuses:
        return False
    cared = health_or_care(names, directory, chain[-1].at)
    user = taken.get(ref)
    if user and not (cared and user.startswith("Organization/")) and _user_owns(user, None, names, directory, chain[-1].at):
        return True
    for version in reversed(chain):
        if not named(version.body) or version.body.get("status") not in statuses:
            return False
        if _owns(version.writer, names, directory, version.at) and not (cared and _handed_over(version.writer)):
            return True
    return False


def _handed_over(writer: Writer) -> bool:
    """Did it come by a link to one task that a colleague made. Whoever has a link is the organisation for that Task, its maker too; in health and
    social care, where people sign in, the record opens to nobody by that (docs/referrals.md)."""
    client = writer.client or ""
    return client.startswith(BY_LINK) and not client.endswith(OF_PERSON)


def _owns(writer: Writer, names: frozenset[str], directory: Directory, at: int) -> bool:
    """Is this writer the named owner, or of the named organisation."""
    return _user_owns(writer.user, writer.organisation, names, directory, at)


def _user_owns(user: str, organisation: str | None, names: frozenset[str], directory: Directory, at: int) -> bool:
    return not names_of(user, organisation, directory, at).isdisjoint(names)


def names_of(user: str, organisation: str | None, directory: Directory, at: int) -> frozenset[str]:
    """What a writer is called: themselves, their roles there, their organisation with all above it."""
    called = {user} - {""}
    if user.startswith("Practitioner/"):
        called |= directory.people.get(user, ("", frozenset()))[1]
    for role in directory.roles_at(user, at, organisation) if user.startswith("Practitioner/") else ():
        called |= {role.ref, *role.services, *role.identifiers}
    places = {organisation} if organisation else directory.organisations_of(user, at)
    for place in places:
        called |= directory.organisation_names(place)
    return frozenset(called)


@dataclass(frozen=True, slots=True)
class Confirmation:
    focus: str
    names: frozenset[str]


def asks_membership(body: Mapping[str, Any]) -> bool:
    codings = (body.get("code") or {}).get("coding", ())
    return any(c.get("system") == TASK_SYSTEM and c.get("code") == CONFIRM_MEMBERSHIP for c in codings)


def confirmations_in(
    now: Mapping[str, Version],
    chains: Mapping[str, Sequence[Version]],
    directory: Directory,
    taken: Mapping[str, str],
) -> Iterator[Confirmation]:
    """Members who said "yes, I am": confirm-membership Tasks that their own owner accepted."""
    for ref, version in now.items():
        if ref.startswith("Task/") and asks_membership(version.body):
            names = named_by(version.body.get("owner"))
            named = lambda b, n=names: named_by(b.get("owner")) == n and asks_membership(b)  # noqa: E731
            if names and _took(ref, chains[ref], names, CONFIRMED, directory, taken, named):
                for focus in named_by(version.body.get("focus")):
                    yield Confirmation(focus, names)


class _Member(NamedTuple):
    names: frozenset[str]
    low: int | None
    high: int | None
    place: int  # in `participant`


def _members(team: Mapping[str, Any]) -> list[_Member]:
    """Who is in an active team, and when."""
    if team.get("status") not in ("active", None):
        return []
    whole = _span(team.get("period"))
    found = ((named_by(p.get("member")), _both(whole, _span(p.get("period"))), n) for n, p in enumerate(team.get("participant", ())))
    return [_Member(names, *span, n) for names, span, n in found if names]


class _Team:
    """The members of one version of a team, by what they are called: each is asked about once for each member there is now."""

    def __init__(self, team: Mapping[str, Any]) -> None:
        spans: dict[frozenset[str], set[tuple[float, float]]] = {}
        for m in _members(team):
            spans.setdefault(m.names, set()).add((-inf if m.low is None else m.low, inf if m.high is None else m.high))
        self.spans = {names: sorted(some) for names, some in spans.items()}  # by when they begin, and when the last of those so far ends
        self.ends = {names: list(accumulate((high for _, high in some), max)) for names, some in self.spans.items()}

    def had(self, member: _Member) -> bool:
        """Whether they were in it for all of the time that they are now."""
        at = bisect(self.spans.get(member.names, ()), (-inf if member.low is None else member.low, inf)) - 1
        return at >= 0 and self.ends[member.names][at] >= (inf if member.high is None else member.high)


def _named(chain: Sequence[Version], element: str) -> dict[int, set[frozenset[str]]]:
    """By version (the id of its body): who is named in this element of it."""
    return {id(v.body): {named_by(n) for n in v.body.get(element, ())} for v in chain}


# -- spans ------------------------------------------------------------------------------------------------------------


def _span(period: Mapping[str, Any] | None) -> tuple[int | None, int | None]:
    """A period that cannot be read covers nothing."""
    try:
        return bounds(period)
    except (ValueError, TypeError):
        return 1, 0


def _within(inner: tuple[int | None, int | None], outer: tuple[int | None, int | None]) -> bool:
    """Does the outer span hold all of the inner one; None is open."""
    starts = outer[0] is None or (inner[0] is not None and inner[0] >= outer[0])
    return starts and (outer[1] is None or (inner[1] is not None and inner[1] <= outer[1]))


def _both(a: tuple[int | None, int | None], b: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
    lows = [x for x in (a[0], b[0]) if x is not None]
    highs = [x for x in (a[1], b[1]) if x is not None]
    return max(lows, default=None), min(highs, default=None)
