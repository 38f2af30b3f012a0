"""Demo people and organisations, written through the gate like anybody's: who they are, what is seeded, what to try.

Nothing here bypasses consent: an operator writes the directory, the hospital brings the plan in, the surgery and the
council accept their place in the team, the GP adds an allergy and a warning, the person shares by a Consent of her own.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from joserfc.jwk import ECKey

from .. import definitions, gate, plans
from ..auth import clients, people
from ..domain import strict
from ..domain.types import Actor, Keep
from ..gate import Context
from ..settings import Settings
from ..wiring import DEMO_URGENT_CARE, Wired, context_as, now
from . import cast

SEEDED = ("demo", "seeded")


async def seed(w: Wired) -> None:
    """Write the demo once; a store that has it is left as it is."""
    if await w.store.kept(*SEEDED, now()) is not None:
        return
    operator = gate.house_context(w.house, Actor("system", frozenset({"Device/demo-operator"}), "Device/demo-operator", "Demo operator", operator=True))
    refs = await _directory(operator)
    await _accounts(w, refs)
    await _hospital(w, refs)
    hospital = await context_as(w, "hospital")
    saved = await plans.save(hospital, plans.read_plan(definitions.demo_file("plan.json")))
    assert saved.patient is not None, "a plan that was saved has a person"
    await _family(w, saved.patient)
    for who in ("gp", "social-worker"):
        await _accept_all(await context_as(w, who), saved.patient)
    gp = await context_as(w, "gp")
    for known in (cast.allergy, cast.warning):
        body = known(f"Patient/{saved.patient}", refs["asha"])
        await gate.create(gp, body["resourceType"], strict.dump(body))
    ambulance = f"{cast.ODS}|{cast.AMBULANCE}"
    await w.store.commit(Keep(*SEEDED, saved.patient.encode()), Keep(*DEMO_URGENT_CARE, ambulance.encode()))
    w.house.policy = replace(w.house.policy, urgent_care=w.house.policy.urgent_care | {ambulance})
    w.house._standings.clear()


async def _directory(operator: Context) -> dict[str, str]:
    """Organisations, practitioners and roles, by their demo names."""
    refs: dict[str, str] = {}
    for name, resource in cast.directory():
        written = await gate.create(operator, resource["resourceType"], strict.dump(_resolved(resource, refs)))
        refs[name] = str(written.ref)
    return refs


def _resolved(node: Any, refs: dict[str, str]) -> Any:
    """`{"reference": "@surgery"}` becomes the reference it stands for."""
    if isinstance(node, dict):
        return {k: refs[v[1:]] if k == "reference" and isinstance(v, str) and v.startswith("@") else _resolved(v, refs) for k, v in node.items()}
    if isinstance(node, list):
        return [_resolved(n, refs) for n in node]
    return node


async def _accounts(w: Wired, refs: dict[str, str]) -> None:
    for p in cast.STAFF:
        account = people.Account(
            p.username, refs[p.person], p.name, organisation=refs[p.organisation], roles=p.roles, purpose=p.purpose, assurance=p.assurance
        )
        await people.add(w.store, account, cast.PASSWORD)


async def _hospital(w: Wired, refs: dict[str, str]) -> None:
    """The hospital's own system, with a key that nobody keeps: its tokens come from `fhir-gateway token`."""
    key = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384"}, private=True)
    jwks = {"keys": [key.as_dict(private=False)]}
    await clients.change(
        w.store,
        clients.Client(
            "hospital", "system", cast.HOSPITAL_NAME, "system/*.cruds", jwks=jwks, organisation=refs["hospital"], purpose="TREAT",
            contributor=True, may_refer=True,
        ),
    )  # fmt: skip


async def _family(w: Wired, patient: str) -> None:
    """The person herself, and her daughter who has a lawful proxy role."""
    person = f"Patient/{patient}"
    await people.add(w.store, people.Account("patient", person, cast.PATIENT_NAME, assurance="P9"), cast.PASSWORD)
    me = await context_as(w, "patient")
    daughter = await gate.create(me, "RelatedPerson", strict.dump(cast.daughter(person)))
    await people.add(
        w.store, people.Account("proxy", str(daughter.ref), cast.PROXY_NAME, patient=person, assurance="P5"), cast.PASSWORD
    )
    await gate.create(me, "Consent", strict.dump(cast.proxy_role(person, str(daughter.ref))))


async def _accept_all(ctx: Context, patient: str) -> None:
    """Accept every place in the team that waits for this worker or their organisation."""
    page = await gate.search(ctx, "Task", [("patient", patient), ("status", "requested")])
    for entry in page.entries:
        await gate.accept(ctx, entry.ref)


def say(settings: Settings) -> None:
    """What to try, on stdout, for whoever started the demo."""
    print(cast.WHAT_TO_TRY.format(base=settings.base, data=settings.data), flush=True)
    sys.stdout.flush()


def demo_people() -> list[dict[str, Any]]:
    """Who can sign in on the start page."""
    return cast.people_for_the_page()
