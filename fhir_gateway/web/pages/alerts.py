"""Allergies and warnings in a person's record, as the pages show them first: words instead of codes. Pure.

AllergyIntolerance and Flag, https://hl7.org/fhir/R4/allergyintolerance.html, https://hl7.org/fhir/R4/flag.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from ...domain.alerts import flag_stands, is_unsure, none_known
from ...domain.joined import Record, believed
from .plan_items import Item, elsewhere, lines, list_of, thing
from .words import _, day, short

TYPES: Final = ("AllergyIntolerance", "Flag")
CRITICALITY: Final[Mapping[str, str]] = {
    "high": "High: it could put their life in danger", "low": "Low: it is not likely to put their life in danger",
    "unable-to-assess": "Nobody can say yet",
}  # fmt: skip
OWN_CRITICALITY: Final[Mapping[str, str]] = {
    "high": "High: it could put my life in danger", "low": "Low: it is not likely to put my life in danger", "unable-to-assess": "Nobody can say yet",
}  # fmt: skip
SEVERITY: Final[Mapping[str, str]] = {"mild": "mild", "moderate": "moderate", "severe": "severe"}
SORT: Final[Mapping[str, str]] = {"allergy": "Allergy", "intolerance": "Intolerance: their body does not take it well"}
KINDS: Final[Mapping[str, str]] = {"food": "food", "medication": "medicine", "environment": "something around us", "biologic": "something made from living things"}
ABOUT: Final[Mapping[str, str]] = {  # http://terminology.hl7.org/CodeSystem/flag-category, those that come without words
    "diet": "Diet", "drug": "Medicines", "lab": "Tests", "admin": "Administration", "contact": "How to get in touch", "clinical": "Health",
    "behavioral": "Behaviour", "research": "Research", "advance-directive": "Wishes made ahead", "safety": "Safety",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alerts:
    """What of these this reader may see. `none_known`: somebody wrote down that there are no allergies, in words with the day.
    An empty part claims nothing: it may be withheld, or nobody has asked."""

    allergies: tuple[Item, ...] = ()
    none_known: tuple[str, ...] = ()
    warnings: tuple[Item, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.allergies or self.none_known or self.warnings)


def alerts(record: Record, today: date, *, own: bool, others: Sequence[Record] = ()) -> Alerts:
    """Of the resources of one person, and of each of their other records; those that hold now first. What was entered in error is left out."""
    first, *more = believed([record, *others])
    theirs = [dict(r) for held in more for r in held]
    held, from_there = [*(dict(r) for r in first), *theirs], {id(r) for r in theirs}

    def where(r: Mapping[str, Any]) -> str:
        return elsewhere(own) if id(r) in from_there else ""

    allergies = [r for r in held if r.get("resourceType") == "AllergyIntolerance" and _status(r, "verificationStatus") != "entered-in-error"]
    flags = [r for r in held if r.get("resourceType") == "Flag" and r.get("status") != "entered-in-error"]
    none = [r for r in allergies if none_known(r)]
    return Alerts(
        tuple(replace(_allergy(r, own), where=where(r)) for r in sorted((r for r in allergies if r not in none), key=_urgency)),
        tuple(" ".join(t for t in (_said_none(r), f"{where(r)}." if where(r) else "") if t) for r in none),
        tuple(replace(_flag(r, today), where=where(r)) for r in sorted(flags, key=lambda r: (_over(r, today)[0], str(_period(r).get("start") or "")))),
    )


# -- allergies --------------------------------------------------------------------------------------------------------


def _urgency(allergy: Mapping[str, Any]) -> tuple[bool, int, str]:
    """What holds and is dangerous comes first; what is not said to be harmless counts as more than that."""
    return bool(_gone(allergy)), {"high": 0, "low": 2}.get(str(allergy.get("criticality")), 1), words_of(allergy.get("code")).casefold()


def _status(resource: Mapping[str, Any], element: str) -> str:
    return next((str(c.get("code")) for c in list_of(thing(resource.get(element)), "coding") if c.get("code")), "")


def _gone(allergy: Mapping[str, Any]) -> str:
    """Why this one does not hold now, in words; "" where it does, or nobody says."""
    if _status(allergy, "verificationStatus") == "refuted":
        return _("Ruled out")
    return {"inactive": _("Not now"), "resolved": _("Over")}.get(_status(allergy, "clinicalStatus"), "")


def _said_none(allergy: Mapping[str, Any]) -> str:
    said, on = _said(none_known(allergy)), day(allergy.get("recordedDate"))
    return _("{said}. Somebody wrote this down on {day}.").format(said=said, day=on) if on else _("{said}. Somebody wrote this down.").format(said=said)


def _allergy(allergy: dict[str, Any], own: bool) -> Item:
    reactions = list_of(allergy, "reaction")
    substances = [t for t in (words_of(r.get("substance")) for r in reactions) if t]
    name = words_of(allergy.get("code")) or ", ".join(dict.fromkeys(substances)) or _("An allergy that is not described")
    state, colour = _gone(allergy), "grey"
    if not state and allergy.get("criticality") == "high":
        state, colour = _("Dangerous"), "red"
    sure = _("No, nobody has made sure") if is_unsure(allergy) else ""
    sort = [_(SORT[t]) for t in (str(allergy.get("type")),) if t in SORT]
    sort += [_(KINDS[c]) for c in _plain(allergy.get("category")) if c in KINDS]
    critical = OWN_CRITICALITY if own else CRITICALITY
    return Item(
        str(allergy.get("id", "")), name, state, colour,
        lines(
            (_("How dangerous"), _said(critical.get(str(allergy.get("criticality"))))),
            (_("What happens"), "\n".join(t for t in map(_reaction, reactions) if t)),
            (_("What it is"), ", ".join(sort)),
            (_("Is it sure?"), sure),
            (_("Since"), _when(allergy)),
            (_("Last time"), day(allergy.get("lastOccurrence"))),
            (_("Written down on"), day(allergy.get("recordedDate"))),
            (_("Notes"), "\n".join(str(n["text"]) for n in list_of(allergy, "note") if n.get("text"))),
        ),
        codes=_bare(allergy.get("code"), *(c for r in reactions for c in (r.get("substance"), *_each(r.get("manifestation"))))),
    )  # fmt: skip


def _reaction(reaction: dict[str, Any]) -> str:
    """Rash, itching (severe), 3 May 2019: by mouth it came within minutes."""
    signs = [words_of(m) for m in _each(reaction.get("manifestation"))]
    said = ", ".join(s for s in signs if s) or str(reaction.get("description") or "") or _("a reaction that is not described")
    severity = str(reaction.get("severity"))
    said += f" ({_(SEVERITY[severity])})" if severity in SEVERITY else ""
    told = str(reaction.get("description") or "")
    notes = [str(n["text"]) for n in list_of(reaction, "note") if n.get("text")]
    more = [t for t in (told if not said.startswith(told) else "", *notes) if t]
    said = ", ".join(t for t in (said, day(reaction.get("onset"))) if t)
    return said + (": " + ". ".join(more) if more else "")


def _when(allergy: Mapping[str, Any]) -> str:
    """When it began, in whichever of five ways that is said."""
    age, period, span = thing(allergy.get("onsetAge")), thing(allergy.get("onsetPeriod")), thing(allergy.get("onsetRange"))
    if age.get("value") is not None:
        return _("the age of {age}").format(age=_amount(age))
    if span:
        ends = [_amount(thing(span.get(k))) for k in ("low", "high") if span.get(k)]
        return _("the age of {age}").format(age=_(" to ").join(ends))
    return day(allergy.get("onsetDateTime") or period.get("start")) or str(allergy.get("onsetString") or "")


def _amount(quantity: Mapping[str, Any]) -> str:
    unit = {"a": _("years"), "mo": _("months"), "wk": _("weeks"), "d": _("days")}.get(str(quantity.get("code")), str(quantity.get("unit") or ""))
    return f"{short(quantity.get('value', ''))} {unit}".strip()


# -- warnings ---------------------------------------------------------------------------------------------------------


def _period(flag: Mapping[str, Any]) -> dict[str, Any]:
    return thing(flag.get("period"))


def _over(flag: Mapping[str, Any], today: date) -> tuple[int, str, str]:
    """(place in the list, how it stands in words, colour): one that is active, or may be, comes before what is over."""
    return {"over": (2, _("Over"), "grey"), "not yet": (1, _("Not yet"), "grey"), "now": (0, _("Now"), "red")}[flag_stands(flag, today)]


def _flag(flag: dict[str, Any], today: date) -> Item:
    _place, state, colour = _over(flag, today)
    categories = _each(flag.get("category"))
    return Item(
        str(flag.get("id", "")), words_of(flag.get("code")) or _("A warning that is not described"), state, colour,
        lines(
            (_("What it is about"), ", ".join(dict.fromkeys(t for t in map(_category, categories) if t))),
            (_("From"), day(_period(flag).get("start"))),
            (_("Until"), day(_period(flag).get("end"))),
        ),
        codes=_bare(flag.get("code"), *(c for c in categories if not _category(c))),
    )  # fmt: skip


def _category(concept: Any) -> str:
    known = next((ABOUT[c["code"]] for c in list_of(thing(concept), "coding") if c.get("code") in ABOUT), None)
    return words_of(concept) or _said(known)


# -- words ------------------------------------------------------------------------------------------------------------


def words_of(concept: Any) -> str:
    """A CodeableConcept in its own words; "" where it has codes alone."""
    value = thing(concept)
    return str(value.get("text") or next((c["display"] for c in list_of(value, "coding") if c.get("display")), ""))


def _said(sentence: str | None) -> str:
    return _(sentence) if sentence else ""


def _bare(*concepts: Any) -> tuple[str, ...]:
    """Codes that come without words, as `system|code`, to be folded away."""
    bare = [c for concept in concepts if not words_of(concept) for c in list_of(thing(concept), "coding") if c.get("code")]
    return tuple(dict.fromkeys(f"{c['system']}|{c['code']}" if c.get("system") else str(c["code"]) for c in bare))


def _each(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _plain(value: Any) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []


__all__: Sequence[str] = ["TYPES", "Alerts", "alerts", "words_of"]
