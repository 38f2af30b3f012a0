"""Services to choose from: found by words, kind and postcode district, as FHIR search finds them, and said in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from .. import gate
from ..domain import strict
from ..domain.openreferral import COVERS, DISTRICT, district_of
from ..domain.problem import Problem, not_found
from ..domain.types import Ref
from ..gate import Context
from ..gate.context import directory_now

SHOWN: Final = 20  # on a page
MOST_WORDS: Final = 6
MOST_KINDS: Final = 10_000  # services looked at for the list of kinds


@dataclass(frozen=True, slots=True)
class Offer:
    """One service as somebody reads it. `by` is who offers it, `owner` their reference."""

    id: str
    name: str
    by: str
    owner: str
    kinds: tuple[str, ...]
    about: str
    more: str
    reach: tuple[tuple[str, str], ...]  # (phone, number)
    places: tuple[str, ...]
    covers: tuple[str, ...]
    serves: tuple[str, ...]  # of these, what is a name alone: no search by postcode finds it
    whom: tuple[str, ...]
    when: tuple[str, ...]
    how: tuple[str, ...]
    active: bool


@dataclass(frozen=True, slots=True)
class Menu:
    """What was found: offers, and the token of the next page."""

    offers: tuple[Offer, ...]
    next: str | None = None


async def offers(ctx: Context, words: str = "", near: str = "", kind: str = "", *, anywhere: str = "", page: str = "") -> Menu:
    """Active services whose name has every word, of this kind (`system|code`), for this postcode or district; `anywhere`: `yes` those that
    say no area, `named` those whose area is a name (Norfolk). The search of R4: `HealthcareService?coverage-area.identifier=…|NR30&service-category=…&name:contains=…`. Problem invalid at
    `near` for what is no postcode."""
    asked: list[tuple[str, str]] = [("active", "true"), ("_sort", "name"), ("_count", str(SHOWN))]
    district = district_of(near) if near else ""
    if near and not district:
        raise Problem("invalid", "Write a postcode, or its first half, as in NR30.", "near")
    if anywhere:
        asked.append(("coverage-area.identifier", f"{COVERS}|") if anywhere == "named" else ("coverage-area:missing", "true"))
    elif district:
        asked.append(("coverage-area.identifier", f"{DISTRICT}|{district}"))
    asked += [("name:contains", w) for w in dict.fromkeys(_literal(w) for w in words.split()[:MOST_WORDS]) if w]
    if kind:
        system, bar, code = kind.partition("|")
        asked.append(("service-category", f"{_literal(system)}|{_literal(code)}" if bar else _literal(kind)))
    found = await gate.search(ctx, "HealthcareService", [("_page", page)] if page else asked)
    bodies = [strict.decode(e.body) for e in found.entries if e.body and e.mode == "match"]
    return Menu(await _said(ctx, bodies), found.next)


async def offer(ctx: Context, id: str) -> Offer:
    """One service. Problem not-found."""
    read = await gate.read(ctx, Ref("HealthcareService", id)) if re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", id) else None
    if not isinstance(body := _body(read), dict):
        raise not_found()
    return (await _said(ctx, [body]))[0]


async def kinds(ctx: Context, known: dict[str, Any]) -> list[tuple[str, str]]:
    """(`system|code`, words) of every kind of service there is, by name. `known` keeps them while the directory stays as it is."""
    _, epoch = await directory_now(ctx.house)
    if known.get("epoch") != epoch:
        found: dict[str, str] = {}
        seen, asked = 0, [("active", "true"), ("_count", "200")]
        while seen < MOST_KINDS:
            page = await gate.search(ctx, "HealthcareService", asked)
            for entry in page.entries:
                for concept in strict.decode(entry.body or b"{}").get("category", ()):
                    coding = next((c for c in concept.get("coding", ()) if c.get("system") and c.get("code")), None)
                    if coding is not None:
                        found.setdefault(f"{coding['system']}|{coding['code']}", concept.get("text") or coding.get("display") or coding["code"])
            seen += len(page.entries)
            if page.next is None:
                break
            asked = [("_page", page.next)]
        known.update(epoch=epoch, kinds=sorted(found.items(), key=lambda f: f[1].lower()))
    return list(known["kinds"])


def _body(read: Any) -> Any:
    return strict.decode(read.body) if read is not None and read.body else None


async def _said(ctx: Context, bodies: list[dict[str, Any]]) -> tuple[Offer, ...]:
    places = {r for b in bodies for e in ("location", "coverageArea") for r in _refs(b.get(e, ()))}
    known = await _named(ctx, "Location", places) | await _named(ctx, "Organization", {r for b in bodies for r in _refs([b.get("providedBy") or {}])})
    return tuple(_offer(b, known) for b in bodies)


async def _named(ctx: Context, type: str, refs: set[str]) -> dict[str, dict[str, Any]]:
    ids = sorted(r.partition("/")[2] for r in refs if r.startswith(f"{type}/"))
    out: dict[str, dict[str, Any]] = {}
    for at in range(0, len(ids), 100):
        page = await gate.search(ctx, type, [("_id", ",".join(ids[at : at + 100])), ("_count", "100")])
        out |= {str(e.ref): strict.decode(e.body) for e in page.entries if e.body}
    return out


def _refs(references: Any) -> list[str]:
    return [str(r["reference"]) for r in references if isinstance(r, dict) and r.get("reference")]


def _offer(b: dict[str, Any], known: dict[str, dict[str, Any]]) -> Offer:
    owner = next(iter(_refs([b.get("providedBy") or {}])), "")
    at = [_place(known[r]) for r in _refs(b.get("location", ())) if r in known]
    areas = [known[r] for r in _refs(b.get("coverageArea", ())) if r in known and known[r].get("name")]
    covers = [str(a["name"]) for a in areas]
    serves = tuple(str(a["name"]) for a in areas if not any(i.get("system") == DISTRICT for i in a.get("identifier", ())))
    return Offer(
        b["id"], str(b.get("name") or ""), str(known.get(owner, {}).get("name") or ""), owner,
        tuple(dict.fromkeys(_words(c) for c in (*b.get("category", ()), *b.get("type", ())) if _words(c))), str(b.get("comment") or ""),
        str(b.get("extraDetails") or ""),
        tuple((str(t.get("system", "phone")), str(t["value"])) for t in b.get("telecom", ()) if t.get("value")), tuple(p for p in at if p),
        tuple(c.removeprefix("Postcode district ") for c in covers), serves, tuple(str(e["comment"]) for e in b.get("eligibility", ()) if e.get("comment")),
        (*(_time(t) for t in b.get("availableTime", ())), *(t for t in (b.get("availabilityExceptions"),) if t)),
        tuple(_words(m) for m in b.get("referralMethod", ()) if _words(m)), b.get("active") is not False,
    )  # fmt: skip


def _words(concept: dict[str, Any]) -> str:
    return str(concept.get("text") or next((c.get("display") or c.get("code") for c in concept.get("coding", ()) if c.get("display") or c.get("code")), ""))


def _place(location: dict[str, Any]) -> str:
    address = location.get("address") or {}
    return ", ".join(t for t in (location.get("name"), *address.get("line", ()), address.get("city"), address.get("postalCode")) if t)


DAYS: Final = {"mon": "Monday", "tue": "Tuesday", "wed": "Wednesday", "thu": "Thursday", "fri": "Friday", "sat": "Saturday", "sun": "Sunday"}


def _time(time: dict[str, Any]) -> str:
    days = ", ".join(DAYS.get(d, d) for d in time.get("daysOfWeek", ()))
    hours = " to ".join(str(time[k])[:5] for k in ("availableStartTime", "availableEndTime") if time.get(k))
    return " ".join(t for t in (days, hours) if t)


def _literal(word: str) -> str:
    """What somebody typed as the value of a search (https://hl7.org/fhir/R4/search.html#escaping)."""
    return re.sub(r"([\\$,|])", r"\\\1", "".join(c for c in word if c.isprintable())).strip()


__all__ = ["Menu", "Offer", "kinds", "offer", "offers"]
