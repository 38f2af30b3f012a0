"""`patients record, link, unlink`, `proxies list, add, change`, `consents uncomputable, end`: an operator's, by the gate."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from .. import gate
from ..domain import recorded, strict
from ..gate import Context
from ..settings import Refused, load
from ..wiring import operator, wired


def _out(item: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        sys.stdout.buffer.write(strict.dump(item) + b"\n")
    else:
        print(text)
    sys.stdout.flush()


def _bare(patient: str) -> str:
    """The id of a person who may be named as these commands print them."""
    return patient.removeprefix("Patient/")


async def _do(doing: Callable[[Context], Awaitable[str]]) -> int:
    async with wired(load()) as w:
        print(await doing(operator(w)))
    return 0


async def patients_record(patient: str, fact: str, on: bool, evidence: str, who: str) -> int:
    if fact not in recorded.NAMES:
        raise Refused(f"FACT is one of {', '.join(recorded.NAMES)}; not `{fact[:40]}`.")

    async def doing(ctx: Context) -> str:
        w = await gate.record(ctx, _bare(patient), fact, on=on, evidence=evidence, who=who)
        return f"{w.ref}: {fact} {'unchanged' if w.did == 'unchanged' else 'recorded' if on else 'ended'}, version {w.version}"

    return await _do(doing)


async def patients_link(one: str, other: str, type: str, evidence: str) -> int:
    one, other = _bare(one), _bare(other)

    async def doing(ctx: Context) -> str:
        await gate.link(ctx, one, other, type, evidence=evidence)
        return f"Patient/{one} {type} Patient/{other}" if type else f"Patient/{one} and Patient/{other} are not linked"

    return await _do(doing)


async def proxies_list(patient: str, as_json: bool) -> int:
    async with wired(load()) as w:
        for r in await gate.roles(operator(w), _bare(patient)):
            review = ", to be looked at again: the child is 11 or older" if r["review"] else ""
            _out(r, as_json, f"{r['consent']}: {', '.join(r['proxies'])}, {r['basis']}, {r['status']}{review}")
    return 0


async def proxies_add(
    patient: str, proxy: str, basis: str, grantor: str, evidence: str, present: str, status: str, start: str, end: str
) -> int:
    async def doing(ctx: Context) -> str:
        w = await gate.appoint(
            ctx, _bare(patient), proxy, basis, grantor=grantor, evidence=evidence, present=present, status=status, start=start, end=end
        )
        return f"{w.ref}: {proxy} acts for Patient/{_bare(patient)} ({basis}, {status})"

    return await _do(doing)


async def proxies_change(patient: str, consent: str, status: str, reason: str, text: str) -> int:
    async def doing(ctx: Context) -> str:
        w = await gate.change_role(ctx, _bare(patient), consent.removeprefix("Consent/"), status, reason, text)
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
    async def doing(ctx: Context) -> str:
        w = await gate.end_foreign(ctx, consent.removeprefix("Consent/"), evidence=evidence)
        return f"{w.ref}: ended, version {w.version}"

    return await _do(doing)
