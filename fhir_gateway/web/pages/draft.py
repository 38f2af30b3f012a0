"""A choice to share while it is being made: what the four steps of the form carry, checked step by step. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from ...domain import sharing
from ...domain.choices import Row
from . import details
from .words import _, day, typed_day

STEPS = ("who", "what", "when", "check")
LONGEST_WHY = 500
FIELDS = (  # of the form that shares, the step asked for in `go`
    "find", "who", "parts", "private", "until_choice", "until-day", "until-month", "until-year", "why", "version", "things", "purpose", "rule",
    "identity", "go",
)  # fmt: skip
PARTS: dict[str, tuple[str, str]] = {  # what each part lets somebody see: `sharing.KINDS` in words
    "plan": ("My whole plan", "All of what is below. Also the warnings, allergies and medicines in your record."),
    "goals": ("My goals and what we will do", "Your goals, the steps on the way, who does what, and tasks that others were asked to do"),
    "about": ("What matters to me", "Your answers about yourself and to other questions you were asked"),
    "needs": ("What I need help with", "Your needs, illnesses and conditions, what you were sent to and what you could not get"),
    "crisis": ("What to do if things get worse", "What can set it off, what should happen and who to contact"),
    "team": ("My team, family and friends", "Who they are and how to reach them"),
    "measurements": ("My measurements", "Weight, blood pressure and other things that were measured"),
    "documents": ("My documents", "Letters, reports and papers in your record"),
    "stays": ("My hospital stays and visits", "When and where you stayed in hospital or were seen, and who looked after you there"),
}
PURPOSES: dict[str, tuple[str, str, str]] = {  # why they may look: to choose, in the list, in the sentence before saving
    "care": ("To care for me", "To care for you", "They may look to care for you."),
    "emergency": ("Only in an emergency", "Only in an emergency", "They may look only in an emergency."),
    "research": ("Only for research", "Only for research", "They may look only for research."),
    "any": ("For anything they do", "For anything they do", "They may look for anything they do, also for research."),
}
REF = re.compile(r"[A-Z][A-Za-z]{2,40}/[A-Za-z0-9.-]{1,64}\Z")
PRIVATE: dict[str, str] = {key: text.capitalize() for key, text in sharing.LABEL_WORDS.items()}
SECTORS: dict[str, str] = {
    "health": "All who work in health care",
    "social-care": "All who work in social care",
    "voluntary": "All who work for a charity or voluntary group",
    "housing": "All who work in housing",
    "education": "All who work in a school or college",
    "justice": "All who work for the police, courts, prisons or probation",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """The fields of the form as typed. `who` is as `sharing.grant` takes it.

    `things` are single resources, `Type/id`. `identity` is "yes" when the person opens all their details. `rule` is the choice that this one takes the place of, "" for a new one.
    """

    find: str = ""
    who: str = ""
    parts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    until_choice: str = ""
    until: Mapping[str, str] = field(default_factory=dict)
    why: str = ""
    version: str = ""
    things: tuple[str, ...] = ()
    purpose: str = "care"
    rule: str = ""
    identity: str = ""

    @classmethod
    def of(cls, fields: Any) -> Draft:
        """From a form's fields; unknown parts are dropped."""
        return cls(
            find=fields.get("find", "").strip()[:100],
            who=fields.get("who", "")[:400],
            parts=tuple(p for p in PARTS if p in fields.getlist("parts")),
            private=tuple(p for p in PRIVATE if p in fields.getlist("private")),
            until_choice=fields.get("until_choice", ""),
            until={k: fields.get(k, "")[:10] for k in ("until-day", "until-month", "until-year")},
            why=fields.get("why", "").strip().replace("\r\n", "\n"),
            version=fields.get("version", "")[:100],
            things=tuple(dict.fromkeys(t for t in fields.getlist("things") if REF.match(t)))[:100],
            purpose=fields.get("purpose", "") if fields.get("purpose", "") in PURPOSES else "care",
            rule=fields.get("rule", "")[:64],
            identity="yes" if fields.get("identity") == "yes" else "",
        )

    @classmethod
    def of_choice(cls, row: Row, version: str) -> Draft:
        """A choice as it was made, to be changed."""
        last = row.until
        until = {"until-day": str(last.day), "until-month": str(last.month), "until-year": str(last.year)} if last else {}
        return cls(
            who=row.who[0] if row.who else "", parts=tuple(k for k in row.kinds if k != "identity"), private=row.labels, until_choice="day" if last else "open", until=until,
            why=row.why, version=version, things=row.refs, purpose=row.purpose, rule=row.id,
            identity="yes" if "identity" in row.kinds else "",
        )  # fmt: skip

    def values(self) -> dict[str, Any]:
        """For the template: one value a field."""
        return {
            "find": self.find, "who": self.who, "parts": list(self.parts), "private": list(self.private),
            "until_choice": self.until_choice, "why": self.why, "version": self.version,
            "things": list(self.things), "purpose": self.purpose, "rule": self.rule, "identity": self.identity, **self.until,
        }  # fmt: skip

    def last_day(self) -> date | None:
        """The last day of the grant, None for an open end. Call after `mistakes` found none."""
        found = typed_day(self.until, "until") if self.until_choice == "day" else None
        return found if isinstance(found, date) else None

    def everything(self) -> bool:
        """Did the person choose the whole plan."""
        return "plan" in self.parts

    def kinds(self) -> tuple[str, ...]:
        """As `domain.sharing` has them: the whole plan holds every part."""
        return (*(("plan",) if self.everything() else self.parts), *(("identity",) if self.identity else ()))


def mistakes(draft: Draft, step: str, today: date, known: bool) -> dict[str, str]:
    """What must be put right in one step: field to sentence. `known`: the directory has whoever was chosen."""
    if step == "who" and not known:
        return {"who": _("Choose who you want to share with.")}
    if step == "what" and not (draft.parts or draft.things or draft.identity):
        return {"parts": _("Choose at least one part of your plan, or one thing.")}
    if step == "when":
        return _when(draft, today)
    return {}


def _when(draft: Draft, today: date) -> dict[str, str]:
    out: dict[str, str] = {}
    if draft.until_choice not in ("day", "open"):
        out["until_choice"] = _("Choose until when.")
    if draft.until_choice == "day":
        last = typed_day(draft.until, "until")
        if last is None:
            out["until"] = _("Write the last day they can see it.")
        elif isinstance(last, str):
            out["until"] = last
        elif last < today:
            out["until"] = _("That day is over. Choose today or a later day.")
        elif last > today + timedelta(days=50 * 366):
            out["until"] = _("That day is too far away. You can choose “Until I stop it”.")
    if len(draft.why) > LONGEST_WHY:
        out["why"] = _("Write at most {n} letters.").format(n=LONGEST_WHY)
    return out


def what_words(parts: Iterable[str]) -> str:
    """The parts by name, a line each."""
    chosen = list(parts)
    if "plan" in chosen:
        chosen = [p for p in chosen if p in ("plan", "identity")]
    return "\n".join(_called(p) for p in chosen)


def _called(part: str) -> str:
    if part == "identity":
        return _(details.OFFER[0])
    return _(PARTS[part][0]) if part in PARTS else _(sharing.KIND_WORDS[part]).capitalize()


def given_words(draft: Draft, named: Mapping[str, str], views: Collection[int]) -> str:
    """All that a choice lets somebody see, a line for each part and each thing and one for what goes with every part.

    `views`: how much this reader then gets of the person's own details (`gate.details`).
    """
    parts = list(PARTS) if draft.everything() else list(draft.parts)
    lines = [f"{_(PARTS[p][0])}. {_(PARTS[p][1])}." for p in parts]
    lines += [_("Only this: {name}, also if it is marked as private.").format(name=named.get(t, t)) for t in draft.things]
    return "\n".join([*lines, details.listed(views) + "."])


def until_words(last: date | None) -> str:
    """The last day in words; without one, until it is stopped."""
    return day(last) if last else _("Until you stop it")


def summary(draft: Draft, name: str, named: Mapping[str, str], views: Collection[int]) -> str:
    """The whole choice in a few sentences, read before saving and kept with the choice. `views` as for `given_words`."""
    parts = ", ".join([*(_(PARTS[p][0]) for p in draft.parts), *(named.get(t, t) for t in draft.things)])
    if not parts:
        parts = _(details.OFFER[0])
    what = _("your whole plan") if draft.everything() else _("these parts of your plan: {parts},").format(parts=parts)
    last = draft.last_day()
    text = _("{name} may see {what} until you stop it.")
    if last:
        text = _("{name} may see {what} until the end of {day}.")
    return f"{text.format(name=name, what=what, day=day(last) if last else '')} {details.sentence(views)} {_(PURPOSES[draft.purpose][2])}"
