"""A token endpoint of somebody else's (npm `oidc-provider`, a real process): it believes our statements, and a server takes its tokens from us."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from ..conftest import Gateway
from ..test_remotes import Recorder, partnered
from .test_answering import until
from .test_issuer import Issuer, started

pytestmark = pytest.mark.interop


class Guarded(Recorder):
    """A FHIR server that takes nobody without a token of this issuer, signed by a key that it publishes and meant for this server."""

    def __init__(self) -> None:
        super().__init__()
        self.issuer: Issuer | None = None
        self.claims: list[dict[str, Any]] = []

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        try:
            self.claims.append(self._claims(self.headers.get("authorization", "").removeprefix("Bearer ")))
        except (JoseError, ValueError):
            return 401, {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "login"}]}
        return super().answer(method, path, sent)

    def _claims(self, token: str) -> dict[str, Any]:
        assert self.issuer is not None
        keys = KeySet.import_key_set(httpx2.get(f"{self.issuer.name}/jwks").json())
        claims: dict[str, Any] = jwt.decode(token, keys, algorithms=["RS256"]).claims
        jwt.JWTClaimsRegistry(iss={"essential": True, "value": self.issuer.name}, aud={"essential": True, "value": self.url}, exp={"essential": True}).validate(claims)
        return claims


@contextmanager
def guarded() -> Iterator[tuple[Guarded, Issuer]]:
    there = Guarded()
    threading.Thread(target=there.server.serve_forever, args=(0.05,), daemon=True).start()
    issuer = there.issuer = started(there.url, "Practitioner/nobody")
    try:
        yield there, issuer
    finally:
        issuer.process.terminate()
        issuer.process.wait(10)
        there.server.shutdown()
        there.server.server_close()


def known(issuer: Issuer, keys: dict[str, Any], algorithm: str) -> None:
    assert httpx2.post(f"{issuer.name}/clients", json={"client_id": "gw-a", "jwks": keys, "alg": algorithm}).status_code == 200


def public(g: Gateway, *more: str) -> dict[str, Any]:
    done = g.command("sync", "key", "hub", "--jwks", *more)
    assert done.returncode == 0, done.stderr
    keys: dict[str, Any] = json.loads(done.stdout)
    return keys


def sent(g: Gateway) -> tuple[int, str]:
    done = g.command("sync", "run", "--once")
    return done.returncode, done.stderr


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_it_believes_what_we_sign_and_nothing_leaves_until_it_does(tmp_path: Path, algorithm: str) -> None:
    """A key of our own (ES384), or of a file (RS384)."""
    file = tmp_path / "key.pem"
    file.write_bytes(RSAKey.generate_key(2048).as_pem(private=True))
    file.chmod(0o600)
    with guarded() as (there, issuer):
        auth = {"kind": "smart", "client": "gw-a", "key": "own" if algorithm == "ES384" else str(file), "token_url": f"{issuer.name}/token"}
        with partnered(tmp_path, {"name": "hub", "organisation": "D82001", "url": there.url, "auth": auth}) as g:
            code, said = sent(g)
            assert code == 1 and "invalid_client" in said and not there.held and not there.claims, "nobody knows us there yet"
            known(issuer, public(g), algorithm)
            until(lambda: sent(g)[0] == 0, "the plan, once we are known there")
            assert [r for r in there.held if r.startswith("Goal/")]
            assert {(c["client_id"], c["scope"]) for c in there.claims} == {("gw-a", "system/*.cruds")}
            assert len({c["jti"] for c in there.claims}) == 1, "one token for all of it"
            if algorithm == "RS384":
                return
            new = public(g, "--new")
            goal = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "Under a new key"}, "subject": {"reference": f"Patient/{g.patient}"}}
            assert g.call("patient", "POST", "Goal", body=goal).status_code == 201
            code, said = sent(g)
            assert code == 1 and "invalid_client" in said and "Under a new key" not in str(there.held)
            known(issuer, new, algorithm)
            until(lambda: sent(g)[0] == 0, "the Goal, which was put off for some two seconds,")
            assert "Under a new key" in str(there.held)
