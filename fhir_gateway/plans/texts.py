"""Plans and FHIR as text: what comes in from files and requests, read strictly; what `map` prints. No record is touched here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..domain import mapping, sourced, strict
from ..domain import plan as planning
from ..domain.compartment import SUBJECT
from ..domain.mapping import partner as partners
from ..domain.mapping import sheets
from ..domain.modifiers import plain
from ..domain.problem import Problem
from ..tables import load_tables

MAX_DEPTH = strict.MAX_DEPTH


def schema() -> dict[str, Any]:
    """The JSON Schema of a plan."""
    return planning.schema(load_tables())


def read_plan(raw: bytes) -> dict[str, Any]:
    """A plan from its text, decimals as written; empty texts, lists and null are allowed in it.

    Problem malformed: not JSON, a name twice in one object, NaN, lone surrogates, too deep, no object.
    """
    try:
        text = raw.decode("utf-8")
        value = json.loads(text, parse_float=strict.exactly, parse_int=strict.whole, parse_constant=_constant, object_pairs_hook=_once)
        json.dumps(value, default=str, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as wrong:
        raise Problem("malformed", f"The plan is not UTF-8 text (byte {wrong.start}).") from None
    except UnicodeEncodeError:
        raise Problem("malformed", "The plan holds half of a character (a lone surrogate).") from None
    except json.JSONDecodeError as wrong:
        raise Problem("malformed", f"The plan is not JSON: {wrong.msg} (line {wrong.lineno}, column {wrong.colno}).") from None
    except RecursionError:
        raise Problem("malformed", f"The plan is nested more than {MAX_DEPTH} levels deep.") from None
    except ArithmeticError:
        raise Problem("malformed", "The plan holds a number that other systems cannot hold (beyond a double, or of more than 330 characters).") from None
    except ValueError as wrong:
        raise Problem("malformed", f"The plan cannot be read: {wrong}.") from None
    if type(value) is not dict:
        raise Problem("malformed", "A plan is one JSON object.")
    if strict._deeper_than(value, MAX_DEPTH):
        raise Problem("malformed", f"The plan is nested more than {MAX_DEPTH} levels deep.")
    return value


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        names = [k for k, _ in pairs]
        twice = next(n for n in names if names.count(n) > 1)
        raise ValueError(f"the name `{twice[:60]}` stands twice in one object")
    return out


def is_plan(raw: bytes) -> bool:
    """Is this text a plan of ours, and not FHIR: an object without `resourceType`."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "resourceType" not in value


def read_resources(raw: bytes, name: str = "") -> list[dict[str, Any]]:
    """The resources of a FHIR text: a Bundle's entries (with `fullUrl`), one resource, or one a line (NDJSON).

    Of several each is `{resource, place, fullUrl?}`; `place` says where in the text it stands. Problem malformed, or what
    `domain.modifiers.plain` says of the Bundle, names the file and the line or entry.
    """
    try:
        first = strict.read(raw)
    except Problem as p:
        lines = [line for line in raw.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[0].lstrip().startswith(b"{") or not lines[0].rstrip().endswith(b"}"):
            raise _in_file(p, name) from None
        return _lines(raw, name)
    if "resourceType" not in first:
        raise Problem("malformed", f"{name or 'This'} is not FHIR: there is no `resourceType`.", "resourceType")
    if first["resourceType"] != "Bundle":
        return [first]
    entries = first.get("entry", [])
    if not isinstance(entries, list):
        raise Problem("malformed", f"{name}: `entry` must be a list.", "Bundle.entry")
    for n, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("resource", {}), dict):
            raise Problem("malformed", f"{name}: entry {n} is no entry of a Bundle.", f"Bundle.entry[{n}]")
    try:
        plain(first, "Bundle")
    except Problem as p:
        raise _in_file(p, name) from None
    return [
        {"place": f"Bundle.entry[{n}]", **{k: e[k] for k in ("fullUrl", "resource") if k in e}} for n, e in enumerate(entries) if "resource" in e
    ]


def _lines(raw: bytes, name: str) -> list[dict[str, Any]]:
    out = []
    for n, line in enumerate(raw.splitlines(), 1):
        if line.strip():
            try:
                out.append({"place": f"line {n}", "resource": strict.read(line)})
            except Problem as p:
                raise _in_file(p, f"{name} line {n}".strip()) from None
    return out


def _in_file(p: Problem, name: str) -> Problem:
    return Problem(p.kind, f"{name}: {p.text}" if name else p.text, p.where)


def checked(plan: Any) -> dict[str, Any]:
    """The plan, when nothing in it is wrong. Problem invalid with every error."""
    issues = [i for i in planning.check(plan, load_tables()) if i.severity == "error"]
    if issues:
        raise Problem("invalid", f"{len(issues)} thing(s) in this plan must be put right.", issues=issues)
    return plan  # type: ignore[no-any-return]


def to_fhir(plan: Mapping[str, Any], *, of_list: bool = False) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """A transaction Bundle of a plan, and `{path, to, why}` of each field. `of_list`: what a partner's file says of one of many people."""
    planning.refuse_no_number(checked(plan))
    mapped = mapping.to_fhir(plan, load_tables(), dry=True)
    return mapping.transaction(mapped, of_list=of_list), mapped.dry


def parts(name: str, raw: bytes, partner: mapping.Partner) -> list[tuple[str, bytes]]:
    """A partner's file as documents, each with a name to be told by: a table has one for each person in it. Problem malformed."""
    if partner.sheet is None:
        return [(name, raw)]
    try:
        return [(f"{name}, {where}", strict.dump(document)) for where, document in sheets.read(raw, partner.sheet)]
    except Problem as p:
        raise _in_file(p, name) from None


def as_written(document: Mapping[str, Any], partner: mapping.Partner) -> str | None:
    """A partner's document as their table; None where they write JSON."""
    return sheets.write([document], partner.sheet) if partner.sheet is not None else None


def from_partner(document: Mapping[str, Any], partner: mapping.Partner) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The plan in a partner's own document, and `{path, to, why}` of each of its fields."""
    return partners.to_plan(document, partner)


def to_partner(plan: Mapping[str, Any], partner: mapping.Partner) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """A plan as a partner's own document, their things by their own ids, and what they have no place for."""
    return partners.from_plan(sourced.plain(plan, partner.name) if partner.own_ids else plan, partner)


def from_fhir(resources: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The plan in these resources, and `{path, to, why}` of what has a place in it and what has none. Elements without one go along
    as `x_fhir`. Of whom they are is not asked (`refuse_several`)."""
    done = mapping.read(resources, load_tables(), keep=True)
    return done.plan, done.landed + done.homeless


def refuse_several(given: Iterable[Mapping[str, Any]]) -> None:
    """Problem invalid where these are of several people: a plan made of two records is nobody's."""
    people = _people(given)
    if len(people) > 1:
        raise Problem("invalid", f"These are the records of several people ({people[0][:80]}, {people[1][:80]}): a plan is one person's. Map the records of each by themselves.", "subject")


def _people(given: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of whom these resources, or entries, are, each person once however they are named."""
    entries = [(str(g.get("fullUrl") or ""), g["resource"] if "resourceType" not in g and isinstance(g.get("resource"), dict) else g) for g in given]
    called = {url: f"Patient/{r['id']}" for url, r in entries if url and r.get("resourceType") == "Patient" and r.get("id")}
    said = {whose(r) if r.get("resourceType") != "Patient" else f"Patient/{r['id']}" if r.get("id") else "" for _, r in entries}
    return sorted({called.get(s, s if s.startswith("urn:") else "/".join(s.split("/_history/")[0].rsplit("/", 2)[-2:])) for s in said if "Patient/" in s or s.startswith("urn:")})


def whose(resource: Mapping[str, Any]) -> str:
    """What a resource refers to as whose record it belongs to; "" where it says nothing."""
    about = resource.get(SUBJECT.get(str(resource.get("resourceType")), "subject"))
    about = about[0] if isinstance(about, list) and about else about
    return str(about.get("reference") or "") if isinstance(about, dict) else ""
