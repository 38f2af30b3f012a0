"""Groups of staff: who is in one, and when. https://hl7.org/fhir/R4/group.html

A Group of practitioners, roles and organisations (`type` practitioner, `actual` true) is part of the directory: operators write it, and
whoever is in it now goes by its name. Any other Group is patient data and says nothing of who anybody is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .periods import bounds

MEMBERS: Final = ("Practitioner", "PractitionerRole", "Organization")
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Member:
    """`name` is `Type/id`; from `low` to `high` in microseconds, None for open."""

    name: str
    low: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """A Group that an operator wrote; without members while it is not active."""

    ref: str
    members: tuple[Member, ...]


def of_staff(resource: Mapping[str, Any]) -> bool:
    """Does it say that it is of staff, whether well or ill formed."""
    return resource.get("resourceType") == "Group" and resource.get("type") == "practitioner"


def ill_formed(resource: Mapping[str, Any]) -> tuple[str, str] | None:
    """What keeps a Group from being one of staff: (where, sentence); None when nothing does."""
    if resource.get("type") != "practitioner" or resource.get("actual") is not True:
        return "Group.type", "A group of staff has the `type` practitioner, and `actual` true."
    for element in ("characteristic", "contained"):
        if element in resource:
            return f"Group.{element}", f"A group of staff has no `{element}`: who is in it are its members."
    for i, member in enumerate(resource.get("member", ())):
        if not _name(member):
            return f"Group.member[{i}].entity", f"Name each member by a reference to a {', '.join(MEMBERS[:-1])} or {MEMBERS[-1]} here."
        try:
            bounds(member.get("period"))
        except ValueError:
            return f"Group.member[{i}].period", "This period cannot be read."
    for text in _references(resource):
        if not _staff(text):
            return "Group", f"`{text[:60]}` is no {', '.join(MEMBERS[:-1])} or {MEMBERS[-1]} here: a group of staff tells of nobody and nothing else."
    return None


def read(resource: Mapping[str, Any], ref: str) -> Group | None:
    """None for what is no well formed group of staff."""
    if not of_staff(resource) or ill_formed(resource) is not None:
        return None
    live = resource.get("active") is not False
    return Group(ref, tuple(Member(_name(m), *bounds(m.get("period"))) for m in resource.get("member", ()) if live and m.get("inactive") is not True))


def _name(member: Mapping[str, Any]) -> str:
    text = (member.get("entity") or {}).get("reference")
    return text if isinstance(text, str) and _staff(text) else ""


def _staff(text: str) -> bool:
    type, _, id = text.partition("/")
    return type in MEMBERS and _ID.match(id) is not None


def _references(node: Any) -> Iterator[str]:
    for name, value in node.items() if isinstance(node, Mapping) else ():
        if name == "reference" and isinstance(value, str):
            yield value
        for each in value if isinstance(value, list) else (value,):
            yield from _references(each)


__all__ = ["MEMBERS", "Group", "Member", "ill_formed", "of_staff", "read"]
