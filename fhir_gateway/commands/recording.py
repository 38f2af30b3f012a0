"""`patients record, link, unlink`, `proxies list, add, change`, `consents uncomputable, end`: an operator's, by the gate."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from .. import gate
from ..domain import recorded, strict
from ..gate import Context
from ..settings import Refused, load
from ..wiring import Wired, operator, wired
from .naming import meant, person_id


def _out(item: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        sys.stdout.buffer.write(strict.dump(item) + b"\n")
    else:
        print(text)
    sys.stdout.flush()


async def _do(doing: Callable[[Wired, Context], Awaitable[str]]) -> int:
    async with wired(load()) as w:
        print(await doing(w, operator(w)))
    return 0


async def patients_record(patient: str, fact: str, on: bool, evidence: str, who: str) -> int:
    if fact not in recorded.NAMES:
        raise Refused(f"FACT is one of {', '.join(recorded.NAMES)}; not `{fact[:40]}`.")

    async def doing(house: Wired, ctx: Context) -> str:
        kin = await meant(house, who, "RelatedPerson", option="--who") if who else ""
        w = await gate.record(ctx, await person_id(house, patient), fact, on=on, evidence=evidence, who=kin)
        return f"{w.ref}: {fact} {'unchanged' if w.did == 'unchanged' else 'recorded' if on else 'ended'}, version {w.version}"

    return await _do(doing)


async def patients_link(one: str, other: str, type: str, evidence: str) -> int:
    async def doing(house: Wired, ctx: Context) -> str:
        first, second = await person_id(house, one), await person_id(house, other)
        await gate.link(ctx, first, second, type, evidence=evidence)
        return f"Patient/{first} {type} Patient/{second}" if type else f"Patient/{first} and Patient/{second} are not linked"

    return await _do(doing)


async def proxies_list(patient: str, as_json: bool) -> int:
    async with wired(load()) as w:
        for r in await gate.roles(operator(w), await person_id(w, patient)):
            review = ", to be looked at again: the child is 11 or older" if r["review"] else ""
            _out(r, as_json, f"{r['consent']}: {', '.join(r['proxies'])}, {r['basis']}, {r['status']}{review}")
    return 0


async def proxies_add(
    patient: str, proxy: str, basis: str, grantor: str, evidence: str, present: str, status: str, start: str, end: str
) -> int:
    async def doing(house: Wired, ctx: Context) -> str:
        id, kin = await person_id(house, patient), await meant(house, proxy, "RelatedPerson")
        w = await gate.appoint(ctx, id, kin, basis, grantor=grantor, evidence=evidence, present=present, status=status, start=start, end=end)
        return f"{w.ref}: {kin} acts for Patient/{id} ({basis}, {status})"

    return await _do(doing)


async def proxies_change(patient: str, consent: str, status: str, reason: str, text: str) -> int:
    async def doing(house: Wired, ctx: Context) -> str:
        w = await gate.change_role(ctx, await person_id(house, patient), consent.removeprefix("Consent/"), status, reason, text)
        return f"{w.ref}: {status}, version {w.version}"

    return await _do(doing)


async def consents_uncomputable(as_json: bool) -> int:
    """0 when there is none, 1 when somebody must look."""
    async with wired(load()) as w:
        found = await gate.uncomputable(operator(w))
    for c in found:
        _out(c, as_json, f"{c['consent']} of {c['patient']}, since {c['since']}: {c['where']}: {c['why']}")
    return 1 if found else 0


async def consents_end(consent: str, evidence: str) -> int:
    async def doing(house: Wired, ctx: Context) -> str:
        w = await gate.end_foreign(ctx, consent.removeprefix("Consent/"), evidence=evidence)
        return f"{w.ref}: ended, version {w.version}"

    return await _do(doing)
