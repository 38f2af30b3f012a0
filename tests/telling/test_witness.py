"""Signed heads told by https: to whom a certificate vouches for, and not a byte to anybody else."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway import gate
from fhir_gateway.settings import Settings
from fhir_gateway.store import sqlite
from fhir_gateway.tell.channel import Failed
from fhir_gateway.tell.heads import HeadPost, once
from fhir_gateway.wiring import open_witness

from ..stores.making import MORNING, note
from ..stores.test_seals import House
from .servers import certificate, web_server


async def told(url: str, authority: Path | None, folder: Path) -> list[str]:
    """What is sealed and told to this address by these settings: the heads there are, whether it was told or not."""
    witness = open_witness(Settings(audit_heads=url, audit_heads_authority=authority))
    assert isinstance(witness, HeadPost)
    store = await sqlite.open(folder / "s.sqlite", clock=lambda: MORNING)
    sealer = gate.Sealer(House(store))  # type: ignore[arg-type]
    for i in range(2):
        await store.commit(note(f"r{i}-{len(await store.segments())}", when=i))
        await once(sealer, witness)
    heads = [s.head for s in await store.segments()]
    await witness.close()
    await store.close()
    return heads


async def test_heads_go_to_a_witness_whose_certificate_is_vouched_for(tmp_path: Path) -> None:
    trusted, tls = certificate(tmp_path)
    with web_server(tls) as there:
        there.says.append((503, {}))  # once it cannot keep them: told again
        heads = await told(f"https://127.0.0.1:{there.port}/heads", trusted, tmp_path)
        bodies = [json.loads(body) for _, _, body in there.got]
    assert bodies == [{"heads": heads[:1]}, {"heads": heads}] and len(heads) == 2
    assert {path for path, _, _ in there.got} == {"/heads"}


def another(folder: Path) -> Path:
    (folder / "another").mkdir()
    return certificate(folder / "another")[0]


def of_the_system(folder: Path) -> None:
    return None


def made_here(folder: Path) -> Path:
    return folder / "trusted.pem"


@pytest.mark.parametrize(
    ("made", "trusts"),
    [
        pytest.param({}, of_the_system, id="signed by itself"),
        pytest.param({}, another, id="by another authority than the one that is trusted"),
        pytest.param({"address": "192.0.2.7"}, made_here, id="of another host"),
        pytest.param({"ends": -timedelta(days=1)}, made_here, id="that has ended"),
    ],
)
async def test_a_certificate_that_does_not_hold_is_refused_and_nothing_is_sent(tmp_path: Path, made: dict[str, Any], trusts: Callable[[Path], Path | None]) -> None:
    _, tls = certificate(tmp_path, **made)
    with web_server(tls) as there:
        url = f"https://127.0.0.1:{there.port}/heads"
        witness = HeadPost(url, trusts(tmp_path))
        with pytest.raises(Failed, match="cannot be reached"):
            await witness.tell(["a.b.c"])
        await witness.close()
        assert there.got == []
        heads = await told(url, made_here(tmp_path) if trusts is not made_here else None, tmp_path)
        assert len(heads) == 2, "sealing goes on, whoever is told"
    assert [json.loads(body)["heads"] for _, _, body in there.got] == ([heads[:1], heads[1:]] if trusts is not made_here else [])


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_a_server_that_speaks_no_tls_or_an_old_one_gets_nothing(tmp_path: Path) -> None:
    trusted, _ = certificate(tmp_path)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(trusted, tmp_path / "private.pem")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    for context in (None, old):
        with web_server(context) as there:
            witness = HeadPost(f"https://127.0.0.1:{there.port}/heads", trusted)
            with pytest.raises(Failed, match="cannot be reached"):
                await witness.tell(["a.b.c"])
            await witness.close()
            assert there.got == []
