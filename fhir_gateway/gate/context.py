"""The house every request shares, the context of one request, and the three sentences all verbs use.

`stand` finds what is known about the people a resource speaks of, `ask` decides, `note` writes down.
"""

from __future__ import annotations

import hmac
from asyncio import Lock
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal
from weakref import WeakValueDictionary

import msgspec

from ..domain import building, consent, said_again, strict
from ..domain.directory import DEFAULT_SECTORS, DIRECTORY_TYPES, Directory, Sectors, confirmed
from ..domain.emergencies import EMERGENCY, Emergency
from ..domain.facts import MADE
from ..domain.groups import is_agreement
from ..domain.labels import LabelSets
from ..domain.limits import DEFAULT, Limits
from ..domain.merged import as_one
from ..domain.problem import Problem, not_found
from ..domain.profile import Definitions
from ..domain.r4 import R4
from ..domain.read_only import ReadOnly
from ..domain.rendering import rendered
from ..domain.scopes import Scopes
from ..domain.search import Query
from ..domain.standing import STANDING_TYPES, Policy, Standing
from ..domain.thresholds import Thresholds
from ..domain.types import VIEW, Actor, Ask, Bump, Cut, Decision, Facts, Note, Ref, Stored
from ..store.base import Store
from .answers import Answer, Entry, Page, Written

STANDINGS_KEPT = 20_000
WRITTEN_BY_US = frozenset({"AuditEvent"})
STAYS = frozenset({"Consent", "AuditEvent", "Provenance"})


@dataclass(frozen=True, slots=True)
class Remote:
    """A configured external FHIR server, as far as a write must know of it: what to queue for whom."""

    name: str
    organisation: str
    purpose: str = "TREAT"
    direction: str = "both"
    types: frozenset[str] | None = None  # None: every patient-data type
    audience: tuple[str, ...] = ()  # who else reads from it: ODS codes, references, sectors
    enforces: Literal["nothing", "labels", "consents"] = "labels"
    role: Literal["recipient", "processor"] = "recipient"  # processor: it keeps for its audience, and nothing for itself
    recall: Literal["delete", "stub"] = "delete"  # what becomes there of a copy that may no longer be there

    def takes(self, type: str) -> bool:
        """Consents and the trail stay here: a partner is told nothing about who else may see what."""
        return self.direction != "in" and type not in STAYS and (self.types is None or type in self.types)


@dataclass(slots=True)
class House:
    """What every request shares; built once by `wiring`."""

    store: Store
    clock: Callable[[], datetime]  # aware UTC
    new_id: Callable[[], str]  # random, time-ordered UUIDs
    r4: R4
    label_sets: LabelSets
    secret: bytes  # seals page tokens
    chance: Callable[[], float] = lambda: 0.5  # from 0 to 1: spreads retries
    policy: Policy = field(default_factory=Policy)
    sectors: Sectors = DEFAULT_SECTORS
    remotes: tuple[Remote, ...] = ()
    alarm: Callable[[str], None] = lambda _: None
    base_url: str = "http://127.0.0.1:8080/fhir"
    definitions: Definitions | None = None  # profiles that a write is held to where it declares them
    profiles: Mapping[str, str] = field(default_factory=dict)  # of ours, by kind of a thing of plans: what carries our identifier is held to it
    thresholds: Thresholds | None = None  # of the deployment's own for readings; None: no value is judged
    read_only: tuple[ReadOnly, ...] = ()  # who reads some things here and does not write them
    subscribers: frozenset[str] = frozenset()  # `host` or `host:port` of those who may be told of changes; `client=` before it: of this client alone
    _standings: OrderedDict[str, tuple[tuple[int, int], Standing]] = field(default_factory=OrderedDict)
    _directory: tuple[int, Directory] | None = None
    _actors: dict[Any, tuple[int, int | None, Actor]] = field(default_factory=dict)
    _audiences: dict[Remote, tuple[int, int | None, tuple[Actor, ...] | None]] = field(default_factory=dict)  # who reads there
    _served: dict[Remote, tuple[int, int | None, tuple[Any, ...]]] = field(default_factory=dict)  # whom a processor works for
    _queries: dict[Any, Query] = field(default_factory=dict)
    _subscriptions: tuple[int, dict[str, Any], tuple[list[Any], ...]] | None = None  # epoch, by id, those that are told by who asks
    _papers: OrderedDict[str, tuple[datetime, tuple[int, int], bool]] = field(default_factory=OrderedDict)  # printed: when it was last compared, with what, and the answer
    _guessing: WeakValueDictionary[str, Lock] = field(default_factory=WeakValueDictionary)

    @property
    def name(self) -> str:
        """What this gateway is called on copies of its records: 16 hex digits, the same for as long as its store lasts."""
        return hmac.new(self.secret, b"name", "sha256").hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Context:
    """One asker, one moment. `scopes` is None for what the house itself does on a person's behalf (worker, operator commands)."""

    house: House
    actor: Actor
    at: datetime
    purpose: str = "TREAT"
    scopes: Scopes | None = None
    client: str | None = None
    request_id: str = ""
    action: Literal["access", "disclose"] = "access"  # sync reads with "disclose"
    may_declassify: bool = False  # may take privacy labels off, with a reason
    may_refer: bool = False  # a registered system whose referrals count (a hospital's discharge)
    may_record: bool = False  # staff who may write down the consents and roles that people tell them of
    launch: str | None = None  # Patient/… the token is bound to
    records: frozenset[str] = frozenset()  # Patient/… of the person who asks, or is acted for: theirs and those merged with it
    place: tuple[Directory, int] | None = None  # the directory and its epoch when this request began
    signed_in: datetime | None = None  # when the person last proved who they are
    assurance: str = ""  # how surely whoever signed them in knows who they are
    officer: bool = False  # reviews emergencies
    beside: bool = False  # a second main plan that comes so waits beside the first, whoever sees that: nobody is there to be told
    limits: Limits = DEFAULT  # of what may be asked for at once

    @property
    def bound(self) -> frozenset[str]:
        """Whose records the token reaches, where it is bound to one person."""
        return self.records | {self.launch} if self.launch else self.records

    @property
    def answers_for(self) -> frozenset[str]:
        """In which records they may see who reads and keeps what: all of the person's own; who acts for somebody, in the one they act for."""
        me = frozenset({self.actor.patient} if self.actor.patient else ())
        return me | self.records if self.actor.kind == "patient" else me

    def asks(self, action: str) -> Ask:
        """This asker's question, at this moment and for this purpose. `action` is access, disclose, collect or correct."""
        return Ask(self.actor, action, self.at, self.purpose)  # type: ignore[arg-type]


# -- what is known ----------------------------------------------------------------------------------------------------


async def directory_now(house: House) -> tuple[Directory, int]:
    """Organisations and roles as they are now, and their epoch."""
    epoch = await house.store.epoch("directory")
    if house._directory is None or house._directory[0] != epoch:
        found = (s for s in await house.store.directory(sorted(DIRECTORY_TYPES)) if not s.facts.patients)
        listed = list(found)
        built = Directory.build(listed, house.sectors).remembering(await _earlier(house, listed))
        house._directory = (epoch, built.at_address(house.base_url))
    return house._directory[1], epoch


async def _earlier(house: House, found: Iterable[Stored]) -> dict[str, list[dict[str, Any]]]:
    """Earlier versions of agreements on sharing, as operators wrote them: who was a partner once."""
    out: dict[str, list[dict[str, Any]]] = {}
    for stored in found:
        if stored.ref.type == "Group" and stored.version > 1 and is_agreement(strict.decode(stored.body or b"{}")):
            versions = [await house.store.version(stored.ref, n) for n in range(1, stored.version)]
            out[str(stored.ref)] = [strict.decode(v.body) for v in versions if v is not None and v.body is not None and confirmed(v.writer)]
    return out


async def stand(
    house: House, people: Iterable[str], epochs: Mapping[str, int] | None = None, where: tuple[Directory, int] | None = None
) -> dict[str, Standing]:
    """What is known about these people and those whose records are linked to theirs, merged ones put together (`merged.as_one`)."""
    out = await stand_apart(house, people, epochs, where)
    return {person: as_one(known, out) for person, known in out.items()}


async def stand_apart(
    house: House, people: Iterable[str], epochs: Mapping[str, int] | None = None, where: tuple[Directory, int] | None = None
) -> dict[str, Standing]:
    """The same by each record alone, from a cache that an epoch in the same commit as any change makes void."""
    directory, place = where or await directory_now(house)
    out: dict[str, Standing] = {}
    waiting = list(people)
    while waiting:
        person = waiting.pop()
        if person in out:
            continue
        epoch = epochs[person] if epochs and person in epochs else await house.store.epoch(person)
        known = house._standings.get(person)
        if known is None or known[0] != (epoch, place):
            known = ((epoch, place), await stood(house, person, directory))
            house._standings[person] = known
            if len(house._standings) > STANDINGS_KEPT:
                house._standings.popitem(last=False)
        out[person] = known[1]
        waiting += known[1].also
    return out


async def stood(house: House, person: str, directory: Directory) -> Standing:
    """What is known about this person now, under this directory."""
    records = await house.store.patient_versions(person, sorted(STANDING_TYPES))
    at = house.clock()
    accepted = await house.store.kept_all("accepted", at, prefix=f"{person} ")
    claims = await house.store.kept_all("claim", at, prefix=f"{person} ")
    emergencies = [msgspec.json.decode(e, type=Emergency) for e in (await house.store.kept_all(EMERGENCY, at, prefix=f"{person} ")).values()]
    return building.build(
        person, records, [msgspec.json.decode(c) for c in claims.values()], directory, house.policy,
        accepted={k.split(" ", 1)[1]: v.decode() for k, v in accepted.items()}, emergencies=[e for e in emergencies if e.is_live(at)],
    )  # fmt: skip


# -- the three sentences ----------------------------------------------------------------------------------------------


async def ask(ctx: Context, action: str, facts: Facts, epochs: Mapping[str, int] | None = None) -> Decision:
    """The person's own answer to this question."""
    if not attached(facts):
        known = await stand(ctx.house, facts.patients, epochs, ctx.place)
        return consent.decide(ctx.asks(action), await filled(ctx.house, facts, known), known)
    contexts = await _contexts(ctx, facts)
    answers = [await ask(ctx, action, each) for each in (*contexts, await whose(ctx, facts))] if contexts else []
    return next((a for a in answers if not a.permit), answers[0]) if answers else Decision(False, "implicit", rule="nobody's record")


def attached(facts: Facts) -> bool:
    """Is this an attachment that goes by another resource (`Binary.securityContext`) and not by the person directly."""
    return facts.type == "Binary" and not facts.patients


async def whose(ctx: Context, facts: Facts) -> Facts:
    """The same facts, an attachment's with the people of what it goes by now."""
    if not attached(facts):
        return facts
    people = dict.fromkeys(p for each in await _contexts(ctx, facts) for p in each.patients)
    return replace(facts, patients=tuple(people))


async def _contexts(ctx: Context, facts: Facts) -> list[Facts]:
    """What an attachment goes by, all of it somebody's and here now; [] when it is not: then it is nobody's."""
    refs = [Ref(*r.split("/", 1)) for r in sorted(facts.refs) if r.count("/") == 1]
    found = await ctx.house.store.get_many(refs)
    here = [found[r].facts for r in refs if r in found and not found[r].deleted and found[r].facts.patients]
    return here if len(here) == len(facts.refs) else []


async def filled(house: House, facts: Facts, known: Mapping[str, Standing]) -> Facts:
    """These facts with who refers to the resource now, where a rule of these people asks that."""
    if not any(s.asks_referrers for s in known.values()):
        return facts
    return replace(facts, referred_by=frozenset(map(str, await house.store.referrers(Ref(facts.type, facts.id)))))


async def ask_stored(ctx: Context, action: str, stored: Stored) -> Decision:
    first = stored.facts.patients[:1]
    return await ask(ctx, action, stored.facts, {first[0]: stored.epoch} if first else None)


async def why_shown(ctx: Context, shown: Sequence[Stored]) -> Decision:
    """Why these of one person were shown: the reason for the first; an emergency, where any of them needed it."""
    decision = await ask_stored(ctx, ctx.action, shown[0])
    if not ctx.actor.btg_role or decision.basis == "break-glass":
        return decision
    people = await stand(ctx.house, {p for s in shown for p in s.facts.patients}, None, ctx.place)
    for stored in shown[1:] if any(s.emergencies for s in people.values()) else ():
        other = await ask_stored(ctx, ctx.action, stored)
        if other.basis == "break-glass":
            return other
    return decision


def note(
    ctx: Context, letter: str, what: str, decision: Decision | None, refs: Sequence[str] = (), *,
    patient: str | None = None, query: str = "", allowed: bool | None = None, detail: str = "",
) -> Note:  # fmt: skip
    """One audit row of this request."""
    d = decision or Decision(bool(allowed), "")
    a = ctx.actor
    purpose = "BTG" if d.basis == "break-glass" else ctx.purpose
    return Note(
        ctx.house.new_id(), ctx.at, letter, what, d.permit if allowed is None else allowed, a.user, a.name, a.organisation,
        ctx.client, purpose, patient, tuple(refs), query, d.basis, d.consent, tuple(sorted(d.obligations)), detail, d.rule,
    )  # fmt: skip


def notes(ctx: Context, letter: str, what: str, decision: Decision, facts: Facts, ref: Ref, **more: Any) -> list[Note]:
    """One row for each person the resource speaks of; one without a person when it speaks of none."""
    return [note(ctx, letter, what, decision, (str(ref),), patient=p, **more) for p in facts.patients or (None,)]


# -- what a token allows ----------------------------------------------------------------------------------------------


def need_scope(ctx: Context, interaction: str, type: str) -> None:
    """Scope before any look-up. `interaction` is one of c r u d s. Problem not-offered to write what the house itself writes."""
    if type in WRITTEN_BY_US and interaction in "cud":
        raise Problem("not-offered", f"{type} is written by the gateway itself.", headers={"Allow": "GET, HEAD"})
    if ctx.scopes is not None and not ctx.scopes.covers(interaction, type):
        raise out_of_scope(ctx, interaction, type)


def out_of_scope(ctx: Context, interaction: str, type: str, which: str = "", *, noted: bool = False) -> Problem:
    """What somebody is told whose sign-in does not reach so far, with a SMART scope that would. `which` is of which of this type."""
    level = {"system": "system", "professional": "user"}.get(ctx.actor.kind, "patient")
    words = {"c": "create", "r": "read", "u": "change", "d": "delete", "s": "search"}
    return Problem(
        "insufficient-scope",
        f"This sign-in does not allow to {words[interaction]} {which}{type}.",
        headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{level}/{type}.{interaction}"'},
        noted=noted,
    )


def within_launch(ctx: Context, interaction: str, facts: Facts) -> bool:
    """A token bound to one patient reaches nobody else's record (it reaches the directory)."""
    if ctx.scopes is None or not ctx.launch or not facts.patients:
        return True
    return not ctx.bound.isdisjoint(facts.patients)


def reads_bytes(ctx: Context, stored: Stored) -> bool:
    """The person, and whoever sent all of that version, get the bytes; everyone else gets the filtered view."""
    a = ctx.actor
    if a.kind == "patient" and stored.facts.patients and ctx.records.union((a.patient or "",)).issuperset(stored.facts.patients):
        return True
    if not stored.facts.patients and not attached(stored.facts):
        return True
    w = stored.writer
    return bool(w.user) and w.user == a.user and w.saw_all and (a.kind != "system" or w.client == ctx.client)


async def views_of(ctx: Context, stored: Stored) -> Cut:
    """What of this version the reader gets: `Cut(0)` is all of it (`domain.rendering`)."""
    if reads_bytes(ctx, stored):
        return Cut(0)
    people = stored.facts.patients
    epochs = {people[0]: stored.epoch} if stored.epoch else None
    return consent.views(ctx.asks(ctx.action), stored.facts, await stand(ctx.house, people, epochs, ctx.place))


async def rendering(ctx: Context, stored: Stored) -> tuple[bytes, bool]:
    """(bytes for this reader, filtered?)."""
    if stored.body is None:
        raise not_found()
    views = await views_of(ctx, stored)
    if not views:
        return stored.body, False
    if stored.facts.made != MADE:  # an earlier release may have shown more
        less = rendered(strict.decode(stored.body), views)
        return strict.dump(less), True
    shown = stored.view or stored.body
    if views.bits == VIEW:
        return shown, True
    whole = strict.decode(shown)
    less = rendered(whole, views)
    return shown if less is whole else strict.dump(less), True


async def leaving(ctx: Context, stored: Stored) -> tuple[bytes, bool]:
    """As `rendering`, for what leaves: a crisis plan says what it says in our extensions as narrative, too (`domain.said_again`), unless it would
    be larger with it than what may be handed back."""
    body, filtered = await rendering(ctx, stored)
    if stored.ref.type != "CarePlan" or not said_again.says_more(body):
        return body, filtered
    resource = strict.decode(body)
    told = said_again.said(resource)
    more = body if told is resource else strict.dump(told)
    return more if len(more) <= ctx.limits.body else body, filtered


def bumps(type: str, facts: Facts, before: Facts | None = None) -> list[Bump]:
    """Every fact `decide` reads moves an epoch in the commit that changes it."""
    if type in DIRECTORY_TYPES and not facts.patients:
        return [Bump("directory")]
    if type not in STANDING_TYPES:
        return []
    people = set(facts.patients) | set(before.patients if before else ())
    return [Bump(p) for p in sorted(people)]


__all__ = ["Answer", "Context", "Entry", "House", "Page", "Remote", "Written"]
