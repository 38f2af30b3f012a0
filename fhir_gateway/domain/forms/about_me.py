"""Answers to *About me*, and what a plan says of it: the same questions by the same names, one resource in the person's plan. Pure.

What was filled in and left as it was stays whatever the plan says of it meanwhile; what was cleared is said no more; what was answered is said so.
docs/questionnaires.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..mapping.names import full_url, own_identifier, system
from ..own_profiles import ABOUT_ME
from .items import Node, answers, items, link, value

KIND: Final = "about-me"
SYSTEM: Final = system(KIND)
BEFORE: Final = "before"  # the hidden question: what was filled in is of this version
QUESTIONS: Final = (
    "most_important", "people_important", "how_i_communicate", "my_wellness", "please_do_and_dont", "how_to_support", "also_worth_knowing", "supported_to_write_by",
)  # fmt: skip


def asks(form: Mapping[str, Any]) -> bool:
    """Is this the form *About me*."""
    return form.get("url") == ABOUT_ME


def is_of_a_plan(response: Mapping[str, Any]) -> bool:
    """Is this what a plan says of it, and not answers that somebody gave on the form."""
    own = own_identifier(response)
    return own is not None and own[0] == KIND


def said(response: Node) -> dict[str, str]:
    """What is answered, by question."""
    found = {link(item): value(given[0])[1] for item in items(response) if (given := answers(item))}
    return {name: str(found[name]) for name in QUESTIONS if found.get(name)}


def filled_in_from(response: Node) -> str:
    """Of which version (`QuestionnaireResponse/…/_history/…`) the answers were begun; "" where nothing was filled in."""
    return next((str(value(answers(item)[0])[1]) for item in items(response) if link(item) == BEFORE and answers(item)), "")


def changed(here: Node, before: Mapping[str, str], now: Mapping[str, str], on: str) -> Node:
    """What the plan says (`here`), with what was answered otherwise than it was `before`; itself where that is nothing. `on`: a day."""
    kept = {link(item): item for item in items(here)}
    old = said(here)
    new = {name: words for name in QUESTIONS if (words := now.get(name) if now.get(name) != before.get(name) else old.get(name))}
    if new == old:
        return here
    out = [kept[name] if old.get(name) == words else {"linkId": name, "answer": [{"valueString": words}]} for name, words in new.items()]
    others = [item for name, item in kept.items() if name not in QUESTIONS]
    return {**{k: v for k, v in here.items() if k != "item"}, "authored": on, **({"item": [*out, *others]} if out or others else {})}


def begun(plan: str, response: Node, on: str) -> tuple[str, Node]:
    """(full URL, what this plan says from now on): nothing stood there. `plan`: the value of the plan's own identifier."""
    name = f"{plan}/#{KIND}"
    out: Node = {
        "resourceType": "QuestionnaireResponse", "identifier": {"system": SYSTEM, "value": name}, "status": "completed", "questionnaire": ABOUT_ME,
        "subject": response["subject"], "source": response.get("source", response["subject"]), "authored": on,
    }  # fmt: skip
    return full_url(KIND, name), changed(out, {}, said(response), on)


__all__ = ["ABOUT_ME", "BEFORE", "KIND", "QUESTIONS", "SYSTEM", "asks", "begun", "changed", "filled_in_from", "is_of_a_plan", "said"]
