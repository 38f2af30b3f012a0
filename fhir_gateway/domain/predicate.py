"""The consent predicate as plain Python: `matches(predicate, facts)`, and the small algebra that builds and simplifies it.

The predicate is pure data (`types.Predicate`); stores render it to their own language, and this is what they are held to.
"""

from __future__ import annotations

from collections.abc import Iterable

from .types import (
    CONFIDENTIALITY,
    All,
    Always,
    Any_,
    ByPerson,
    Confidential,
    Facts,
    Has,
    Never,
    Not,
    Only,
    Overlaps,
    Predicate,
    Within,
)  # fmt: skip

NEVER = Never()
ALWAYS = Always()


def matches(predicate: Predicate, facts: Facts) -> bool:
    """Is this resource among those the predicate describes."""
    match predicate:
        case Never():
            return False
        case Always():
            return True
        case All(parts):
            return all(matches(p, facts) for p in parts)
        case Any_(parts):
            return any(matches(p, facts) for p in parts)
        case Not(part):
            return not matches(part, facts)
        case Has(field, values):
            return not values.isdisjoint(values_of(facts, field))
        case Only(field, values):
            return values.issuperset(values_of(facts, field))
        case Confidential(op, level):
            has = CONFIDENTIALITY.get(facts.confidentiality, CONFIDENTIALITY["V"])
            return has <= level if op == "<=" else has >= level
        case Within(low, high):
            first, last = (facts.low, facts.high) if dated(facts) else (facts.updated, facts.updated)
            return (low is None or (first is not None and first >= low)) and (high is None or (last is not None and last <= high))
        case Overlaps(low, high):
            return not dated(facts) or touches(facts.low, facts.high, low, high) or touches(facts.updated, facts.updated, low, high)
        case ByPerson(groups):
            permit = [any(person in people and matches(shape, facts) for people, shape in groups) for person in facts.patients]
            return bool(permit) and all(permit)
    raise TypeError(f"not a predicate: {predicate!r}")


def dated(facts: Facts) -> bool:
    return facts.low is not None or facts.high is not None


def touches(first: int | None, last: int | None, low: int | None, high: int | None) -> bool:
    """Two spans have an instant in common; None is open."""
    starts_before_end = high is None or first is None or first <= high
    ends_after_start = low is None or last is None or last >= low
    return starts_before_end and ends_after_start


def values_of(facts: Facts, field: str) -> Iterable[str]:
    """The values of one predicate field. KeyError for a field that does not exist."""
    match field:
        case "patient":
            return facts.patients
        case "type":
            return (facts.type,)
        case "id":
            return (f"{facts.type}/{facts.id}",)
        case "profile":
            return facts.profiles
        case "sens":
            return facts.sensitivity
        case "label":
            return facts.other_labels
        case "legal":
            return facts.legal
        case "code":
            return facts.codes
        case "author":
            return facts.authors
        case "custodian":
            return facts.custodians if facts.custodian is None else {*facts.custodians, facts.custodian}
        case "maker":
            return facts.makers
        case "keeper":
            return () if facts.keeper is None else (facts.keeper,)
        case "source":
            return facts.sources if facts.source is None else {*facts.sources, facts.source}
        case "sourced":
            return () if facts.sourced is None else (facts.sourced,)
        case "ref":
            return facts.refs
        case "referred_by":
            return facts.referred_by
    raise KeyError(field)


# -- building ---------------------------------------------------------------------------------------------------------


def every(*parts: Predicate) -> Predicate:
    """All of them; constants folded, nested ones flattened, repeated ones once."""
    flat: dict[Predicate, None] = {}
    for p in parts:
        if isinstance(p, Never):
            return NEVER
        for q in p.parts if isinstance(p, All) else (p,):
            if not isinstance(q, Always):
                flat[q] = None
    if any(Not(p) in flat for p in flat):
        return NEVER
    return ALWAYS if not flat else next(iter(flat)) if len(flat) == 1 else All(tuple(flat))


def some(*parts: Predicate) -> Predicate:
    """Any of them; constants folded, nested ones flattened, repeated ones once."""
    flat: dict[Predicate, None] = {}
    for p in parts:
        if isinstance(p, Always):
            return ALWAYS
        for q in p.parts if isinstance(p, Any_) else (p,):
            if not isinstance(q, Never):
                flat[q] = None
    if any(Not(p) in flat for p in flat):
        return ALWAYS
    return NEVER if not flat else next(iter(flat)) if len(flat) == 1 else Any_(tuple(flat))


def no(part: Predicate) -> Predicate:
    match part:
        case Never():
            return ALWAYS
        case Always():
            return NEVER
        case Not(inner):
            return inner
    return Not(part)


def spelled_out(p: ByPerson) -> Predicate:
    """The same in the other words. Those of one group together; a resource across groups passes each one's predicate."""
    whole = [every(Has("patient", people), Only("patient", people), shape) for people, shape in p.groups]
    if len(p.groups) < 2:
        return some(*whole)
    across = every(
        *(no(Only("patient", people)) for people, _ in p.groups),
        Has("patient", p.people),
        Only("patient", p.people),
        *(some(no(Has("patient", people)), shape) for people, shape in p.groups),
    )
    return every(Has("patient", p.people), some(*whole, across))


def has(field: str, values: Iterable[str]) -> Predicate:
    wanted = frozenset(values)
    return Has(field, wanted) if wanted else NEVER


def simplify(predicate: Predicate, types: frozenset[str] | None = None) -> Predicate:
    """An equal, smaller predicate; with `types`, equal for resources of these types only."""
    match predicate:
        case All(parts):
            return every(*(simplify(p, types) for p in parts))
        case Any_(parts):
            return some(*(simplify(p, types) for p in parts))
        case Not(part):
            return no(simplify(part, types))
        case Has(_, values) if not values:
            return NEVER
        case Has("type", values) if types is not None:
            kept = values & types
            return ALWAYS if types <= values else has("type", kept)
        case ByPerson(groups):
            return ByPerson(tuple((people, simplify(shape, types)) for people, shape in groups))
        case Within(None, None):
            return ALWAYS
        case Overlaps(None, None):
            return ALWAYS
    return predicate
