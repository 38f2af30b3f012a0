"""A person's sharing choices read back from their Consents: what `sharing` wrote as it was chosen, anything else as what it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from .grants import Rule
from .periods import LONDON, instant
from .provisions import Uncomputable, parse
from .sharing import KINDS, LABELS, PURPOSES, WHY, WORDS, denies, is_ours, permits
from .vocabulary import ACT_CODE, PROXY_BASIS_SUFFIX, ROLE_AT, SECTOR_SYSTEM, SENSITIVITY_SYSTEM


@dataclass(frozen=True, slots=True)
class Row:
    """One choice as a page shows it. `who` empty: everybody. `until` None: until stopped.

    `ours` False: not in our form. `exact` False: written here, but it says something these fields do not hold, and it can be
    stopped but not changed. `purpose` is a key of `sharing.PURPOSES`. `rules` are what is not in our form or not exact, as it was
    written: none where it cannot be computed.
    """

    id: str
    allows: bool
    who: tuple[str, ...]
    kinds: tuple[str, ...]
    labels: tuple[str, ...]
    why: str
    since: date | None
    until: date | None
    words: str
    ours: bool = True
    refs: tuple[str, ...] = ()
    purpose: str = "any"
    exact: bool = True
    rules: tuple[Rule, ...] = ()


def rows(consent: Mapping[str, Any]) -> list[Row]:
    """Every choice in a consent, ours one a row; of any other form one row for each rule, said as it is."""
    if not is_ours(consent):
        return list(_others(consent))
    found: dict[str, list[Mapping[str, Any]]] = {}
    for rule in (consent.get("provision") or {}).get("provision", ()):
        found.setdefault(str(rule["id"]).split(".", 1)[0], []).append(rule)
    return [_row(id, rules, consent) for id, rules in found.items()]


def is_proxy(consent: Mapping[str, Any]) -> bool:
    """Does this consent let somebody act for the person."""
    codings = (consent.get("policyRule") or {}).get("coding", ())
    return any(str(c.get("system", "")).endswith(PROXY_BASIS_SUFFIX) for c in codings)


def _row(id: str, rules: Sequence[Mapping[str, Any]], consent: Mapping[str, Any]) -> Row:
    first = rules[0]
    allows = first.get("type") == "permit"
    kinds = tuple(k for r in rules for k in str(r["id"]).partition(":")[2].split("+") if k in KINDS)
    who = tuple(dict.fromkeys(_who(a) for r in rules for a in r.get("actor", ())))
    labels = _label_keys(rules)
    refs = tuple(d["reference"]["reference"] for r in rules for d in r.get("data", ()) if d.get("reference", {}).get("reference"))
    period = first.get("period") or {}
    purpose = _purpose(first)
    made = _made(id, first, allows, kinds, refs, labels)
    exact = purpose is not None and made == [dict(r) for r in rules]
    written: tuple[Rule, ...] = ()
    if not exact:
        kinds, written = (), _as_it_is(rules, consent)
    return Row(
        id, allows, who, kinds, labels, _ext(first, WHY), _date(period.get("start")),
        _date(period.get("end")), _ext(first, WORDS), refs=refs, purpose=purpose or "any", exact=exact, rules=written,
    )  # fmt: skip


def _made(
    id: str, first: Mapping[str, Any], allows: bool, kinds: tuple[str, ...], refs: tuple[str, ...], labels: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The rules that `sharing` would write for this choice."""
    common = {k: first[k] for k in ("type", "period", "actor", "purpose") if k in first}
    said = list(first.get("extension", ()))
    return (permits if allows else denies)(id, said, common, kinds, refs, labels)


def _as_it_is(rules: Iterable[Mapping[str, Any]], consent: Mapping[str, Any]) -> tuple[Rule, ...]:
    """These rules; none where they cannot be computed."""
    try:
        return parse({**consent, "provision": {"provision": [dict(r) for r in rules]}}, "", 0).root.rules
    except Uncomputable:
        return ()


def _purpose(rule: Mapping[str, Any]) -> str | None:
    codes = tuple(p.get("code") for p in rule.get("purpose", ()))
    return next((key for key, wanted in PURPOSES.items() if wanted == codes), None)


def _who(actor: Mapping[str, Any]) -> str:
    reference = actor.get("reference") or {}
    if reference.get("reference"):
        return str(reference["reference"])
    identifier = reference.get("identifier") or {}
    system, value = identifier.get("system", ""), identifier.get("value", "")
    return f"sector:{value}" if system == SECTOR_SYSTEM else f"role:{value}" if system == ROLE_AT else f"{system}|{value}"


def _label_keys(rules: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    labels = (c for r in rules for c in r.get("securityLabel", ()))
    codes = [c.get("code") for c in labels if c.get("system") in (ACT_CODE, SENSITIVITY_SYSTEM)]
    found = [k for k, wanted in LABELS.items() if set(wanted) <= set(codes)]
    return tuple(sorted(found, key=lambda k: codes.index(LABELS[k][0])))


def _ext(rule: Mapping[str, Any], url: str) -> str:
    return next((str(e.get("valueString", "")) for e in rule.get("extension", ()) if e.get("url") == url), "")


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text[:10]) if text else None
    except ValueError:
        return None


# -- any other form ---------------------------------------------------------------------------------------------------


def _others(consent: Mapping[str, Any]) -> Iterator[Row]:
    try:
        given = parse(consent, str(consent.get("id", "")), 0)
    except Uncomputable:  # it closes the record until somebody has looked at it
        yield Row("", False, (), (), (), "", None, None, "", ours=False)
        return
    yield from _said_rules(given.root)


def _said_rules(rule: Rule) -> Iterator[Row]:
    if rule.type:
        yield Row(
            rule.path, rule.type == "permit", tuple(sorted(_named(w) for w in rule.who)), (), (),
            ", ".join(sorted(p.rpartition("|")[2] for p in rule.said)), _micro_day(rule.low), _micro_day(rule.high), "", ours=False, rules=(rule,),
        )  # fmt: skip
    for child in rule.rules:
        yield from _said_rules(child)


def _named(name: str) -> str:
    """As `Row.who` has a sector and a role somewhere."""
    for system, short in ((SECTOR_SYSTEM, "sector:"), (ROLE_AT, "role:")):
        if name.startswith(f"{system}|"):
            return short + name.removeprefix(f"{system}|")
    return name


def _micro_day(at: int | None) -> date | None:
    return None if at is None else instant(at).astimezone(LONDON).date()
