"""Whom a person may share with: found by name, in a role somewhere, in their own team, or a whole sector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...gate import Context
from ...gate.context import directory_now
from .draft import SECTORS
from .names import DIRECTORY, Choice, bodies, called, names, own_ids, role_word
from .words import _


async def offered(ctx: Context, who: str, found: list[Choice]) -> list[Choice]:
    """Whom the first step offers: who was found, who is in the person's own team, then whole sectors. `who` was chosen already."""
    directory, _epoch = await directory_now(ctx.house)
    out: dict[str, Choice] = {}
    for c in [*found, *await _my_team(ctx)]:  # one and the same by a reference and by a code is offered once
        out.setdefault(directory.find(c.ref) or c.ref, c)
    by_ref = {c.ref: c for c in out.values()}
    if who and who not in by_ref and not who.startswith("sector:"):
        name = await name_of(ctx, who)
        same = directory.find(who) or who
        out = {**({same: Choice(who, name)} if name else {}), **{k: c for k, c in out.items() if k != same or not name}}
    hint = _("This is many people, also people you do not know")
    return [*out.values(), *(Choice(f"sector:{key}", _(text), hint) for key, text in SECTORS.items())]


async def _my_team(ctx: Context) -> list[Choice]:
    """Members of the person's teams that the directory knows, and the teams themselves."""
    directory, _epoch = await directory_now(ctx.house)
    teams = await bodies(ctx, "CareTeam", [("patient", own_ids(ctx)), ("_count", "20")])
    out: dict[str, Choice] = {}
    for team in teams:
        for member in team.get("participant", []):
            ref = _named(member.get("member") or {})
            if ref.split("/")[0] in DIRECTORY or "|" in ref:
                out[ref] = Choice(ref, "", _as_member(directory.find(ref) or ref, role_words(member)))
    known = await names(ctx, out)
    people = [Choice(ref, known[ref], c.what) for ref, c in out.items() if known.get(ref)]
    return people + [Choice(f"CareTeam/{t['id']}", _team_name(t), _("everybody in this team, now and later")) for t in teams]


def role_words(member: dict[str, Any]) -> str:
    """What a member of a team does, in words."""
    found = (r.get("text") or next((c["display"] for c in r.get("coding", []) if c.get("display")), "") for r in member.get("role", []))
    return next((str(w) for w in found if w), "")


def _as_member(found: str, role: str) -> str:
    """A member of the team who is one person, or a whole organisation: that is everybody there, whatever one of them does for you."""
    if not found.startswith("Organization/"):
        return role or _("in your team")
    everybody = _("The whole organisation: all who work there, now and later.")
    return f"{everybody} " + (_("In your team as: {role}").format(role=role) if role else _("In your team"))


def _team_name(team: dict[str, Any]) -> str:
    return str(team.get("name") or _("My care team"))


def _named(reference: dict[str, Any]) -> str:
    """The name a Reference gives: `Type/id`, else the identifier `system|value`."""
    identifier = reference.get("identifier") or {}
    if reference.get("reference"):
        return str(reference["reference"])
    return f"{identifier['system']}|{identifier['value']}" if {"system", "value"} <= identifier.keys() else ""


async def names_of(ctx: Context, whom: Iterable[str]) -> dict[str, str]:
    """Names of everybody a choice may speak of: directory, the person's own teams and family, whole sectors, a role somewhere."""
    whom = set(whom)
    out = {f"sector:{key}": _(text) for key, text in SECTORS.items()}
    if any(w.startswith("CareTeam/") for w in whom):
        out |= {c.ref: c.name for c in await _my_team(ctx)}
    if any(w.startswith("RelatedPerson/") for w in whom):
        family = await bodies(ctx, "RelatedPerson", [("patient", own_ids(ctx)), ("_count", "100")])
        out |= {f"RelatedPerson/{f['id']}": called(f) for f in family}
    roles = {w: w.removeprefix("role:").partition(" ")[::2] for w in whom if w.startswith("role:")}
    plain = [w for w in whom if w not in roles and not w.startswith("sector:")]
    out |= await names(ctx, plain + [place for place, _code in roles.values()])
    for who, (place, code) in roles.items():
        if place in out and "|" in code:
            role = await role_word(ctx, code) or _("person with one job, not described,")
            out[who] = _("Any {role} at {place}").format(role=role, place=out[place])
    return {w: out[w] for w in whom if w in out}


async def name_of(ctx: Context, who: str) -> str:
    """The name of whoever was chosen; empty when neither the directory nor the person's own teams have them."""
    return (await names_of(ctx, {who})).get(who, "")
