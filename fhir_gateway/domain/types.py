"""The nouns. Everything that crosses a wall of the house is one of these.

Instants are timezone-aware `datetime`s; a reference is `Ref`, written `Type/id`; an identifier is the string
`system|value`; a coding is the string `system|code`. Nothing here does anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

Action = Literal["access", "disclose", "collect", "correct"]


class Ref(NamedTuple):
    """One resource of this server: `Goal/0198…`."""

    type: str
    id: str

    def __str__(self) -> str:
        return f"{self.type}/{self.id}"


# -- who asks, for what -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks, under every name they go by at this moment.

    `ids` holds references (`Practitioner/…`, `PractitionerRole/…`, `Organization/…` and its ancestors, `CareTeam/…`)
    and identifiers (`https://fhir.nhs.uk/Id/ods-organization-code|D82001`).
    """

    kind: Literal["patient", "proxy", "professional", "system"]
    ids: frozenset[str]
    user: str = ""  # the one reference that signs the audit row: Practitioner/…, Patient/…, RelatedPerson/…, Device/…
    name: str = ""  # how the person sees them in "who has looked"
    organisation: str | None = None  # Organization/…
    sector: str | None = None  # health, social-care, voluntary, housing, education, justice, citizen
    patient: str | None = None  # Patient/… whom a patient or proxy is
    clinician: bool = False
    btg_role: bool = False
    rbac: bool = True
    contributor: bool = False  # registered: may contribute (`collect`) without a relationship
    operator: bool = False  # may write the directory (Organization, Practitioner, PractitionerRole)
    drafts_only: bool = False  # a volunteer: what they write waits until the person accepts it
    env: frozenset[str] = frozenset()
    past: frozenset[str] = frozenset()  # of `ids`: names of an organisation that is no more, by which a no still holds and a yes does not
    apart: frozenset[str] = frozenset()  # agreements on sharing of which they are no partner now (`groups`); `*`: taken out, and of none, so no yes at all

    @property
    def opening(self) -> frozenset[str]:
        """The names by which something can be opened to them."""
        return self.ids - self.past if self.past else self.ids


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """An emergency access under way to one person's record (it is kept in their standing): who, why, on which ground, until when.

    `user` and `organisation` are those of the actor who began it; nobody else's asks count as it.
    """

    reason: str
    ground: str
    expires: datetime
    user: str = ""
    organisation: str | None = None
    id: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question to the person's consents."""

    actor: Actor
    action: Action
    at: datetime
    purpose: str = "TREAT"  # a v3-ActReason code
    purpose_system: str = "http://terminology.hl7.org/CodeSystem/v3-ActReason"


# -- what is asked about ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """What a decision may know of one resource version. Derived when it is written, stored beside it, never guessed.

    `patients` are `Patient/…` references (the compartment); empty means no patient data. Dates are UTC instants in
    microseconds since 1970, both ends inclusive, None when undated.
    """

    type: str
    id: str
    patients: tuple[str, ...] = ()
    confidentiality: str = "R"  # U < L < M < N < R < V
    sensitivity: frozenset[str] = frozenset()  # v3-ActCode codes, expanded to every set they belong to
    other_labels: frozenset[str] = frozenset()  # system|code: purpose of use, NOPAT, NODSCLCD …
    legal: frozenset[str] = frozenset()  # legally restricted: HFEA, GRA
    profiles: frozenset[str] = frozenset()
    codes: frozenset[str] = frozenset()
    authors: frozenset[str] = frozenset()  # persons and organisations: from the resource and from who wrote it, ever; for a no
    custodian: str | None = None  # as the resource says; for a no
    source: str | None = None  # likewise
    refs: frozenset[str] = frozenset()  # outgoing
    referred_by: frozenset[str] = frozenset()  # incoming; filled by the store when a grant needs it
    low: int | None = None  # primary clinical or authored date
    high: int | None = None
    updated: int = 0
    labelled: str = ""  # the value sets it was labelled by; empty: not labelled yet, and `confidentiality` is R at least
    declassified: frozenset[str] = frozenset()  # system|code: labels that somebody with the right took off
    origin: frozenset[str] | None = None  # who made version 1 and their organisation; None: not worked out yet
    makers: frozenset[str] = frozenset()  # of `authors` those to whom authorship opens it: the origin and who was vouched for
    keeper: str | None = None  # the custodian, where that was vouched for
    custodians: frozenset[str] = frozenset()  # every custodian it ever named; for a no
    sources: frozenset[str] = frozenset()  # every `meta.source` it ever had; for a no
    sourced: str | None = None  # `meta.source`, where that was vouched for
    made: int = 0  # by which rules these facts, the stored view and the search keys were made (`facts.MADE`)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer and its reason. `basis` is one of the words in the README; `rule` names the provision."""

    permit: bool
    basis: str
    consent: str | None = None  # id of the Consent that decided
    consent_version: int | None = None
    rule: str = ""
    obligations: frozenset[str] = frozenset()


# -- the consent predicate: pure data, rendered to SQL by a store and to Python by `predicate.matches` ----------------


@dataclass(frozen=True, slots=True)
class Never:
    """No resource. What an empty list of permissions means."""


@dataclass(frozen=True, slots=True)
class Always:
    """Every resource."""


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Predicate, ...]
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(("All", self.parts)))

    def __hash__(self) -> int:  # predicates are deep and used as keys: worked out once
        return self._hash


@dataclass(frozen=True, slots=True)
class Any_:
    parts: tuple[Predicate, ...]
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(("Any_", self.parts)))

    def __hash__(self) -> int:  # predicates are deep and used as keys: worked out once
        return self._hash


@dataclass(frozen=True, slots=True)
class Not:
    part: Predicate
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(("Not", self.part)))

    def __hash__(self) -> int:  # predicates are deep and used as keys: worked out once
        return self._hash


@dataclass(frozen=True, slots=True)
class Has:
    """At least one value of `field` is in `values`.

    Fields: patient, type, id (`Type/id`), profile, sens, label, legal, code, author, custodian, maker, keeper,
    source, sourced, ref, referred_by.
    """

    field: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Only:
    """Every value of `field` is in `values`; true when it has none."""

    field: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Confidential:
    """Confidentiality at most (`<=`) or at least (`>=`) `level`, 0 (U) to 5 (V)."""

    op: Literal["<=", ">="]
    level: int


@dataclass(frozen=True, slots=True)
class Within:
    """The resource's date (else its last update) lies wholly in [low, high]; None is open."""

    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Overlaps:
    """The resource's date or its last update touches [low, high]; an undated resource is hit."""

    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class ByPerson:
    """In the record of somebody, and everybody whose record it is in is of one of the groups and permits it by that group's predicate.

    No person is in two groups.
    """

    groups: tuple[tuple[frozenset[str], Predicate], ...]
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(("ByPerson", self.groups)))

    def __hash__(self) -> int:  # predicates are deep and used as keys: worked out once
        return self._hash

    @property
    def people(self) -> frozenset[str]:
        return frozenset().union(*(people for people, _ in self.groups))


Predicate = Never | Always | All | Any_ | Not | Has | Only | Confidential | Within | Overlaps | ByPerson
CONFIDENTIALITY = {"U": 0, "L": 1, "M": 2, "N": 3, "R": 4, "V": 5}


# -- what of a resource a reader gets: bits of one number, 0 is all of it ---------------------------------------------

VIEW, CONTACT, PLACES, PRACTICE = 1, 2, 4, 8


@dataclass(frozen=True, slots=True)
class Cut:
    """What a reader gets of one resource: the bits, and the names that PRACTICE hides (`Standing.practice`)."""

    bits: int
    practice: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.bits != 0

    def __or__(self, other: Cut) -> Cut:
        return Cut(self.bits | other.bits, self.practice | other.practice)


@dataclass(frozen=True, slots=True)
class Views:
    """For which resources a reader gets the filtered view, and of which of these the contact or the location-protected one, and of
    which of the last the practice of somebody at risk is hidden."""

    view: Predicate
    contact: Predicate = field(default_factory=Never)
    places: Predicate = field(default_factory=Never)
    practice: Predicate = field(default_factory=Never)

    @staticmethod
    def of(filtered: Predicate | Views) -> Views:
        return filtered if isinstance(filtered, Views) else Views(filtered)

    @property
    def plain(self) -> bool:
        """Nothing but the filtered view."""
        return all(isinstance(p, Never) for p in (self.contact, self.places, self.practice))


# -- search keys ------------------------------------------------------------------------------------------------------


class Key(NamedTuple):
    """One indexed value of one search parameter.

    token:     text = code, system = system or "", exact = display text (for :text)
    string:    text = folded (case, accents), exact = as written
    reference: text = `Type/id` or absolute url or canonical; system = `sys|value` of a logical identifier or ""
    uri:       text = the uri
    date:      low, high = microseconds since 1970 UTC, both inclusive
    number, quantity: low, high = the interval the written precision stands for; text = unit code, system = unit system
    composite: text = both components, joined as `search` joins them
    `hidden` says what drops the element it comes from: VIEW, CONTACT, PLACES, PRACTICE (bits). It is not matched for readers who get that.
    """

    name: str
    kind: str
    text: str = ""
    system: str = ""
    exact: str = ""
    low: float | int | None = None
    high: float | int | None = None
    hidden: int = 0


# -- what a store keeps -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Writer:
    """Who wrote a version: the signing reference, their organisation, the client and how."""

    user: str
    organisation: str | None = None
    client: str | None = None
    kind: str = "professional"
    method: str = "PUT"  # POST, PUT, PATCH, DELETE, SYNC, SYSTEM
    may_refer: bool = False  # had a relationship and the right to refer when it wrote (relationships count on it)
    contributor: bool = False  # registered to contribute: it vouches for those it names in what it makes
    judged: int = 0  # by which rule `may_refer` was decided (`referring.JUDGED`); 0: by an earlier release, for whoever had a relationship
    saw_all: bool = True  # False: the version holds parts that its writer was not shown and `restore` put back


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of one resource as the store gives it back. `body` and `view` are JSON bytes; both None once deleted."""

    ref: Ref
    version: int
    updated: datetime
    body: bytes | None
    view: bytes | None
    facts: Facts
    writer: Writer
    epoch: int = 0  # the consent epoch of its first patient, read in the same statement
    created_by: str | None = None  # Writer.user of version 1

    @property
    def deleted(self) -> bool:
        return self.body is None


# -- one commit: a list of these, all or nothing ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Put:
    """Write a version. `if_version` is the version it replaces: 0 = must not exist."""

    ref: Ref
    version: int
    at: datetime
    body: bytes
    view: bytes
    facts: Facts
    keys: tuple[Key, ...]
    writer: Writer
    if_version: int


@dataclass(frozen=True, slots=True)
class Relabel:
    """The same version with the labels it has by now: no version is added, nothing but labels, facts and keys is other.

    Fails with `Stale` unless `version` is the current one. `history` keeps the version as it was written.
    """

    ref: Ref
    version: int
    updated: datetime
    body: bytes
    view: bytes
    facts: Facts
    keys: tuple[Key, ...]
    writer: Writer


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete: history keeps every version and gains one without a body."""

    ref: Ref
    version: int
    at: datetime
    writer: Writer
    if_version: int


@dataclass(frozen=True, slots=True)
class Note:
    """One audit row: who did what to whom, and why it was allowed or refused. Rendered as an IHE BALP AuditEvent."""

    id: str
    at: datetime
    action: str  # C R U D E as in AuditEvent.action
    what: str  # read, vread, search, history, create, update, patch, delete, transaction, everything, disclose, recall, login, consent …
    allowed: bool
    user: str
    user_name: str = ""
    organisation: str | None = None
    client: str | None = None
    purpose: str = ""
    patient: str | None = None  # Patient/…; one row for each person concerned
    refs: tuple[str, ...] = ()  # what was touched; never rendered to those who may not see it
    query: str = ""
    basis: str = ""
    consent: str | None = None
    obligations: tuple[str, ...] = ()
    detail: str = ""
    rule: str = ""  # of the consent, or of the default policy, that decided


@dataclass(frozen=True, slots=True)
class Bump:
    """Move an epoch: of a patient (`Patient/…`) or of the `directory` (organisations, roles)."""

    subject: str


@dataclass(frozen=True, slots=True)
class Expect:
    """The commit fails with `Moved` unless this epoch still has this value."""

    subject: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Keep:
    """A named value with an end: sessions, codes, refresh tokens, jti, idempotency keys, clients, sync state.

    `if_absent`: the commit fails with `Taken` when it is there already (single-use, exactly-once).
    `if_value`: compare and swap; the commit fails with `Taken` when the value is another.
    """

    kind: str
    key: str
    value: bytes
    expires: datetime | None = None
    if_absent: bool = False
    if_value: bytes | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove a named value; with `must_exist` the commit fails with `Taken` when it is gone already. `if_value`: only where the value is
    this one; another stays, and nothing fails."""

    kind: str
    key: str
    must_exist: bool = False
    if_value: bytes | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Queue one version for one remote. Entries of one patient are leased in order; a review or a recall goes by what waits for another try."""

    remote: str
    ref: Ref
    version: int
    patient: str | None
    why: str = "changed"  # changed, deleted, recall, review, released (a later consent allows it); event (a subscriber's)

    @property
    def lane(self) -> str:
        """What goes one after the other. Events go together, whosever they are: those of one resource alone wait for each other."""
        return str(self.ref) if self.patient is None or self.why == "event" else self.patient


@dataclass(frozen=True, slots=True)
class Close:
    """End an outbox entry that this worker holds: sent, shown (on a page alone), withheld, parked, superseded. Fails with `Fenced` when the lease moved."""

    entry: int
    fence: int
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Delay:
    """Give a leased outbox entry back, due later; `untried`: it does not count as a try."""

    entry: int
    fence: int
    due: datetime
    detail: str = ""
    untried: bool = False


@dataclass(frozen=True, slots=True)
class Renew:
    """Go on holding a leased outbox entry, until then. Fails with `Fenced` when the lease moved."""

    entry: int
    fence: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Put one outbox entry that nobody holds (`was`: parked, skipped or withheld) into another state: queued with fresh tries, parked, skipped,
    superseded. Fails with `Fenced` when it is not in that state any more."""

    entry: int
    was: str
    state: str


@dataclass(frozen=True, slots=True)
class Linked:
    """Local id <-> remote id, remote ETag, and the last agreed bodies: the merge base. `gone` marks a link whose remote copy was deleted.

    `if_was`, `if_absent`: the commit fails with `Moved` when the link is not (any more) this one, or is there. What is read bears neither.
    Of live links to one remote id there is one: the commit that makes a second fails with `Taken`.
    """

    remote: str
    ref: Ref
    remote_id: str
    etag: str = ""
    remote_updated: str = ""
    version: int = 0  # the local version last agreed
    base_sent: bytes | None = None
    base_received: bytes | None = None
    gone: bool = False
    began_there: bool | None = None  # who made the record there, said once, when the link is made; None in links of before this was kept
    if_was: Linked | None = None
    if_absent: bool = False


@dataclass(frozen=True, slots=True)
class Disclosed:
    """A ledger row: this version went to this recipient, or was `fetched` by it. `recalled` closes it."""

    remote: str
    ref: Ref
    version: int
    patient: str | None
    recipient: str
    at: datetime
    consent: str | None = None
    epoch: int = 0
    recalled: datetime | None = None
    on_behalf_of: str | None = None  # for whom a processor keeps it: Organization/…
    fetched: bool = False  # they read it here, and nothing was sent


@dataclass(frozen=True, slots=True)
class Dispose:
    """These resources are gone with every version, and what was kept, queued, linked or in the ledger for them and this person.

    The one way to remove a version: for what is over its retention (`gate.retaining`), and for a question of the gateway's own that told one
    person of another (`gate.merged_plans`; `person` is its own name then); never for a request. Audit rows stay.
    """

    person: str  # Patient/…
    refs: tuple[Ref, ...]
    kept: tuple[tuple[str, str], ...] = ()  # kind and key


Op = Put | Relabel | Remove | Dispose | Note | Bump | Expect | Keep | Drop | Send | Close | Delay | Renew | Place | Linked | Disclosed


# -- what the store lists ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Queued:
    """A leased outbox entry."""

    entry: int
    fence: int
    remote: str
    ref: Ref
    version: int
    patient: str | None
    why: str
    tries: int
    queued_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """A search result page: hits in order, the exact total under the predicate when asked, and where to go on."""

    hits: tuple[Stored, ...]
    total: int | None = None
    after: tuple[Any, ...] | None = None  # keyset position of the last hit; None on the last page
    extra: dict[str, Any] = field(default_factory=dict)
