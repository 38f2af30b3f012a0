"""The operator's page of partners and keys: with whom what was agreed, who signs in by which key, and until when. docs/partners.md

Never a secret, nothing of anybody's record.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...auth import clients, keys
from ...auth.clients import Client
from ...auth.jose import Bad, PublicKey, public_keys
from ...auth.launching import Launches
from ...domain.directory import ODS_CODE
from ...gate import Context
from ...remote.sign_in import credential_of
from ...sync.partner import Partner
from ...sync.status import going
from .frame import Pages, show
from .names import names, partners_called
from .operator import STATES
from .words import _, moment

DIRECTIONS: Mapping[str, str] = {"both": "Both ways", "in": "From there to here only", "out": "From here to there only"}
ROLES: Mapping[str, str] = {"recipient": "It gets what its owner may see.", "processor": "It keeps records for others, and gets what one of them may see."}
ENFORCES: Mapping[str, str] = {
    "nothing": "Nothing. It gets nothing restricted.", "labels": "It keeps labels, and shows nobody what is restricted.", "consents": "It keeps what each person has chosen.",
}  # fmt: skip
RECALLS: Mapping[str, str] = {"delete": "It is deleted there.", "stub": "An empty record takes its place."}
SIGNS: Mapping[str, str] = {
    "none": "We do not sign in there.", "bearer": "By a token that they gave us", "basic": "By a name and a password that they gave us",
    "smart": "By a key of ours (SMART Backend Services)", "secret": "By a secret that they gave us", "key": "By a key of ours", "public": "By PKCE alone",
}  # fmt: skip
MAY: Mapping[str, str] = {
    "contributor": "It may add to the records of people with whom it has no bond.", "may_refer": "Whom it refers somebody to looks after them.", "may_introspect": "It may ask about the tokens of others.",
}  # fmt: skip


async def overview(pages: Pages, request: Request, ctx: Context) -> Response:
    """Everything that is agreed, and every key that is known here."""
    called, used = await partners_called(ctx), await clients.last_used(ctx.house.store, ctx.at)
    partners: list[Partner] = pages.more.get("partners", [])
    known = await clients.list_clients(ctx.house.store, ctx.at)
    places = await names(ctx, {_named(a) for a in (*(a for p in partners for a in p.terms.audience), *(c.organisation or "" for c in known)) if a})
    return await show(
        pages, request, "partners.html", ctx=ctx, partners=[await _partner(pages, p, called, places) for p in partners],
        clients=[_client(c, used, places, ctx.at) for c in known], launchers=_launchers(pages.launches), ours=await _ours(ctx),
    )  # fmt: skip


async def _partner(pages: Pages, p: Partner, called: Mapping[str, str], places: Mapping[str, str]) -> dict[str, Any]:
    terms, by, how = p.terms, credential_of(p.server), await going(pages.house, p)
    state = " ".join(_(STATES[s]) for s in how["state"].split("; ") if s)
    return {
        "name": p.name, "owner": called.get(p.name, ""), "organisation": terms.organisation, "known": await gate.owner_known(pages.house, terms), "where": p.server.base,
        "direction": _(DIRECTIONS[terms.direction]), "role": _(ROLES[terms.role]), "readers": "\n".join(_place(a, places) for a in terms.audience), "purpose": terms.purpose,
        "enforces": _(ENFORCES[terms.enforces]), "recall": _(RECALLS[terms.recall]) if terms.direction != "in" else "", "types": ", ".join(sorted(terms.types or ())),
        "signs": _(SIGNS[by.kind]), "client": by.client, "key": _key(by.kid, by.algorithm) if by.kid else "", "ends": _end(by.ends) if by.kind != "none" else "",
        "over": by.ends is not None and by.ends <= pages.house.clock(), "state": state or _("All is well."),
        "sent": _when(how["last_push"]) if terms.direction != "in" else "", "asked": _when(how["last_pull"]) if terms.direction != "out" else "",
    }  # fmt: skip


def _client(c: Client, used: Mapping[tuple[str, str], datetime], places: Mapping[str, str], at: datetime) -> dict[str, Any]:
    since = moment(datetime.fromtimestamp(c.keys_since, UTC)) if c.keys_since else _("Nobody wrote that down.")
    until = datetime.fromtimestamp(c.old_until, UTC) if c.old_jwks and c.old_until > at.timestamp() else None
    on_file = [(k, since, _("No end is set.")) for k in _public(c.jwks)]
    on_file += [(k, _("before that"), moment(until)) for k in _public(c.old_jwks if until else None)]
    shown = [{"kid": k.kid, "algorithms": ", ".join(sorted(k.algorithms)), "since": s, "ends": e, "used": _when(used.get((c.id, k.kid)))} for k, s, e in on_file]
    elsewhere = [{"kid": kid, "algorithms": "", "since": "", "ends": "", "used": moment(when)} for (id, kid), when in used.items() if id == c.id and kid not in {k.kid for k, *_s in on_file}]
    return {
        "id": c.id, "name": c.name, "kind": _("An app that people use") if c.kind == "app" else _("A system that acts by itself"), "organisation": _place(c.organisation or "", places), "scopes": c.scopes,
        "purpose": c.purpose, "may": "\n".join(_(text) for name, text in MAY.items() if getattr(c, name)), "published": c.jwks_uri, "since": since if c.jwks_uri else "", "keys": shown + elsewhere, "keyless": not c.has_keys,
    }  # fmt: skip


def _public(jwks: Mapping[str, Any] | None) -> tuple[PublicKey, ...]:
    try:
        return public_keys(jwks) if jwks else ()
    except Bad:  # written by an earlier release: it opens nothing
        return ()


def _launchers(launches: Launches | None) -> list[dict[str, Any]]:
    out = []
    for r in launches.launchers.values() if launches else ():
        key = launches.keys.get(r.iss) if launches else None
        out.append({"name": r.name, "iss": r.iss, "organisation": r.organisation, "client": r.client, "signs": _(SIGNS["key" if key else "secret" if r.secret else "public"]), "key": _key(key.kid, key.algorithm) if key else ""})
    return out


async def _ours(ctx: Context) -> list[dict[str, Any]]:
    """What our own tokens are signed with."""
    held = await keys.listed(ctx.house.store, ctx.at)
    signs = {next((k.kid for k in held if (k.algorithm == keys.ID_TOKENS) is of_people), "") for of_people in (False, True)}
    return [
        {
            "kid": k.kid, "algorithm": k.algorithm, "what": _("Who somebody is (id tokens)") if k.algorithm == keys.ID_TOKENS else _("What somebody may do (access tokens)"),
            "made": moment(datetime.fromtimestamp(k.made, UTC)), "ends": moment(datetime.fromtimestamp(k.ends, UTC)) if k.ends else _("No end is set."), "signs": k.kid in signs,
        }
        for k in held
    ]  # fmt: skip


def _place(said: str, places: Mapping[str, str]) -> str:
    """Its name, with what it is called in the settings or the registration where that is no reference of ours."""
    name = places.get(_named(said), "")
    return said if not name else name if "/" in said else f"{name} ({said})"


def _named(reader: str) -> str:
    """As the directory knows who is named by an ODS code or a reference."""
    return reader if "/" in reader else f"{ODS_CODE}|{reader}"


def _key(kid: str, algorithm: str) -> str:
    return f"{kid} ({algorithm})"


def _end(ends: datetime | None) -> str:
    return moment(ends) if ends else _("Nothing here says so. Ask them.")


def _when(at: Any) -> str:
    return moment(at) if at else _("Not yet, as far as is known here.")


__all__ = ["overview"]
