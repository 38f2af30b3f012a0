"""Groups of staff: who is in one, and when. https://hl7.org/fhir/R4/group.html

A Group of practitioners, roles and organisations (`type` practitioner, `actual` true) is part of the directory: operators write it, and
whoever is in it now goes by its name. Any other Group is patient data and says nothing of who anybody is.

One with the code AGREEMENT lists the partners of an agreement on sharing (a protocol). A yes under it, which quotes it as `Consent.policy.uri`, reaches its
partners alone; whoever was a partner and was taken out is reached by no yes at all, unless they are a partner of another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .periods import bounds, covers
from .vocabulary import OURS

MEMBERS: Final = ("Practitioner", "PractitionerRole", "Organization")
AGREEMENT: Final = f"{OURS}/CodeSystem/group|sharing-agreement"  # Group.code
URI: Final = "urn:ietf:rfc:3986"  # system of the identifier by which consents quote an agreement
NO_YES: Final = "*"  # in `Actor.apart`: taken out of an agreement, and a partner of none
_ID: Final = re.compile(r"[A-Za-z0-9.-]{1,64}\Z")
_ADDRESS: Final = re.compile(r"(https?://.*/)?/?group/([A-Za-z0-9.-]{1,64})(?:/_history/[^/]*)?", re.IGNORECASE)


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
    quoted: frozenset[str] = frozenset()  # of an agreement on sharing: what consents call it; of any other group nothing
    once: tuple[Member, ...] = ()  # of an agreement that goes on: everybody who was ever listed as a partner, whether they are one now or not
    ended: bool = False  # `active` false


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
    members = tuple(Member(_name(m), *bounds(m.get("period"))) for m in resource.get("member", ()) if live and m.get("inactive") is not True)
    return Group(ref, members, _quoted(resource, ref), _listed(resource) if live else (), not live) if is_agreement(resource) else Group(ref, members)


def is_agreement(resource: Mapping[str, Any]) -> bool:
    """Does it list the partners of an agreement on sharing."""
    return of_staff(resource) and AGREEMENT in {f"{c.get('system', '')}|{c.get('code', '')}" for c in (resource.get("code") or {}).get("coding", ())}


def _quoted(resource: Mapping[str, Any], ref: str) -> frozenset[str]:
    values = {str(i["value"]) for i in resource.get("identifier", ()) if i.get("system") == URI and i.get("value")}
    return frozenset({ref}) | values | {_plain(v) for v in values}


def quoting(uri: str) -> frozenset[str]:
    """What a consent quotes, and the agreement that it plainly means: in another case, with a slash at its end, `http` for `https`, a version."""
    plain = _plain(uri)
    scheme, _, rest = plain.partition("://")
    return frozenset({uri, plain}) | ({f"http://{rest}", f"https://{rest}"} if scheme in ("http", "https") else frozenset())


def named_group(uri: str, base: str = "") -> str:
    """`Group/id` where this is a reference to a Group here, or the address of one under `base`; else empty."""
    plain = _plain(uri)
    ours = plain.removeprefix(f"{base.casefold()}/") if base else plain
    return ours if ours.startswith("Group/") else ""


def _plain(uri: str) -> str:
    text = uri.strip().rstrip("/")
    found = _ADDRESS.fullmatch(text)
    return f"{(found[1] or '').casefold()}Group/{found[2]}" if found else text.casefold()


def _listed(resource: Mapping[str, Any]) -> tuple[Member, ...]:
    """Everybody whom it lists, also who is `inactive`; but for slips: who was to begin and did not is no partner yet."""
    return tuple(Member(_name(m), bounds(m.get("period"))[0], None) for m in resource.get("member", ()))


def at_address(group: Group, base: str) -> Group:
    """The same; consents may quote an agreement by its address here, too."""
    return replace(group, quoted=group.quoted | {_plain(f"{base}/{group.ref}")}) if group.quoted else group


def with_earlier(group: Group, versions: Iterable[Mapping[str, Any]]) -> Group:
    """The same, with whoever an earlier version of it listed."""
    return group if group.ended else replace(group, once=(*group.once, *(m for v in versions if ill_formed(v) is None for m in _listed(v))))


def apart_from(agreements: Iterable[Group], names: frozenset[str], at: int) -> frozenset[str]:
    """What consents call the agreements of which whoever goes by these names is no partner now, and NO_YES where they were taken out of one and are of none."""
    known = list(agreements)
    inside = [g for g in known if any(m.name in names and covers(m.low, m.high, at) for m in g.members)]
    out = frozenset[str]().union(*(g.quoted for g in known if g not in inside)).difference(*(g.quoted for g in inside))
    left = any(m.name in names and covers(m.low, None, at) for g in known for m in g.once)
    return out | {NO_YES} if left and not inside else out


def still_an_agreement(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> tuple[str, str] | None:
    """What is wrong with taking away, or making something else of, an agreement: (where, sentence). Who was taken out would be forgotten."""
    if not is_agreement(before):
        return None
    if after is None or not is_agreement(after):
        return "Group.code", "An agreement on sharing is ended by `active` false, and stays: who was taken out of it would be forgotten."
    gone = _quoted(before, "") - _quoted(after, "")
    return ("Group.identifier", f"Consents may quote `{min(gone)[:60]}`: an agreement keeps its names.") if gone else None


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


__all__ = ["AGREEMENT", "MEMBERS", "NO_YES", "URI", "Group", "Member", "apart_from", "at_address", "ill_formed", "is_agreement", "named_group", "of_staff", "quoting", "read", "still_an_agreement", "with_earlier"]
