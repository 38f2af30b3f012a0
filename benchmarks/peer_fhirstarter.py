"""fhirstarter 2: a FHIR server framework on FastAPI. One CarePlan in memory; no storage, no sign-in, no consent, no audit."""

import json
import os

from fhir.resources.R4B.careplan import CarePlan
from fhirstarter import FHIRProvider, FHIRStarter, InteractionContext
from fhirstarter.exceptions import FHIRResourceNotFoundError

PLAN = json.loads(os.environ["BENCH_PLAN"])
provider = FHIRProvider()


@provider.read(CarePlan)
async def read(context: InteractionContext, id_: str) -> CarePlan:
    if id_ != PLAN["id"]:
        raise FHIRResourceNotFoundError
    return CarePlan(**PLAN)


app = FHIRStarter(title="bench")
app.add_providers(provider)
