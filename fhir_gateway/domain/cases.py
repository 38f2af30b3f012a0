"""Consent questions as JSON lines, answered by the function the gate runs: the core of `fhir-gateway decide`.

A line: `{id, consents: [Consent], request, env?, fixtures?}`; an answer: `{id, decision, basis, consent, obligations}`, or
`{id, error}` for a line that is no question.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from .building import read_consent
from .consent import decide
from .descendants import Descendants, widened
from .grants import Grant
from .periods import LONDON, bounds, interval, micros
from .standing import Broken, Link, Policy, Relationship, Standing
from .types import CONFIDENTIALITY, Actor, Ask, BreakGlass, Decision, Facts
from .vocabulary import ACT_CODE, ACT_REASON, CONFIDENTIALITY_SYSTEM, HANDLING, LEGAL_SUFFIX, SENSITIVITY_SYSTEM

ACTIONS = ("access", "disclose", "collect", "correct")
KINDS = ("professional", "system", "patient", "proxy")


class Wrong(ValueError):
    """This line is no question."""


_NONE = Descendants()


def run(lines: Iterable[str | bytes], descendants: Descendants = _NONE) -> Iterator[dict[str, Any]]:
    """One answer a line, in order; a malformed line gets `{id, error}`. Never raises."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        id: Any = None
        try:
            case = msgspec.json.decode(line)
            id = case.get("id") if isinstance(case, dict) else None
            yield answer(id, decide(*question(case, descendants)))
        except RecursionError:
            yield {"id": id, "error": f"line {number}: nested too deeply"}
        except Exception as wrong:
            yield {"id": id, "error": f"line {number}: {_said(wrong)}"}


def _said(wrong: Exception) -> str:
    if isinstance(wrong, Wrong | msgspec.DecodeError):
        return str(wrong)
    if isinstance(wrong, KeyError):
        return f"`{wrong.args[0]}` is missing"
    return f"it cannot be read as a question ({type(wrong).__name__}: {wrong})"


def answer(id: Any, d: Decision) -> dict[str, Any]:
    return {
        "id": id,
        "decision": "permit" if d.permit else "deny",
        "basis": d.basis,
        "consent": d.consent or None,
        "obligations": sorted(d.obligations),
    }


def question(case: Any, descendants: Descendants = _NONE) -> tuple[Ask, Facts, dict[str, Standing]]:
    """The arguments of `decide`. Wrong or KeyError when the line is malformed."""
    if not isinstance(case, dict):
        raise Wrong("a case is a JSON object")
    request, fixtures, env = case["request"], case.get("fixtures") or {}, case.get("env") or {}
    consents = case.get("consents") or []
    if not isinstance(consents, list) or not all(isinstance(c, dict) for c in consents):
        raise Wrong("`consents` must be a list of Consent resources")
    at = _instant(request["at"])
    ask = Ask(
        _actor(request["actor"], fixtures), _one_of(request["action"], ACTIONS, "action"), at, request["purpose"],  # type: ignore[arg-type]
        request.get("purposeSystem", ACT_REASON),
    )  # fmt: skip
    facts = _facts(request["resource"])
    policy = Policy(env.get("implicit", "uk-direct-care"), env.get("breakGlass", "override"), descendants=descendants)
    people = {*facts.patients, *(p for link in fixtures.get("links") or () for p in (link["a"], link["b"]))}
    return ask, facts, {p: _standing(p, consents, request, fixtures, policy, ask) for p in people}


def _one_of(value: Any, allowed: tuple[str, ...], name: str) -> str:
    if value not in allowed:
        raise Wrong(f"`{name}` is one of {', '.join(allowed)}, not `{value}`")
    return str(value)


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=LONDON)).astimezone(UTC)


def _glass(btg: Mapping[str, Any] | None) -> tuple[BreakGlass, ...]:
    """The asker's own emergency access, to the record of everybody in the case."""
    if not btg or not btg.get("expires"):
        return ()
    return (BreakGlass(btg.get("reason") or "", btg.get("ground") or "", _instant(btg["expires"])),)


def _actor(actor: Mapping[str, Any], fixtures: Mapping[str, Any]) -> Actor:
    parents: Mapping[str, list[str]] = fixtures.get("orgParents") or {}
    ids = set(actor.get("ids") or ())
    todo = list(ids)
    while todo:
        for parent in parents.get(todo.pop(), ()):
            if parent not in ids:
                ids.add(parent)
                todo.append(parent)
    ended = set(fixtures.get("orgEnded") or ()) & ids
    past = ended | {p for o in ended for p in parents.get(o, ())}
    env = actor.get("env") or ()
    return Actor(
        _one_of(actor["kind"], KINDS, "actor.kind"), frozenset(ids), sector=actor.get("sector"), patient=actor.get("patient"),  # type: ignore[arg-type]
        clinician=bool(actor.get("clinician")), btg_role=bool(actor.get("btgRole")), rbac=actor.get("rbac", True) is not False,
        contributor=bool(actor.get("contributor")), env=frozenset([env] if isinstance(env, str) else env), past=frozenset(past),
    )  # fmt: skip


def _facts(r: Mapping[str, Any]) -> Facts:
    patients = r.get("patients") or ([r["patient"]] if r.get("patient") else [])
    low, high = interval(r["date"]) if r.get("date") else (None, None)
    names = r.get("author") or []
    authors = frozenset([names] if isinstance(names, str) else names)
    labels = [(c.get("system", ""), c.get("code", "")) for c in r.get("security") or ()]
    level, sensitive, legal, other = _labels(labels)
    return Facts(
        r["type"], r.get("id", ""), tuple(patients), level, sensitive, other, legal,
        profiles=frozenset(p.split("|", 1)[0] for p in _list(r.get("profile"))),
        codes=frozenset(r.get("codes") or ()), authors=authors, makers=authors,
        custodian=r.get("custodian"), keeper=r.get("custodian"), source=r.get("source"), sourced=r.get("source"), refs=frozenset(r.get("refs") or ()),
        referred_by=frozenset(r.get("referredBy") or ()), low=low, high=high,
        updated=interval(r["lastUpdated"])[0] if r.get("lastUpdated") else 0,
    )  # fmt: skip


def _list(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _labels(labels: list[tuple[str, str]]) -> tuple[str, frozenset[str], frozenset[str], frozenset[str]]:
    """(confidentiality, sensitivities, legal restrictions, others). A sensitivity implies restricted; no label is normal."""
    levels = [c for s, c in labels if s == CONFIDENTIALITY_SYSTEM and c in CONFIDENTIALITY]
    legal = frozenset(c for s, c in labels if s.endswith(LEGAL_SUFFIX))
    sensitive = frozenset(c for s, c in labels if (s == ACT_CODE and c not in HANDLING) or s == SENSITIVITY_SYSTEM)
    other = frozenset(
        f"{s}|{c}" for s, c in labels if s != CONFIDENTIALITY_SYSTEM and not s.endswith(LEGAL_SUFFIX) and c not in sensitive
    )
    if sensitive or legal:
        levels.append("R")
    return max(levels, key=lambda c: CONFIDENTIALITY[c], default="N"), sensitive, legal, other


def _standing(
    person: str,
    consents: list[dict[str, Any]],
    request: Mapping[str, Any],
    fixtures: Mapping[str, Any],
    policy: Policy,
    ask: Ask,
) -> Standing:
    """What the case says about one person. A consent without patient is about everybody in the case."""
    grants: list[Grant] = []
    broken: list[Broken] = []
    for i, consent in enumerate(consents):
        if (consent.get("patient") or {}).get("reference", person) == person:
            found = read_consent(consent, str(consent.get("id", f"consent-{i}")), 0)
            if isinstance(found, Grant):
                grants.append(widened(found, policy.descendants))
            elif found.where:
                broken.append(found)
    actor = request["actor"]
    died = micros(ask.at) if person in (fixtures.get("deceased") or ()) else None
    before = _flag(actor.get("relationshipBeforeDeath"), person) or _flag(fixtures.get("relationshipBeforeDeath"), person)
    low = None if died is None or before else died + 1
    looks_after = (
        Relationship(ask.actor.ids, "team", "case", low) if _flag(actor.get("relationship"), person) or (died and before) else None
    )
    born = (fixtures.get("birthDate") or {}).get(person) if isinstance(fixtures.get("birthDate"), dict) else None
    return Standing(
        person, tuple(grants), tuple(broken), (looks_after,) if looks_after else (), links=_links(person, fixtures), died=died,
        ndoo=_flag(fixtures.get("ndoo"), person), capacity_lost=_capacity_lost(fixtures.get("capacity"), person),
        born=interval(born) if born else None, age=(fixtures.get("age") or {}).get(person), safeguarding=_safeguarding(person, fixtures),
        no_notify=_flag(fixtures.get("noNotify"), person), groups=tuple(_groups(fixtures.get("groups") or {})), policy=policy,
        emergencies=_glass(request.get("btg")),
    )  # fmt: skip


def _flag(value: Any, person: str) -> bool:
    """True, or a list or table that names this person."""
    if isinstance(value, list):
        return person in value
    if isinstance(value, dict):
        return bool(value.get(person))
    return bool(value)


def _capacity_lost(value: Any, person: str) -> bool:
    if isinstance(value, dict):
        return value.get(person) in (False, "lost", "lacks", "lacking", "none")
    return isinstance(value, list) and person in value


def _safeguarding(person: str, fixtures: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(proxy for proxy, people in (fixtures.get("safeguarding") or {}).items() if person in people)


def _links(person: str, fixtures: Mapping[str, Any]) -> tuple[Link, ...]:
    out = []
    for link in fixtures.get("links") or ():
        if person in (link["a"], link["b"]):
            out.append(Link(link["b"] if link["a"] == person else link["a"], link["type"] in ("replaces", "replaced-by")))
    return tuple(out)


def _groups(groups: Mapping[str, Any]) -> Iterator[Relationship]:
    for group, members in groups.items():
        for member in members:
            low, high = bounds(member.get("period"))
            yield Relationship(frozenset({member["member"]}), "team", group, low, high, team=group)


__all__ = ["Wrong", "answer", "question", "run"]
