"""A gateway to which people come from somebody else's system, for the tests of that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fhir_gateway import gate
from fhir_gateway.domain.types import Ref

from ..conftest import Gateway, gateway
from ..launcher import CLIENT, SECRET, Ehr
from ..staff import wired_operator


@contextmanager
def launched_from(ehr: Ehr, folder: Path) -> Iterator[Gateway]:
    """The demo, which knows this system as the surgery's, and Dr Patel by the name that she has there."""
    config = folder / "gateway.toml"
    config.write_text(
        f'[[launcher]]\niss = "{ehr.iss}"\nclient = "{CLIENT}"\norganisation = "D82001"\nsecret = "{SECRET}"\nassurance = "AAL2"\n'
        f'[[launcher]]\niss = "{ehr.base}/council"\nclient = "{CLIENT}"\norganisation = "926"\nsecret = "{SECRET}"\n'
    )
    with gateway(folder, "--demo", GATEWAY_CONFIG=str(config)) as g:
        ehr.back = f"{g.base}/launch/callback"
        known_as(g, "gp", ehr.base, "dr-patel")
        known_as(g, "stranger", ehr.base, "dr-other")
        yield g


def known_as(g: Gateway, who: str, system: str, value: str) -> None:
    """An operator registers by which name somebody goes there."""
    id = str(g.persona(who)["fhirUser"]).removeprefix("Practitioner/")

    async def doing(ctx: Any) -> None:
        now = json.loads((await gate.read(ctx, Ref("Practitioner", id))).body)
        await gate.update(ctx, Ref("Practitioner", id), json.dumps({**now, "identifier": [{"system": system, "value": value}]}).encode(), if_match=int(now["meta"]["versionId"]))

    wired_operator(g, doing)
