"""Answers and what became of them, for people to read; a wheel as a picture with the same facts in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...domain.forms import about_me
from ...domain.forms.pages import Group, Question, Text
from .pictures import Wheel, wheel
from .words import _, day, moment, short

WORDS = {"yes": "Yes", "no": "No"}


@dataclass(frozen=True, slots=True)
class Thing:
    """What answers became: what kind of thing, in words, and a wheel where it is one."""

    kind: str
    text: str
    wheel: Wheel | None = None


def rows(shown: Sequence[Any]) -> list[tuple[str, str]]:
    """(question, answer) of a page, in order; what was not answered is said to be so."""
    out: list[tuple[str, str]] = []
    for one in shown:
        if isinstance(one, Question):
            out.append((one.label, said(one)))
        elif isinstance(one, Group):
            for n, turn in enumerate(one.turns):
                found = rows(turn)
                if one.repeats and len(one.turns) > 1:
                    found = [(f"{label} ({n + 1})", text) for label, text in found]
                out += found
        else:
            assert isinstance(one, Text)
    return out


def said(q: Question) -> str:
    """The answers in words."""
    options = dict(q.options)
    if q.kind in ("date", "dateTime"):
        return "\n".join(moment(v) if "T" in v else day(v) for v in q.values) or _("Not answered")
    found = [options.get(v, v) if q.options else _(WORDS[v]) if q.kind == "boolean" and v in WORDS else v for v in q.values]
    return "\n".join(f"{v} {q.unit}".strip() for v in found if v) or _("Not answered")


def thing(resource: Mapping[str, Any]) -> Thing:
    """A resource in words."""
    type = str(resource.get("resourceType"))
    if type == "Goal":
        return Thing(_("A goal"), str(resource.get("description", {}).get("text", "")))
    if type == "CarePlan":
        return Thing(_("A plan"), str(resource.get("title", "")))
    if type == "QuestionnaireResponse":
        return Thing(_("What matters to me"), "\n".join(about_me.said(dict(resource)).values()))
    text = str(resource.get("code", {}).get("text") or "") if isinstance(resource.get("code"), dict) else ""
    if type == "Observation" and resource.get("component"):
        return Thing(_("A wheel"), text, wheel(resource))
    value = next((v for k, v in resource.items() if k.startswith("value")), "")
    if isinstance(value, dict):
        value = f"{short(value['value'])} {value.get('unit', '')}".strip() if "value" in value else value.get("text") or ""
    return Thing(_("Something in my record"), f"{text}: {short(value)}" if value != "" else text or str(resource.get("description", "")))
