"""A gateway to which people come from somebody else's system, for the tests of that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fhir_gateway import gate
from fhir_gateway.auth import people
from fhir_gateway.domain.types import Ref

from ..conftest import Gateway, gateway
from ..launcher import CLIENT, SECRET, Ehr
from ..staff import wired_operator


@contextmanager
def launched_from(ehr: Ehr, folder: Path) -> Iterator[Gateway]:
    """The demo, which knows this system as the surgery's, and Dr Patel by the name that she has there."""
    config = folder / "gateway.toml"
    config.write_text(
        f'[[launcher]]\nname = "surgery"\niss = "{ehr.iss}"\nclient = "{CLIENT}"\norganisation = "D82001"\nsecret = "{SECRET}"\nassurance = "AAL2"\n'
        f'[[launcher]]\nname = "council"\niss = "{ehr.base}/council"\nclient = "{CLIENT}"\norganisation = "926"\nsecret = "{SECRET}"\n'
    )
    with gateway(folder, "--demo", GATEWAY_CONFIG=str(config)) as g:
        ehr.back = f"{g.base}/launch/callback/surgery"

        async def known(ctx: Any) -> None:
            await goes_by(ctx, "gp", {"system": ehr.base, "value": "dr-patel"})
            await goes_by(ctx, "stranger", {"system": ehr.base, "value": "dr-other"})

        wired_operator(g, known)
        yield g


async def goes_by(ctx: Any, who: str, *identifiers: dict[str, Any], **more: Any) -> None:
    """An operator registers by which names the person of this account goes elsewhere."""
    account = await people.find(ctx.house.store, who, ctx.at)
    assert account is not None
    ref = Ref("Practitioner", account.fhir_user.removeprefix("Practitioner/"))
    now = json.loads((await gate.read(ctx, ref)).body)
    now.pop("active", None)
    said = json.dumps({**now, **more, "identifier": list(identifiers)}).encode()
    await gate.update(ctx, ref, said, if_match=int(now["meta"]["versionId"]))
