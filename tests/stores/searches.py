"""Random records, searches and readers, and what the plain specification says of them: for any engine's suite.

A world is made from a seed and a size, so that a failure can be made again; queries, predicates and filters are hypothesis
strategies that shrink. `World.expected` is `domain.search.matches` and `arranged`, nothing else.
"""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from fhir_gateway.definitions import load_r4
from fhir_gateway.domain import predicate as plain
from fhir_gateway.domain.rendering import closer
from fhir_gateway.domain.search import Query, Term, arranged, keys, matches, parse, with_terms, within
from fhir_gateway.domain.types import (
    CONTACT,
    PLACES,
    PRACTICE,
    VIEW,
    All,
    Always,
    Any_,
    ByPerson,
    Confidential,
    Cut,
    Facts,
    Has,
    Never,
    Not,
    Only,
    Op,
    Overlaps,
    Predicate,
    Put,
    Ref,
    Remove,
    Views,
    Within,
    Writer,
)  # fmt: skip
from fhir_gateway.domain.view import view
from fhir_gateway.store.base import Store

R4 = load_r4()
Fresh = Callable[[], Awaitable[Store]]
Held = list[tuple[dict[str, Any], Facts]]
Param = tuple[str, str]
WRITER = Writer("Practitioner/1", "Organization/1", "client-1")
MOST = 10_000

# -- records ----------------------------------------------------------------------------------------------------------

SENS = ("PSY", "SUD", "HIV", "STD")
CODES = ("a", "b", "c")
SYSTEMS = ("http://s/1", "http://s/2", None)
NAMES = ("Ann", "Änne", "ANN  Lee", "Bob", "O'Hara", "Zoë", "日本", "a,b", "x|y")
DATES = ("2026", "2026-03", "2026-03-29", "2026-03-29T01:30:00Z", "2026-03-29T01:30:00.5+01:00", "2025-12-31T23:59:59Z", "2026-10-25")
DAYS = ("2026", "2026-03", "2026-03-29", "1950-04")
NUMBERS = ("1", "1.0", "1.04", "0.95", "2", "-3.5", "100", "1e2")
URIS = ("http://x.org/a", "http://x.org/a/b", "http://x.org/ab", "urn:x:y")
REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
REASONS = ("TREAT", "ETREAT", "BTG", "HPAYMT")
TYPES = ("Patient", "CarePlan", "Goal", "Observation", "RiskAssessment", "Consent")


def concept(r: random.Random) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if r.random() < 0.9:
        out["coding"] = [coding(r) for _ in range(r.randint(1, 2))]
    if not out or r.random() < 0.4:
        out["text"] = r.choice(NAMES)
    return out


def coding(r: random.Random) -> dict[str, Any]:
    out = {"code": r.choice(CODES), "system": r.choice(SYSTEMS), "display": r.choice((*NAMES, None))}
    return {k: v for k, v in out.items() if v is not None}


def reference(r: random.Random, *types: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    way = r.random()
    if way < 0.85:
        out["reference"] = f"{r.choice(types)}/{r.randint(1, 4)}"
        if r.random() < 0.1:
            out["reference"] += "/_history/2"
    if way >= 0.85 or r.random() < 0.3:
        out["identifier"] = {"system": "http://nhs", "value": str(r.randint(1, 3))}
    if r.random() < 0.3:
        out["display"] = r.choice(NAMES)
    return out


def period(r: random.Random) -> dict[str, Any]:
    out = {k: r.choice(DATES) for k in ("start", "end") if r.random() < 0.8}
    return out or {"start": "2026"}


def some(r: random.Random, chance: float, make: Callable[[], Any]) -> Any:
    return make() if r.random() < chance else None


def quantity(r: random.Random) -> dict[str, Any]:
    out = {
        "value": float(r.choice(NUMBERS)), "code": r.choice(["mg", None]), "unit": r.choice(["mg", "milligram", None]),
        "system": r.choice(["http://u", None]), "comparator": r.choice([None, None, None, "<", ">="]),
    }  # fmt: skip
    return {k: v for k, v in out.items() if v is not None}


def resource(r: random.Random, type: str, id: str) -> dict[str, Any]:
    out: dict[str, Any] = {"resourceType": type, "id": id}
    match type:
        case "Patient":
            out["name"] = some(r, 0.9, lambda: [{"family": r.choice(NAMES), "given": [r.choice(NAMES)]}])
            out["gender"] = some(r, 0.8, lambda: r.choice(["male", "female"]))
            out["birthDate"] = some(r, 0.8, lambda: r.choice(["1950", "1950-04", "1950-04-03"]))
            out["identifier"] = some(
                r, 0.5, lambda: [{"system": "http://nhs", "value": str(r.randint(1, 3)), "type": {"coding": [coding(r)]}}]
            )
            out["generalPractitioner"] = some(r, 0.5, lambda: [reference(r, "Practitioner", "Organization")])
            out["active"] = some(r, 0.5, lambda: r.random() < 0.5)
            out["deceasedBoolean"] = some(r, 0.2, lambda: r.random() < 0.5)
        case "CarePlan":
            out["subject"] = reference(r, "Patient", "Patient", "Group")
            out["status"] = r.choice(["active", "revoked"])
            out["category"] = some(r, 0.8, lambda: [concept(r) for _ in range(r.randint(1, 2))])
            out["goal"] = some(r, 0.7, lambda: [reference(r, "Goal") for _ in range(r.randint(1, 3))])
            out["period"] = some(r, 0.7, lambda: period(r))
            out["instantiatesUri"] = some(r, 0.4, lambda: [r.choice(URIS)])
            out["basedOn"] = some(r, 0.4, lambda: [reference(r, "CarePlan")])
            out["activity"] = some(r, 0.3, lambda: [{"detail": {"status": "scheduled", "performer": [reference(r, "Patient", "Practitioner")]}}])
        case "Goal":
            out["subject"] = reference(r, "Patient")
            out["lifecycleStatus"] = r.choice(["active", "completed"])
            out["startDate"] = some(r, 0.6, lambda: r.choice(DATES[:3]))
            out["target"] = some(r, 0.5, lambda: [{"dueDate": r.choice(DATES[:3])} for _ in range(2)])
            out["description"] = concept(r)
        case "Observation":
            out["subject"] = some(r, 0.9, lambda: reference(r, "Patient"))
            out["status"] = r.choice(["final", "amended"])
            out["code"] = concept(r)
            out["effectiveDateTime"] = some(r, 0.6, lambda: r.choice(DATES))
            out["performer"] = some(r, 0.5, lambda: [reference(r, "Practitioner", "Patient")])
            way = r.random()
            if way < 0.5:
                out["valueQuantity"] = quantity(r)
            elif way < 0.7:
                out["valueString"] = r.choice(NAMES)
            elif way < 0.8:
                out["valueDateTime"] = r.choice(DATES)
            if r.random() < 0.3:
                out["component"] = [{"code": concept(r), "valueQuantity": quantity(r)} for _ in range(2)]
        case "RiskAssessment":
            out["subject"] = reference(r, "Patient")
            out["prediction"] = [{"probabilityDecimal": float(r.choice(NUMBERS))} for _ in range(r.randint(0, 2))] or None
        case "Consent":
            out["patient"] = some(r, 0.9, lambda: reference(r, "Patient"))
            out["provision"] = {"purpose": [{"system": REASON, "code": r.choice(REASONS)}]}
    return {k: v for k, v in out.items() if v is not None}


def iso(us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def meta(r: random.Random, updated: int) -> dict[str, Any]:
    out: dict[str, Any] = {"lastUpdated": iso(updated)}
    if r.random() < 0.3:
        out["tag"] = [coding(r)]
    if r.random() < 0.3:
        out["security"] = [coding(r)]
    if r.random() < 0.2:
        out["profile"] = [r.choice(URIS[:2])]
    if r.random() < 0.2:
        out["source"] = r.choice(URIS)
    return out


def facts(r: random.Random, made: dict[str, Any], updated: int) -> Facts:
    type, id = made["resourceType"], made["id"]
    people = (f"Patient/{id}",) if type == "Patient" else tuple(f"Patient/{n}" for n in r.sample(range(1, 5), r.choice([0, 1, 1, 1, 2])))
    low, high = r.choice([(None, None), (0, 5), (3, 3), (None, 4), (4, None)])
    pick = lambda *values: frozenset(v for v in values if r.random() < 0.4)  # noqa: E731
    return Facts(
        type, id, people, r.choice("ULMNRV"), pick(*SENS), pick("l1"), pick("HFEA"), pick("p1", "p2"), pick("s|a", "s|b"),
        pick("Practitioner/1", "Organization/1"), r.choice([None, "Organization/1"]), r.choice([None, "http://src"]),
        pick("Goal/1", "Goal/2", "Patient/1"), low=low, high=high, updated=updated,
        makers=pick("Practitioner/1", "Organization/1"), keeper=r.choice([None, "Organization/1"]),
    )  # fmt: skip


def records(r: random.Random, size: int) -> Held:
    """Up to four people and `size` of every other type, each last updated on one of six days, to the millisecond."""
    held = []
    for type in TYPES:
        for n in range(1, (min(size, 4) if type == "Patient" else size) + 1):
            made = resource(r, type, str(n))
            updated = 1_700_000_000_000_000 + r.randint(0, 5) * 86_400_000_000 + r.randint(0, 999) * 1000
            made["meta"] = meta(r, updated)
            held.append((made, facts(r, made, updated)))
    return held


class World:
    """Records as they are now, what the specification finds among them, and the commits that bring a store to that."""

    def __init__(self, held: Held, past: Sequence[Put | Remove] = ()) -> None:
        self.held, self.past = held, tuple(past)

    @classmethod
    def of(cls, seed: int, size: int) -> World:
        """Some of it was different before, and some is deleted."""
        r = random.Random(seed)
        held, past, now = records(r, size), [], []
        for made, about in held:
            if r.random() < 0.15:
                before = {**resource(r, about.type, about.id), "meta": made["meta"]}
                past.append(put(before, about))
                if r.random() < 0.4:
                    past.append(Remove(Ref(about.type, about.id), 2, at(about), WRITER, 1))
                    continue
                past.append(replace(put(made, about), version=2, if_version=1))
            else:
                past.append(put(made, about))
            now.append((made, about))
        return cls(now, past)

    def without(self, hidden: Predicate) -> World:
        """The same, from which everything else than this was removed."""
        left = [(made, about) for made, about in self.held if plain.matches(hidden, about)]
        return World(left, [put(made, about) for made, about in left])

    async def into(self, store: Store) -> Store:
        ops: dict[Ref, Op] = {}
        for op in self.past:  # each version of a resource in a commit of its own, with others'
            if op.ref in ops:
                await store.commit(*ops.values())
                ops = {}
            ops[op.ref] = op
        await store.commit(*ops.values())
        return store

    def expected(self, query: Query, may: Predicate, filtered: Predicate | Views) -> list[str]:
        """By the plain specification, in order."""
        facts_of = {id(r): f for r, f in self.held}
        seen = [r for r, f in self.held if plain.matches(may, f)]

        views = Views.of(filtered)

        def of_view(resource: dict[str, Any]) -> Cut:
            about = facts_of[id(resource)]
            if not plain.matches(views.view, about):
                return Cut(0)
            narrower = ((CONTACT, views.contact), (PLACES, views.places), (PRACTICE, views.practice))
            return Cut(VIEW | sum(bit for bit, where in narrower if plain.matches(where, about)), SURGERY)

        def lookup(type: str, name: str) -> Iterator[tuple[dict[str, Any], Cut]]:
            return ((r, of_view(r)) for r in seen if r["resourceType"] == type and name in ("", r["id"]))

        hits = [r for r in seen if matches(query, r, filtered=of_view(r), r4=R4, lookup=lookup)]
        return [f"{r['resourceType']}/{r['id']}" for r in arranged(query, hits, filtered=of_view, r4=R4)]


# What the practice of somebody at risk is called.
SURGERY = frozenset({"Organization/1", "Practitioner/2", "urn:s|1", "http://x|1"})


def at(about: Facts) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=about.updated)


def put(made: dict[str, Any], about: Facts) -> Put:
    shown = view(made)
    return Put(
        Ref(about.type, about.id), 1, at(about), json.dumps(made).encode(), json.dumps(shown).encode(), about,
        keys(made, R4, shown, closer(shown, SURGERY)), WRITER, 0,
    )  # fmt: skip


async def found(store: Store, query: Query, may: Predicate, filtered: Predicate | Views, count: int = MOST) -> list[str]:
    """Every hit, page by page; positions travel as a page link carries them."""
    out: list[str] = []
    after: tuple[Any, ...] | None = None
    while True:
        page = await store.search(query, may, filtered=filtered, count=count, after=after)
        assert len(page.hits) <= count and (page.after is None or len(page.hits) == count), "a page is full, or the last"
        out += [str(h.ref) for h in page.hits]
        if page.after is None:
            return out
        after = tuple(json.loads(json.dumps(page.after)))


async def total(store: Store, query: Query, may: Predicate, filtered: Predicate | Views) -> int:
    page = await store.search(query, may, filtered=filtered, count=0, total=True)
    assert page.total is not None and not page.hits
    return page.total


# -- strategies -------------------------------------------------------------------------------------------------------

worlds = st.builds(World.of, st.integers(0, 2**32), st.integers(1, 12))


def _one_of(*values: str) -> st.SearchStrategy[str]:
    return st.sampled_from(values)


def _param(names: str | st.SearchStrategy[str], *values: str | st.SearchStrategy[str]) -> st.SearchStrategy[Param]:
    name = st.just(names) if isinstance(names, str) else names
    return st.tuples(name, st.one_of(*(st.just(v) if isinstance(v, str) else v for v in values)))


def _mod(name: str, *modifiers: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, *(f"{name}:{m}" for m in modifiers)])


prefixes = _one_of("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_dates = st.tuples(prefixes, _one_of(*DATES)).map("".join)
_days = st.tuples(prefixes, _one_of(*DAYS)).map("".join)
_numbers = st.tuples(prefixes, _one_of(*NUMBERS)).map("".join)
_quantities = st.tuples(prefixes, _one_of(*NUMBERS), _one_of("", "||mg", "|http://u|mg", "|http://u|")).map("".join)
_tokens = _one_of("a", "b", "http://s/1|a", "|b", "http://s/2|", "a,b", "http://s/1|a,http://s/2|c", "z")
_names = _one_of("ann", "o", "z", "zoe", "日", "a\\,b", "Ann,Bob", "x\\|y", "O'")
_ids = _one_of("1", "2", "1,2,3", "4", "9")
_yes = _one_of("true", "false")

PARAMETERS: dict[str, list[st.SearchStrategy[Param]]] = {
    "Patient": [
        _param(_mod("name", "exact", "contains", "missing").filter(lambda n: n != "name:missing"), _one_of(*(n.replace(",", "\\,") for n in NAMES)), _names),
        _param("family", _names), _param(_mod("gender", "not"), "male", "female", "male,female", "http://hl7.org/fhir/administrative-gender|male"),
        _param(_one_of("gender:in", "gender:not-in"), "http://hl7.org/fhir/ValueSet/administrative-gender"),
        _param("birthdate", _days), _param(_mod("identifier", "not"), "1", "http://nhs|2", "http://nhs|", "|1", "1,2,3,http://nhs|3"),
        _param("identifier:of-type", st.tuples(_one_of("http://s/1", "http://s/2", ""), _one_of(*CODES), _one_of("1", "2", "3")).map("|".join)),
        _param("general-practitioner", "Practitioner/1", "Organization/2,Practitioner/3", "2"), _param("active", _yes), _param("deceased", _yes),
        _param("_has:CarePlan:patient:_id", _ids), _param("_has:Goal:patient:lifecycle-status", "active"), _param("_has:Observation:performer:code", _tokens),
        _param("_has:CarePlan:subject:category", _tokens), _param("_has:Goal:patient:_has:CarePlan:goal:status", "active"),
        _param("_has:CarePlan:patient:subject:Patient.gender", "male"),
        _param(_one_of("birthdate:missing", "name:missing", "identifier:missing"), _yes),
    ],
    "CarePlan": [
        _param("patient", "1", "Patient/2", "1,2,3"), _param(_mod("subject", "Patient", "Group"), "1", "2,3", "4"),
        _param(_one_of("subject:identifier", "goal:identifier"), "1", "http://nhs|2", "|3", "http://nhs|"),
        _param(_mod("status", "not"), "active", "revoked"), _param(_mod("category", "not"), _tokens), _param("category:text", "ann", "zo", "日"),
        _param("goal", "Goal/1", "2", "Goal/1,Goal/3", "Goal/1/_history/4"), _param("based-on", "CarePlan/1", "2"),
        _param(_one_of("goal:missing", "subject:missing", "category:missing", "date:missing"), _yes), _param("date", _dates),
        _param(_mod("instantiates-uri", "below", "above"), "http://x.org/a", "http://x.org/a/b/c", "http://x.org"), _param("instantiates-uri", "urn:x:y"),
        _param("subject:Patient.name", _names), _param("patient.gender", "male", "female"), _param("goal.target-date", _days), _param("goal.patient.name", _names),
        _param("subject:Patient._has:Goal:patient:lifecycle-status", "active"), _param("based-on.based-on.status", "active"), _param("performer", "1", "Patient/2"),
    ],
    "Goal": [
        _param("patient", _ids), _param("lifecycle-status", "active", "completed,active"), _param(_one_of("target-date", "start-date"), _days),
        _param("start-date:missing", _yes), _param("_has:CarePlan:goal:status", "active"), _param("_has:CarePlan:goal:patient.gender", "female"),
    ],
    "Observation": [
        _param("code", _tokens), _param("code:text", "an", "bob"), _param("value-quantity", _quantities), _param("value-string", _names),
        _param("code-value-quantity", st.tuples(_one_of("a", "http://s/1|b"), st.just("$"), _quantities.filter(lambda q: not q.endswith("u|"))).map("".join)),
        _param("component-code-value-quantity", st.tuples(_one_of("a", "|b"), st.just("$"), _numbers).map("".join)),
        _param("code-value-string", "a$an", "b$o"), _param("code-value-date", st.tuples(st.just("a$"), _dates).map("".join)),
        _param("performer", "1", "Practitioner/2"), _param("date", _dates), _param("value-date", _dates), _param(_mod("status", "not"), "final"),
    ],
    "RiskAssessment": [_param("probability", _numbers), _param("probability:missing", _yes), _param("subject", _ids)],
    "Consent": [
        _param(_mod("purpose", "below", "above", "not"), *(f"{REASON}|{c}" for c in REASONS)), _param("patient:missing", _yes), _param("patient", _ids),
    ],
}  # fmt: skip
ANY = [
    _param(_mod("_id", "not"), _ids), _param("_lastUpdated", st.tuples(prefixes, _one_of("2023-11-15", "2023-11", "2023-11-16T22:13:20Z", "2023-11-17T00:00:00.123Z")).map("".join)),
    _param(_mod("_tag", "not", "text"), "a", "http://s/1|b"), _param("_security", "http://s/1|a", "c"), _param(_mod("_profile"), "http://x.org/a"),
    _param(_mod("_source", "below"), "http://x.org/a", "http://x.org"), _param("_tag:missing", _yes),
]  # fmt: skip
SORTS = {
    "Patient": ("name", "birthdate", "gender", "active"), "CarePlan": ("date", "category", "subject", "instantiates-uri"), "Goal": ("target-date", "start-date"),
    "Observation": ("value-quantity", "code", "date", "value-string"), "RiskAssessment": ("probability",), "Consent": ("patient", "purpose"),
}  # fmt: skip


def param_of(type: str) -> st.SearchStrategy[Param]:
    return st.one_of(*PARAMETERS[type], *ANY)


def sort_of(*names: str) -> st.SearchStrategy[Param]:
    key = st.tuples(_one_of("", "-"), st.sampled_from((*names, "_lastUpdated", "_id"))).map("".join)
    return st.lists(key, min_size=1, max_size=3).map(lambda ks: ("_sort", ",".join(ks)))


@st.composite
def queries(draw: st.DrawFn, sorted: bool = True) -> Query:
    """A search of one type, several or all; perhaps in somebody's compartment; perhaps only what a sign-in allows."""
    type = draw(st.sampled_from((*TYPES, *TYPES, None)))
    if type is None:
        params = draw(st.lists(st.one_of(*ANY), max_size=2))
        named = draw(st.lists(st.sampled_from(TYPES), unique=True, max_size=3))
        params += [("_type", ",".join(named))] if named else []
    else:
        params = draw(st.lists(param_of(type), max_size=3))
    if sorted and draw(st.booleans()):
        params.append(draw(sort_of(*(SORTS[type] if type else ()))))
    query = parse(type, params, R4)
    whose = draw(st.sampled_from((None, None, None, "Patient", "Practitioner")))
    if whose:
        able = tuple(t for t in query.types or TYPES if R4.compartment_params(whose, t))
        if able:
            query = with_terms(replace(query, types=able), (within(Ref(whose, draw(_one_of("1", "2", "3"))), able, R4),))
    if draw(st.integers(0, 9)) == 0:
        allowed = (Query(("CarePlan",), parse("CarePlan", [draw(param_of("CarePlan"))], R4).terms), Query(("Goal", "Patient")))
        query = with_terms(query, (Term("_allowed", "special", any=allowed),))
    return query


POOLS: dict[str, tuple[str, ...]] = {
    "patient": tuple(f"Patient/{n}" for n in range(1, 5)), "type": TYPES, "id": ("Goal/1", "CarePlan/2", "Patient/1"), "profile": ("p1", "p2"),
    "sens": SENS, "label": ("l1",), "legal": ("HFEA",), "code": ("s|a", "s|b"), "author": ("Practitioner/1", "Organization/1"),
    "maker": ("Practitioner/1", "Organization/1"), "custodian": ("Organization/1",), "keeper": ("Organization/1",), "source": ("http://src",), "ref": ("Goal/1", "Goal/2"),
}  # fmt: skip
_values = st.sampled_from(sorted(POOLS)).flatmap(lambda f: st.tuples(st.just(f), st.frozensets(st.sampled_from(POOLS[f]))))
_edges = st.sampled_from((None, 0, 3, 4, 5, 1_700_000_000_000_000, 1_700_200_000_000_000))
_leaves: st.SearchStrategy[Predicate] = st.one_of(
    _values.map(lambda v: Has(*v)), _values.map(lambda v: Only(*v)), st.builds(Confidential, st.sampled_from(["<=", ">="]), st.integers(0, 5)),
    st.builds(Within, _edges, _edges), st.builds(Overlaps, _edges, _edges), st.just(Always()), st.just(Never()),
)  # fmt: skip


def _by_person(inner: st.SearchStrategy[Predicate]) -> st.SearchStrategy[Predicate]:
    people = POOLS["patient"]
    return st.tuples(st.integers(1, len(people) - 1), st.lists(inner, min_size=2, max_size=2)).map(
        lambda drawn: ByPerson(((frozenset(people[: drawn[0]]), drawn[1][0]), (frozenset(people[drawn[0] :]), drawn[1][1])))
    )


predicates: st.SearchStrategy[Predicate] = st.recursive(
    _leaves,
    lambda inner: st.one_of(_by_person(inner), st.lists(inner, max_size=3).map(tuple).map(All), st.lists(inner, max_size=3).map(tuple).map(Any_), inner.map(Not)),
    max_leaves=6,
)
readers = st.one_of(st.just(Always()), predicates)
"""What somebody may see."""
filters: st.SearchStrategy[Predicate | Views] = st.one_of(
    st.just(Always()), st.just(Never()), predicates, st.builds(Views, st.one_of(st.just(Always()), predicates), predicates, predicates, predicates)
)
"""For which of it they get the view."""
