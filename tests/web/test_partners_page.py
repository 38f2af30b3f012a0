"""The operator's page of partners and keys: what was agreed, by which key, until when and last used; never a secret. docs/keys.md"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from fhir_gateway.remote.client import RemoteServer
from fhir_gateway.remote.sign_in import Credential, SignIn, credential_of
from fhir_gateway.settings.signing import made_key

from ..conftest import gateway
from ..test_apps import keyed, signs_in
from .test_doors import as_
from .test_operator import operator

SECRET = "a-long-secret-of-theirs"
OVER = jwt.encode({"alg": "HS256"}, {"exp": 1_600_000_000}, OctKey.import_key("k" * 32), algorithms=["HS256"])  # 13 September 2020
CONFIG = f"""
[[remote]]
name = "hub"
url = "https://hub.example/fhir"
organisation = "D82001"
audience = ["RX1", "social-care"]
enforces = "labels"
direction = "out"
types = ["Goal", "CarePlan"]
auth = {{ kind = "smart", client = "gw-a", key = "own" }}

[[remote]]
name = "old"
url = "https://old.example/fhir"
organisation = "X99"
direction = "in"
token = "{OVER}"

[[launcher]]
name = "desk"
iss = "https://ehr.example/fhir"
client = "shared-plan"
organisation = "D82001"
secret = "{SECRET}"
"""


@pytest.mark.slow
def test_what_was_agreed_and_every_key_is_there_and_no_secret(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG)
    (old, old_file), (new, new_file) = (keyed(tmp_path, name) for name in ("old-key", "new-key"))
    with gateway(tmp_path, "--demo", GATEWAY_CONFIG=str(config), GATEWAY_WORKER="false") as g:
        g.lines("clients", "add", "lab", "--name", "The laboratory", "--keys", old_file, "--organisation", "D82001", "--scopes", "system/*.rs", "--contributor", "--json")
        olu = operator(g)
        olu.get("/operator/partners")
        lab = olu.words().partition("The laboratory")[2].partition("Systems that people come from")[0]
        assert "Last used Not yet, as far as is known here." in lab and f"Key {old.thumbprint()}" in lab and "Ends No end is set." in lab, lab
        assert signs_in(g, old) == 200
        g.lines("clients", "rotate", "lab", "--keys", new_file, "--json")
        assert olu.get("/operator/partners").status_code == 200
        words = olu.words()
        lab = words.partition("The laboratory")[2].partition("Systems that people come from")[0]
        today = f"Last used {datetime.now(UTC).day} "
        before, after = (lab.partition(f"Key {k.thumbprint()}")[2].partition(" Key ")[0] for k in (old, new))
        assert "Since before that" in before and today in before and "No end" not in before, lab
        assert "Not yet, as far as is known here." in after and "No end is set." in after, lab
        for said in ("It may add to the records of people with whom it has no bond.", "The most it gets system/*.rs", "Organisation Example Street Surgery (D82001)"):
            assert said in lab, said
        hub = words.partition("Name here hub")[2].partition("Name here old")[0]
        for said in (
            "Organisation D82001", "Address https://hub.example/fhir", "Which way From here to there only", "It gets what its owner may see.", "What for TREAT", "What goes CarePlan, Goal",
            "It keeps labels, and shows nobody what is restricted.", "It is deleted there.", "By a key of ours (SMART Backend Services)", "What we are called there gw-a", "(ES384)", "Last sent Not yet", "How it goes All is well.",
        ):  # fmt: skip
            assert said in hub, (said, hub)
        assert "Last asked" not in hub and "Mistake" not in hub
        theirs = words.partition("Name here old")[2].partition("Who signs in here")[0]
        for said in ("We do not know which organisation", "By a token that they gave us", "Ends 13 September 2020 at 1:26 pm", "It has ended.", "What goes Everything but consents and the log", "Last asked Not yet"):
            assert said in theirs, (said, theirs)
        assert "Address https://ehr.example/fhir Organisation D82001 What we are called there shared-plan How we sign in By a secret that they gave us" in words
        ours = words.partition("What our own tokens are signed with")[2]
        assert "It signs." in ours and "ES256" in ours
        for secret in (OVER, OVER.split(".")[2], SECRET, "Amina", g.patient, '"d"'):
            assert secret not in olu.page, "neither a secret nor anybody"
        for who in ("gp", "patient", "privacy-officer"):
            assert as_(g, who).get("/operator/partners").status_code == 403, who
        g.lines("clients", "remove", "lab", "--json")
        olu.get("/operator/partners")
        assert "laboratory" not in olu.page and old.thumbprint() not in olu.page


KEY = ECKey.generate_key("P-384", {"kid": "k1"})


@pytest.mark.parametrize(
    ("authorization", "said"),
    [
        ("", Credential("none")), ("Basic bWU6c2VjcmV0", Credential("basic")), ("Bearer of-theirs", Credential("bearer")), ("Bearer a.b.c", Credential("bearer")),
        ("Bearer e30.e30.e30", Credential("bearer")), ("Bearer e30.WyJleHAiXQ.e30", Credential("bearer")), ("Bearer e30.eyJleHAiOjFlOTl9.x", Credential("bearer")),
        (f"Bearer {OVER}", Credential("bearer", ends=datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC))),
    ],
)  # fmt: skip
def test_what_is_said_of_a_credential_is_its_kind_and_its_end(authorization: str, said: Credential) -> None:
    assert credential_of(RemoteServer("https://hub.example/fhir", lambda: datetime.now(UTC), authorization)) == said


def test_of_a_key_of_ours_its_name_is_said() -> None:
    key = made_key("k1", "ES384", cast(Any, KEY.as_dict(private=True)))
    server = RemoteServer("https://hub.example/fhir", lambda: datetime.now(UTC), sign_in=SignIn("https://hub.example/fhir", "gw-a", key, lambda: datetime.now(UTC), lambda: "1"))
    assert credential_of(server) == Credential("smart", "gw-a", "k1", "ES384")
