"""fhirstarter: a FHIR server framework on FastAPI. The plans in memory; no storage, no sign-in, no consent, no audit."""

import json
import os
from pathlib import Path

from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.careplan import CarePlan
from fhir.resources.R4B.observation import Observation
from fhirstarter import FHIRProvider, FHIRStarter, InteractionContext
from fhirstarter.exceptions import FHIRResourceNotFoundError

FOUND = json.loads(Path(os.environ["BENCH_FOUND"]).read_text())
PLANS = {r["id"]: r for r in FOUND if r["resourceType"] == "CarePlan"}
provider = FHIRProvider()


@provider.read(CarePlan)
async def read(context: InteractionContext, id_: str) -> CarePlan:
    if id_ not in PLANS:
        raise FHIRResourceNotFoundError
    return CarePlan(**PLANS[id_])


@provider.search_type(CarePlan)
async def search(context: InteractionContext, patient: str | None, category: str | None) -> Bundle:
    found = FOUND if category else list(PLANS.values())
    entry = [{"resource": r, "search": {"mode": "match" if r["resourceType"] == "CarePlan" else "include"}} for r in found]
    return Bundle(**{"type": "searchset", "total": len(PLANS), "entry": entry})


@provider.create(Observation)
async def create(context: InteractionContext, resource: Observation) -> str:
    return "1"


app = FHIRStarter(title="bench")
app.add_providers(provider)
