"""What is known about one person now: their consents, who looks after them, who is invited, links, death.

Nothing here reads a clock. Periods are kept and judged at the instant of the question; `next_change` says when an answer may
turn without anything being written. The paragraph "A legitimate relationship exists now if …" of consent.md is `relationship`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from .descendants import Descendants, widened
from .directory import Directory
from .emergencies import Emergency
from .grants import Grant, Uncomputable, parse, walk
from .periods import bounds, covers, instant, interval, micros
from .types import Actor, BreakGlass, Facts, Ref, Writer
from .vocabulary import (
    CONFIDENTIALITY_SYSTEM,
    CONFIRM_MEMBERSHIP,
    HANDLING_SYSTEM,
    IMPLICIT_POLICIES,
    LOCATION_PROTECTED,
    TASK_SYSTEM,
    UK_DIRECT_CARE,
)

STANDING_TYPES: Final = frozenset({"Consent", "CareTeam", "Task", "ServiceRequest", "Patient", "RelatedPerson"})
ACCEPTED: Final = frozenset({"accepted", "ready", "in-progress", "on-hold"})  # Task.status: taken on and still open
OPEN: Final = ACCEPTED | {"requested", "received", "draft"}
CONFIRMED: Final = ACCEPTED | {"completed"}  # of a Task that asks "are you in this team?"
MEMO: Final = 128  # askers remembered with one standing
FACTS: Final = "https://fhir-gateway.example/StructureDefinition/"  # extensions an operator keeps on a Patient


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds where a person has said nothing (consent.md 1.9), set by the deployment.

    `break_glass`: "override" lets an emergency through, "consent-only" does not unless a consent permits it.
    `urgent_care`: references or identifiers of organisations registered as urgent care.
    `descendants`: what a deny by a code covers besides it.
    """

    implicit: str = UK_DIRECT_CARE
    break_glass: str = "override"
    urgent_care: frozenset[str] = frozenset()
    descendants: Descendants = Descendants()  # noqa: RUF009 - it never changes

    def __post_init__(self) -> None:
        if self.implicit != UK_DIRECT_CARE and self.implicit not in IMPLICIT_POLICIES:
            raise ValueError(f"`{self.implicit}` is not a policy: {UK_DIRECT_CARE}, {', '.join(sorted(IMPLICIT_POLICIES))}")
        if self.break_glass not in ("override", "consent-only"):
            raise ValueError(f"`{self.break_glass}` is not a way to break the glass: override, consent-only")

    def said(self) -> tuple[object, ...]:
        """All of it in a few words, to tell when it has changed."""
        return self.implicit, self.break_glass, self.urgent_care, self.descendants.digest


@dataclass(frozen=True, slots=True)
class Relationship:
    """Somebody looks after this person: `names` from `low` to `high` (microseconds, inclusive, None open).

    `origin`: team, practitioner, task, referral, claim. `source` is the record that says so, `writer` who wrote it there.
    `counts` is False until everything the paragraph asks for is true, `why` then says what is missing.
    `consent_needed`: the owner is no health or social care organisation, so it counts while the person's consent names them.
    `team` is the CareTeam of a member, by whose name they may also be granted.
    """

    names: frozenset[str]
    origin: str
    source: str
    low: int | None = None
    high: int | None = None
    writer: str = ""
    writer_organisation: str | None = None
    counts: bool = True
    why: str = ""
    consent_needed: bool = False
    team: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Invitation:
    """An open Task or ServiceRequest: its named owner may read that one resource."""

    ref: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Broken:
    """A consent that is in a state to have effect but cannot be computed."""

    id: str
    version: int
    where: str
    why: str
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Another record of the same person, as an operator wrote it. `merged` (replaces/replaced-by) joins consents; others only deny."""

    other: str
    merged: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about one person. `age` wins over `born` where both are given; `died` is the last instant they may have lived."""

    patient: str
    grants: tuple[Grant, ...] = ()
    broken: tuple[Broken, ...] = ()
    relationships: tuple[Relationship, ...] = ()
    invitations: tuple[Invitation, ...] = ()
    links: tuple[Link, ...] = ()
    died: int | None = None
    ndoo: bool = False
    capacity_lost: bool = False
    born: tuple[int, int] | None = None
    age: int | None = None
    safeguarding: frozenset[str] = frozenset()  # proxies whose role is suspended at once
    no_notify: bool = False  # telling the person would endanger them
    at_risk: bool = False  # nobody is shown where they are
    groups: tuple[Relationship, ...] = ()  # memberships that only give a further name (`team`)
    emergencies: tuple[BreakGlass, ...] = ()  # accesses in an emergency to this person's record, each of one actor
    policy: Policy = field(default_factory=Policy)
    memo: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)  # of `consent.decide`
    asks_referrers: bool = field(init=False, compare=False, repr=False)  # some rule speaks of what is one hop away

    def __post_init__(self) -> None:
        object.__setattr__(self, "asks_referrers", any(r.related for g in self.grants for r in walk(g.root)))

    @property
    def also(self) -> frozenset[str]:
        """Other people's standings that a decision about this one needs (links)."""
        return frozenset(link.other for link in self.links)

    def next_edge(self, at: int) -> int | None:
        """`next_change` in microseconds, remembered until it has passed."""
        since, edge = self.memo.get("edge") or (at + 1, None)
        if at < since or (edge is not None and at >= edge):
            edge = next_edge(self, at)
            self.memo["edge"] = (at, edge)
        return edge

    def next_change(self, at: datetime) -> datetime | None:
        """The next instant when a period begins or ends, or a child turns 16."""
        edge = next_edge(self, micros(at))
        return None if edge is None else instant(edge)


class Record(Protocol):
    """What is needed of `types.Stored`."""

    @property
    def ref(self) -> Ref: ...
    @property
    def version(self) -> int: ...
    @property
    def updated(self) -> datetime: ...
    @property
    def body(self) -> bytes | None: ...
    @property
    def writer(self) -> Writer: ...


# -- the question -----------------------------------------------------------------------------------------------------


def relationship(standing: Standing, actor: Actor, at: datetime) -> Relationship | None:
    """The legitimate relationship that exists now, or None. Of several the first by source."""
    return related(standing, actor, micros(at))


def related(standing: Standing, actor: Actor, at: int) -> Relationship | None:
    for r in standing.relationships:
        if _holds(standing, r, actor, at) and _before_death(standing, r):
            return r
    return None


def _holds(standing: Standing, r: Relationship, actor: Actor, at: int) -> bool:
    if not r.counts or r.names.isdisjoint(actor.ids) or not covers(r.low, r.high, at):
        return False
    if r.consent_needed and not consented(standing, r.names, at):
        return False
    if r.origin == "claim":  # by one's own word, for the organisation one said it for; in the voluntary sector it counts for nothing
        here = r.writer_organisation is None or r.writer_organisation in actor.ids
        return here and actor.sector in ("health", "social-care")
    return not own_hand(r, actor)


def own_hand(r: Relationship, actor: Actor) -> bool:
    """Did the asker, or their organisation, write this themselves. It never counts for them."""
    if r.writer and (r.writer == actor.user or r.writer in actor.ids):
        return True
    return r.writer_organisation is not None and r.writer_organisation in actor.ids


def _before_death(standing: Standing, r: Relationship) -> bool:
    """After a death only the team of record keeps its relationship."""
    return standing.died is None or (r.low is not None and r.low <= standing.died) or r.low is None


def consented(standing: Standing, names: frozenset[str], at: int) -> bool:
    """Does a permit of the person's own, in force now, name one of them."""
    return any(
        g.in_force(at) and not g.proxy and any(
            r.type == "permit" and not r.who.isdisjoint(names) and covers(r.low, r.high, at) for r in walk(g.root)
        )
        for g in standing.grants
    )  # fmt: skip


def team_names(standing: Standing, actor: Actor, at: int) -> frozenset[str]:
    """Teams and groups of this person's record that the asker belongs to now: further names of theirs, for this person only."""
    out = {g.team for g in standing.groups if covers(g.low, g.high, at) and not g.names.isdisjoint(actor.ids)}
    for r in standing.relationships:
        if r.team and r.counts and covers(r.low, r.high, at) and not r.names.isdisjoint(actor.ids) and not own_hand(r, actor):
            out.add(r.team)
    return frozenset(out)


def is_self(actor: Actor, standing: Standing) -> bool:
    """Is this the person, by this record or one that an operator merged with it."""
    mine = actor.patient
    return mine is not None and (mine == standing.patient or any(k.merged and k.other == mine for k in standing.links))


def invited(standing: Standing, names: frozenset[str]) -> frozenset[str]:
    """`Type/id` of the open Tasks and referrals that name the asker."""
    return frozenset(i.ref for i in standing.invitations if not i.names.isdisjoint(names))


def next_edge(standing: Standing, at: int) -> int | None:
    return min((e for e in _edges(standing) if e > at), default=None)


def _edges(s: Standing) -> Iterator[int]:
    spans: list[tuple[int | None, int | None]] = [(r.low, r.high) for r in (*s.relationships, *s.groups)]
    spans += [(b.low, b.high) for b in s.broken]
    spans += [(r.low, r.high) for g in s.grants if g.speaks() for r in walk(g.root)]
    for low, high in spans:
        if low is not None:
            yield low
        if high is not None:
            yield high + 1
    yield from (micros(e.expires) + 1 for e in s.emergencies)
    if s.born is not None:
        yield birthday(s.born[0], 16)


def birthday(born: int, years: int) -> int:
    """The instant a person turns this old, in London."""
    from .periods import LONDON

    day = instant(born).astimezone(LONDON)
    try:
        return micros(day.replace(year=day.year + years))
    except ValueError:  # 29 February
        return micros(day.replace(year=day.year + years, month=3, day=1))


def age_at(standing: Standing, at: int) -> int | None:
    if standing.age is not None:
        return standing.age
    if standing.born is None:
        return None
    return 16 if at >= birthday(standing.born[0], 16) else 15


# -- building ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Version:
    body: Mapping[str, Any]
    writer: Writer
    at: int


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
    """
    chains = _chains(records)
    now = {ref: chain[-1] for ref, chain in chains.items()}
    taken = {ref: user for ref, user in (accepted or {}).items()}
    confirmations = list(_confirmations(now, chains, directory, taken))
    grants, broken = _consents(now, records, policy.descendants)
    person = now.get(patient)
    related: list[Relationship] = []
    for ref in sorted(now):
        kind, chain = ref.split("/", 1)[0], chains[ref]
        if kind == "Task" and not _asks_membership(now[ref].body):
            related += _from_task(ref, chain, directory, taken)
        elif kind == "ServiceRequest":
            related += _from_referral(ref, chain, now, chains, directory, taken)
        elif kind == "CareTeam":
            related += _from_team(ref, chain, confirmations, directory)
        elif ref == patient:
            related += _from_practice(ref, chain, confirmations, directory)
    related += [_claim(c) for c in claims if str(c.get("reason") or "").strip()]
    body = person.body if person else {}
    return Standing(
        patient, grants, broken, tuple(related), tuple(_invitations(now)), tuple(_links(chains.get(patient, ()))),
        died=_died(person), born=_born(body), at_risk=_at_risk(body), policy=policy,
        emergencies=tuple(e.open for e in emergencies if e.ended is None), **_operator_facts(chains.get(patient, ())),
    )  # fmt: skip


def at_risk(facts: Facts) -> bool:
    """The same of the facts of a Patient."""
    return f"{HANDLING_SYSTEM}|{LOCATION_PROTECTED}" in facts.other_labels or facts.confidentiality in ("R", "V")


def _at_risk(patient: Mapping[str, Any]) -> bool:
    """Marked as location-protected, or restricted, which is how PDS says the same of a Patient."""
    given = (patient.get("meta") or {}).get("security", ())
    marks = {(c.get("system"), c.get("code")) for c in given if isinstance(c, Mapping)}
    return not marks.isdisjoint(_RISK)


_RISK: Final = frozenset({(HANDLING_SYSTEM, LOCATION_PROTECTED), (CONFIDENTIALITY_SYSTEM, "R"), (CONFIDENTIALITY_SYSTEM, "V")})


def _chains(records: Sequence[Record]) -> dict[str, list[_Version]]:
    """Versions by reference, oldest first; what is deleted now is left out."""
    by: dict[str, list[Record]] = {}
    for record in records:
        by.setdefault(str(record.ref), []).append(record)
    out: dict[str, list[_Version]] = {}
    for ref, versions in by.items():
        versions.sort(key=lambda v: v.version)
        if versions[-1].body is None:
            continue
        after_gap = _since_last_deletion(versions)
        out[ref] = [_Version(msgspec.json.decode(v.body), v.writer, micros(v.updated)) for v in after_gap if v.body is not None]
    return out


def _since_last_deletion(versions: list[Record]) -> list[Record]:
    """The unbroken run of versions that ends with the present one."""
    run = [versions[-1]]
    for v in reversed(versions[:-1]):
        if v.body is None or v.version != run[-1].version - 1:
            break
        run.append(v)
    return run[::-1]


# -- consents, links, facts -------------------------------------------------------------------------------------------


def _consents(
    now: Mapping[str, _Version], records: Sequence[Record], descendants: Descendants
) -> tuple[tuple[Grant, ...], tuple[Broken, ...]]:
    latest: dict[str, int] = {}
    for r in records:
        latest[str(r.ref)] = max(r.version, latest.get(str(r.ref), 0))
    grants: list[Grant] = []
    broken: list[Broken] = []
    for ref in sorted(now):
        if ref.startswith("Consent/"):
            grant = read_consent(now[ref].body, ref.removeprefix("Consent/"), latest[ref])
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


def _other_scope(concept: Any) -> bool:
    codes = [c.get("code") for c in (concept or {}).get("coding", ())] if isinstance(concept, dict) else []
    return bool(codes) and all(c in ("treatment", "adr") for c in codes)


def _links(chain: Sequence[_Version]) -> Iterator[Link]:
    """Only a link that an operator wrote counts: anybody else could learn by one whether a person has said no."""
    for link in chain[-1].body.get("link", ()) if chain else ():
        other, type = (link.get("other") or {}).get("reference", ""), link.get("type")
        if other.startswith("Patient/") and other.count("/") == 1:
            by = _since(chain, lambda body, said=(other, type): said in _linked(body))
            if by is not None and _by_operator(by.writer):
                yield Link(other, type in ("replaces", "replaced-by"))


def _linked(patient: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    return [((x.get("other") or {}).get("reference"), x.get("type")) for x in patient.get("link", ())]


def _by_operator(writer: Writer) -> bool:
    return writer.kind == "operator" or writer.method == "SYSTEM"


def _died(person: _Version | None) -> int | None:
    """The last instant the person may have lived; when only the fact is known, the moment it was written down."""
    if person is None:
        return None
    when = person.body.get("deceasedDateTime")
    if when:
        try:
            return interval(when)[1]
        except ValueError:
            return person.at
    return person.at if person.body.get("deceasedBoolean") is True else None


def _born(body: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        return interval(body["birthDate"]) if body.get("birthDate") else None
    except ValueError:
        return None


def _operator_facts(chain: Sequence[_Version]) -> dict[str, Any]:
    """Facts that proxies and opt-outs turn on, kept as extensions on the Patient.

    A fact that closes (ndoo, safeguarding, no-notify) counts whoever wrote it; one that opens (capacity lost) only from an operator.
    """
    out: dict[str, Any] = {}
    if not chain:
        return out
    safeguarding: set[str] = set()
    for extension in chain[-1].body.get("extension", ()):
        url, true = extension.get("url", ""), extension.get("valueBoolean") is True
        if url == FACTS + "national-data-opt-out" and true:
            out["ndoo"] = True
        elif url == FACTS + "no-notify" and true:
            out["no_notify"] = True
        elif url == FACTS + "capacity-lost" and true:
            by = _since(chain, lambda body, e=extension: e in body.get("extension", ()))
            out["capacity_lost"] = by is not None and _by_operator(by.writer)
        elif url == FACTS + "safeguarding-proxy":
            safeguarding |= named_by(extension.get("valueReference"))
    return {**out, "safeguarding": frozenset(safeguarding)} if safeguarding else out


# -- relationships ----------------------------------------------------------------------------------------------------


def named_by(reference: Any) -> frozenset[str]:
    """Whom a Reference names: its target here, else its logical identifier. Never both: they could be two."""
    if not isinstance(reference, dict):
        return frozenset()
    target, identifier = reference.get("reference") or "", reference.get("identifier") or {}
    if target and ":" not in target and not target.startswith("#"):
        return frozenset({target.split("/_history/", 1)[0]})
    if identifier.get("value") and identifier.get("system"):
        return frozenset({f"{identifier['system']}|{identifier['value']}"})
    return frozenset()


def _since(chain: Sequence[_Version], true: Any) -> _Version | None:
    """The version with which something that is true now began to be so without a break; None if its beginning is not here."""
    found = None
    for version in reversed(chain):
        if not true(version.body):
            return found
        found = version
    return found


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


def _weigh(
    names: frozenset[str], by: _Version | None, took: bool, directory: Directory, origin: str, source: str,
    low: int | None, high: int | None, team: str = "",
) -> Relationship:  # fmt: skip
    """One named owner, judged by every sentence of the paragraph except those that need the asker or the instant."""
    writer = by.writer if by else Writer("")
    cared = health_or_care(names, directory, by.at if by else 0)
    why = ""
    if by is None:
        why = "who named them is not known"
    elif not (writer.kind == "patient" or writer.may_refer):
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
    ref: str, chain: Sequence[_Version], names: frozenset[str], statuses: frozenset[str], directory: Directory,
    taken: Mapping[str, str], named: Any,
) -> bool:  # fmt: skip
    """Did the owner themselves move this Task to accepted, since they were named."""
    if chain[-1].body.get("status") not in statuses:
        return False
    user = taken.get(ref)
    if user and _user_owns(user, None, names, directory, chain[-1].at):
        return True
    for version in reversed(chain):
        if not named(version.body) or version.body.get("status") not in statuses:
            return False
        if _owns(version.writer, names, directory, version.at):
            return True
    return False


def _from_task(ref: str, chain: Sequence[_Version], directory: Directory, taken: Mapping[str, str]) -> Iterator[Relationship]:
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
    yield _weigh(names, _since(chain, named), took, directory, "task", ref, low, high)


def _within(inner: tuple[int | None, int | None], outer: tuple[int | None, int | None]) -> bool:
    """Does the outer span hold all of the inner one; None is open."""
    starts = outer[0] is None or (inner[0] is not None and inner[0] >= outer[0])
    return starts and (outer[1] is None or (inner[1] is not None and inner[1] <= outer[1]))


def _from_referral(
    ref: str, chain: Sequence[_Version], now: Mapping[str, _Version], chains: Mapping[str, Sequence[_Version]], directory: Directory,
    taken: Mapping[str, str],
) -> Iterator[Relationship]:  # fmt: skip
    """A performer has accepted once they accepted a Task of their own about this referral."""
    body = chain[-1].body
    if body.get("status") != "active":
        return
    for performer in body.get("performer", ()):
        names = named_by(performer)
        if not names:
            continue
        took = any(
            t.startswith("Task/") and ref in named_by(v.body.get("focus")) | {r for b in v.body.get("basedOn", ()) for r in named_by(b)}
            and named_by(v.body.get("owner")) & names
            and _took(t, chains[t], names, ACCEPTED, directory, taken, lambda b, n=names: bool(named_by(b.get("owner")) & n))
            for t, v in now.items()
        )  # fmt: skip
        by = _since(
            chain,
            lambda b, n=names: b.get("status") == "active" and any(named_by(p) == n for p in b.get("performer", ())),
        )
        yield _weigh(names, by, took, directory, "referral", ref, None, None)


@dataclass(frozen=True, slots=True)
class _Confirmation:
    focus: str
    names: frozenset[str]


def _asks_membership(body: Mapping[str, Any]) -> bool:
    codings = (body.get("code") or {}).get("coding", ())
    return any(c.get("system") == TASK_SYSTEM and c.get("code") == CONFIRM_MEMBERSHIP for c in codings)


def _confirmations(
    now: Mapping[str, _Version],
    chains: Mapping[str, Sequence[_Version]],
    directory: Directory,
    taken: Mapping[str, str],
) -> Iterator[_Confirmation]:
    """Members who said "yes, I am": confirm-membership Tasks that their own owner accepted."""
    for ref, version in now.items():
        if ref.startswith("Task/") and _asks_membership(version.body):
            names = named_by(version.body.get("owner"))
            named = lambda b, n=names: named_by(b.get("owner")) == n and _asks_membership(b)  # noqa: E731
            if names and _took(ref, chains[ref], names, CONFIRMED, directory, taken, named):
                for focus in named_by(version.body.get("focus")):
                    yield _Confirmation(focus, names)


def _from_team(
    ref: str, chain: Sequence[_Version], confirmations: Sequence[_Confirmation], directory: Directory
) -> Iterator[Relationship]:
    """A member counts from when they were put in; a longer period, or a team brought back, is putting them in anew."""
    for member in _members(chain[-1].body):
        if all(n.split("/")[0] in ("Patient", "RelatedPerson", "CareTeam") for n in member.names):
            continue

        def named(b: Mapping[str, Any], m: _Member = member) -> bool:
            return any(m.names == was.names and _within((m.low, m.high), (was.low, was.high)) for was in _members(b))

        took = any(c.focus == ref and c.names & member.names for c in confirmations)
        yield _weigh(member.names, _since(chain, named), took, directory, "team", ref, member.low, member.high, team=ref)


class _Member(NamedTuple):
    names: frozenset[str]
    low: int | None
    high: int | None


def _members(team: Mapping[str, Any]) -> list[_Member]:
    """Who is in an active team, and when."""
    if team.get("status") not in ("active", None):
        return []
    whole = _span(team.get("period"))
    found = ((named_by(p.get("member")), _both(whole, _span(p.get("period")))) for p in team.get("participant", ()))
    return [_Member(names, *span) for names, span in found if names]


def _from_practice(
    ref: str, chain: Sequence[_Version], confirmations: Sequence[_Confirmation], directory: Directory
) -> Iterator[Relationship]:
    """The patient's general practitioner."""
    for practice in chain[-1].body.get("generalPractitioner", ()):
        names = named_by(practice)
        if names:
            by = _since(chain, lambda b, n=names: any(named_by(p) == n for p in b.get("generalPractitioner", ())))
            took = any(c.focus == ref and c.names & names for c in confirmations)
            yield _weigh(names, by, took, directory, "practitioner", ref, None, None)


def _claim(claim: Mapping[str, Any]) -> Relationship:
    """A relationship that somebody claimed with a reason; it is theirs alone, or the organisation's if it claimed as one."""
    user, organisation = claim.get("user") or "", claim.get("organisation")
    names = frozenset({user} if user else {organisation or ""}) - {""}
    low, high = _span({"start": claim.get("at"), "end": claim.get("until")})
    source = f"claim {claim.get('id', '')}".strip()
    return Relationship(names, "claim", source, low, high, user, organisation, reason=str(claim["reason"]))


def _span(period: Mapping[str, Any] | None) -> tuple[int | None, int | None]:
    """A period that cannot be read covers nothing."""
    try:
        return bounds(period)
    except (ValueError, TypeError):
        return 1, 0


def _both(a: tuple[int | None, int | None], b: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
    lows = [x for x in (a[0], b[0]) if x is not None]
    highs = [x for x in (a[1], b[1]) if x is not None]
    return max(lows, default=None), min(highs, default=None)


def _invitations(now: Mapping[str, _Version]) -> Iterator[Invitation]:
    """Open Tasks and referrals: the named owner may read that one, to be able to accept it."""
    for ref, version in sorted(now.items()):
        body = version.body
        if ref.startswith("Task/") and body.get("status") in OPEN - {"draft"} and named_by(body.get("owner")):
            yield Invitation(ref, named_by(body.get("owner")))
        elif ref.startswith("ServiceRequest/") and body.get("status") == "active":
            names = frozenset().union(*(named_by(p) for p in body.get("performer", ())))
            if names:
                yield Invitation(ref, names)
