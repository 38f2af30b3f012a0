"""What an app asks for, or has, in plain words."""

from __future__ import annotations

from ...domain.scopes import Scopes
from .words import _

INTERACTIONS = {"c": _("add"), "r": _("read"), "u": _("change"), "d": _("remove"), "s": _("search")}
OTHER_SCOPES = {
    "openid": _("know who you are"), "fhirUser": _("know who you are"), "launch": "", "launch/patient": "",
    "offline_access": _("keep this access for up to 90 days, until you stop it"),
    "online_access": _("keep this access for up to 12 hours"),
}  # fmt: skip


def in_words(scopes: str) -> list[str]:
    """What an app asks for, a line each."""
    asked = Scopes.parse(scopes)
    lines = [OTHER_SCOPES.get(o, o) for o in asked.others]
    for scope in asked.resources:
        what = _("everything in the plan") if scope.type == "*" else scope.type
        whose = _("of one person") if scope.level == "patient" else _("of everybody you may see")
        line = f"{', '.join(INTERACTIONS[c] for c in scope.may)}: {what} ({whose})"
        lines.append(line + "".join(f", {_('only')} {k} {v}" for k, v in scope.query))
    return [line for line in dict.fromkeys(lines) if line]
