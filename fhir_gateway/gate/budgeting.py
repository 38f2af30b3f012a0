"""A person's budget, line by line: a line counts once somebody of the group that owns its authorisation said yes, who did not ask for it.

Which groups authorise budgets an operator says in the directory (`Organization.type`): whoever asks would else choose a friend's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..domain import strict
from ..domain.directory import Directory
from ..domain.periods import micros
from ..domain.referrals import AUTHORISE, Line, asks_for_a_budget, line_of, people_of, request_of
from ..domain.relationships import names_of
from ..domain.standing import named_by
from ..domain.types import Stored
from ..domain.vocabulary import TASK_SYSTEM
from .context import Context, directory_now
from .searching import search

MOST = 200


async def budget(ctx: Context, patient: str) -> list[Line]:
    """Every line that this reader may see of the budget of this person (an id). By search, so that it is written down as one."""
    requests = await _seen(ctx, "ServiceRequest", patient)
    tasks = [t for t in await _seen(ctx, "Task", patient) if asks_for_a_budget(t)]
    directory, _ = ctx.place or await directory_now(ctx.house)
    versions: dict[str, list[Stored]] = {}
    for s in await ctx.house.store.patient_versions(f"Patient/{patient}", ["ServiceRequest", "Task"]) if requests else ():
        versions.setdefault(str(s.ref), []).append(s)
    out = []
    for request in requests:
        mine = [t for t in tasks if request_of(t) == f"ServiceRequest/{request['id']}"]
        why = _why_not(request, mine, versions, directory)
        line = line_of(request, not why, why)
        out += [line] if line is not None else []
    return out


async def _seen(ctx: Context, type: str, patient: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    asked = [("patient", patient), ("_count", str(MOST))]
    while True:
        page = await search(ctx, type, asked)
        found += [strict.decode(e.body) for e in page.entries if e.body and e.mode == "match"]
        if page.next is None:
            return found
        asked = [("_page", page.next)]


def _why_not(request: dict[str, Any], tasks: Sequence[dict[str, Any]], versions: dict[str, list[Stored]], directory: Directory) -> str:
    """Why this line does not count; "" when it does."""
    if request.get("status") in ("revoked", "entered-in-error"):
        return "it was taken back"
    if not tasks:
        return "nobody was asked to authorise it"
    whys = [_not_authorised(request, t, versions, directory) for t in tasks]
    return "" if "" in whys else whys[0]


def _not_authorised(request: dict[str, Any], task: dict[str, Any], versions: dict[str, list[Stored]], directory: Directory) -> str:
    if task.get("status") in ("rejected", "failed", "cancelled", "entered-in-error"):
        return "it was not authorised"
    if task.get("status") != "completed":
        return "it waits to be authorised"
    groups = _groups(task, directory)
    if not groups:
        return "no group owns its authorisation"
    if not all(_authorises(o, directory) for o in groups):
        return "the group that was asked does not authorise budgets"
    chain = sorted(versions.get(f"Task/{task['id']}", ()), key=lambda s: s.version)
    about = sorted(versions.get(f"ServiceRequest/{request['id']}", ()), key=lambda s: s.version)
    yes = _completed_by(chain)
    if yes is None:
        return "it is not known who authorised it"
    if yes.writer.user.startswith("Organization/"):  # by a link to the task, which whoever asked may have made and opened
        return "whoever authorised it did not sign in"
    asked = people_of([request.get("requester"), task.get("requester")])
    wrote = {s.writer.user for s in (*_of_the_question(chain, yes), *_of_the_money(about))}
    said = names_of(yes.writer.user, yes.writer.organisation, directory, micros(yes.updated))
    if said.isdisjoint({n for o in groups for n in (o, *directory.organisations[o].identifiers)}):
        return "whoever authorised it is not of the group"
    if yes.writer.user in wrote or not {yes.writer.user, *_themselves(yes.writer.user, directory)}.isdisjoint(asked):
        return "whoever authorised it had asked for it"
    if _later_money(about, yes) or _question(chain[-1]) != _question(yes):
        return "it was changed after it was authorised"
    return ""


def _groups(task: dict[str, Any], directory: Directory) -> list[str]:
    """The organisations of the directory that its owner names, by reference and by identifier."""
    found = {directory.find(n) for n in named_by(task.get("owner")) if n.startswith("Organization/") or "|" in n}
    return sorted(o for o in found if o is not None and o in directory.organisations)


def _authorises(organisation: str, directory: Directory) -> bool:
    """Does an operator say in the directory that it authorises budgets: who asks does not choose who may say yes."""
    here = directory.organisations[organisation]
    return here.confirmed and f"{TASK_SYSTEM}|{AUTHORISE}" in here.types


def _completed_by(chain: Sequence[Stored]) -> Stored | None:
    """The version by which it became what it is: completed."""
    found: Stored | None = None
    for stored in reversed(chain):
        if stored.body is None or strict.decode(stored.body).get("status") != "completed":
            return found
        found = stored
    return found


def _question(stored: Stored) -> Any:
    """Which referral's money this Task asks about, and whom."""
    body = strict.decode(stored.body) if stored.body is not None else {}
    return request_of(body), named_by(body.get("owner")), asks_for_a_budget(body)


def _of_the_question(chain: Sequence[Stored], yes: Stored) -> list[Stored]:
    """The versions by which the Task was made, and by which it came to ask this of this group, up to the yes."""
    out: list[Stored] = []
    before: Any = None
    for stored in (s for s in chain if s.version <= yes.version):
        if not out or _question(stored) != before:
            out.append(stored)
        before = _question(stored)
    return out


def _money(stored: Stored) -> Any:
    body = strict.decode(stored.body) if stored.body is not None else {}
    line = line_of(body, False, "")
    return None if line is None else (line.amount, line.currency, line.start, line.end)


def _of_the_money(about: Sequence[Stored]) -> list[Stored]:
    """The versions by which the referral was made, and its money became what it is."""
    out, before = list(about[:1]), None
    for stored in about:
        if _money(stored) != before:
            out.append(stored)
        before = _money(stored)
    return out


def _later_money(about: Sequence[Stored], yes: Stored) -> bool:
    before = [s for s in about if s.updated <= yes.updated]
    return bool(about) and (not before or _money(before[-1]) != _money(about[-1]))


def _themselves(user: str, directory: Directory) -> set[str]:
    """Their roles, by which a requester may be named."""
    return {r.ref for r in directory.roles_of.get(user, ())}


__all__ = ["Line", "budget"]
