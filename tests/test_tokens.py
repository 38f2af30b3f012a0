"""Who is asking: signed tokens, our keys, an external issuer. https://www.rfc-editor.org/rfc/rfc9068 , RFC 8725."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import assume, given
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from fhir_gateway.auth import clients, external, jose, keys, people, tokens
from fhir_gateway.auth.demo import demo_token
from fhir_gateway.auth.tokens import Caller, Ours, Tokens, mint
from fhir_gateway.domain.problem import Problem
from fhir_gateway.settings import Settings
from fhir_gateway.store import sqlite

from .conftest import gateway

AT = datetime(2036, 6, 1, 12, 0, tzinfo=UTC)  # ahead of the machine: a store forgets what has ended by its clock
US, HERE = "http://127.0.0.1:8080", "http://127.0.0.1:8080/fhir"
MINUTE = timedelta(minutes=1)
PAT_A = Caller(
    "ada", "app", "Patient/a", "patient", "patient/*.rs", US, "t-1", AT + 15 * MINUTE, "PATRQT", None, "Patient/a",
    "Patient/a", frozenset({"clinician"}), "P9", AT, "", "grant-1",
)  # fmt: skip


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Any]:
    kept = await sqlite.open(tmp_path / "gateway.sqlite")
    yield kept
    await kept.close()


@pytest.fixture
async def ours(store: Any) -> Tokens:
    verifier = Tokens(store, HERE, US)
    await verifier.refresh(AT)
    return verifier


async def refusal(verifier: Tokens, token: str, at: datetime = AT) -> str:
    """Why this token is refused (for the log); the answer itself must be the one 401."""
    with pytest.raises(Problem) as refused:
        await verifier.verify(token, at)
    assert refused.value.status == 401
    assert 'error="invalid_token"' in refused.value.headers["WWW-Authenticate"]
    return str(refused.value.__cause__ or "revoked")


# -- what is minted is what is read back ------------------------------------------------------------------------------

KEY = keys._read(keys._new(AT, "ES256")[1])
references = st.sampled_from(["Practitioner/p1", "PractitionerRole/r.2", "Patient/a-1", "RelatedPerson/9", "Device/h"])
whole_seconds = st.integers(1_700_000_000, 2_000_000_000).map(lambda s: datetime.fromtimestamp(s, UTC))
texts = st.text(st.characters(codec="utf-8"), max_size=40)
names = texts.filter(bool)


@st.composite
def callers(draw: st.DrawFn) -> Caller:
    user = draw(references)
    optional, roles = st.none() | names, st.frozensets(st.sampled_from(sorted(tokens.ROLES)))
    return Caller(
        draw(names), draw(optional), user, tokens.kind_of(user), draw(texts), US, draw(names), draw(whole_seconds),
        draw(texts), draw(optional), draw(optional), draw(optional), draw(roles), draw(texts),
        draw(st.none() | whole_seconds), "", draw(texts),
    )  # fmt: skip


@given(callers())
def test_a_minted_token_reads_back_as_the_same_caller(caller: Caller) -> None:
    opened = jose.open_signed(mint(KEY, caller, HERE, AT), [KEY.public])
    assert Ours(US).caller(opened.header, opened.claims) == caller


GOOD = mint(KEY, PAT_A, HERE, AT)


@given(st.data())
def test_no_changed_token_is_believed(data: st.DataObject) -> None:
    token = GOOD
    i, other = data.draw(st.integers(0, len(token) - 1)), data.draw(st.sampled_from("ABCxyz012-_.= \n"))
    assume(token[i] != other)
    with pytest.raises(jose.Bad):
        jose.open_signed(token[:i] + other + token[i + 1 :], [KEY.public])


# -- every defect is one answer: 401 ----------------------------------------------------------------------------------


def b64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims_of(token: str) -> dict[str, Any]:
    return jose.peek(token)[1]


def signed(ours: Tokens, header: dict[str, Any] | None = None, **changed: Any) -> str:
    """PAT_A's token with this one defect, signed with the right key. `None` takes a claim away."""
    signer = ours.ring.signer
    claims = claims_of(mint(signer, PAT_A, HERE, AT)) | changed
    head = {"alg": signer.algorithm, "kid": signer.kid, "typ": "at+jwt"} | (header or {})
    return sealed(ours, *({k: v for k, v in part.items() if v is not None} for part in (head, claims)))


def sealed(ours: Tokens, head: Any, body: Any) -> str:
    """These very bytes, signed with our key: what a library would refuse to make."""
    signing_input = f"{b64(head)}.{b64(body)}"
    r, s = decode_dss_signature(ours.ring.signer.key.private_key.sign(signing_input.encode(), ECDSA(SHA256())))
    return f"{signing_input}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


NOW = int(AT.timestamp())
DEFECTS: dict[str, tuple[Callable[[Tokens], str], str]] = {
    "expired": (lambda t: signed(t, exp=NOW - 90), "expired"),
    "nbf-future": (lambda t: signed(t, nbf=NOW + 600), "not valid yet"),
    "iat-future": (lambda t: signed(t, iat=NOW + 600), "not valid yet"),
    "no-exp": (lambda t: signed(t, exp=None), "no exp"),
    "exp-is-text": (lambda t: signed(t, exp="tomorrow"), "exp is no instant"),
    "exp-is-true": (lambda t: signed(t, exp=True), "exp is no instant"),
    "exp-infinite": (lambda t: signed(t, exp=float("inf")), "not a JSON object"),
    "wrong-aud": (lambda t: signed(t, aud="https://other.example/fhir"), "another service"),
    "aud-prefix": (lambda t: signed(t, aud=HERE + "/"), "another service"),
    "no-aud": (lambda t: signed(t, aud=None), "another service"),
    "wrong-iss": (lambda t: signed(t, iss="https://evil.example"), "not trusted"),
    "no-iss": (lambda t: signed(t, iss=None), "not trusted"),
    "iss-is-a-list": (lambda t: signed(t, iss=[US]), "not trusted"),
    "id-token": (lambda t: signed(t, {"typ": "JWT"}), "no access token"),
    "no-typ": (lambda t: signed(t, {"typ": None}), "no access token"),
    "client-assertion": (lambda t: signed(t, {"typ": "JWT"}, iss="hospital", sub="hospital"), "not trusted"),
    "no-jti": (lambda t: signed(t, jti=None), "no claim"),
    "nobody": (lambda t: signed(t, fhirUser="Nobody/1"), "no person or system"),
    "user-elsewhere": (lambda t: signed(t, fhirUser="https://evil.example/Practitioner/1"), "no person or system"),
    "crit": (lambda t: signed(t, {"crit": ["exp"]}), "a header"),
    "jku": (lambda t: signed(t, {"jku": "https://evil.example/jwks"}), "a header"),
    "x5u": (lambda t: signed(t, {"x5u": "https://evil.example/x"}), "a header"),
    "jwk": (lambda t: signed(t, {"jwk": {"kty": "oct", "k": "AA"}}), "a header"),
    "kid-traversal": (lambda t: signed(t, {"kid": "../../../../dev/null"}), "known key"),
    "kid-sql": (lambda t: signed(t, {"kid": "x' OR '1'='1"}), "known key"),
    "kid-number": (lambda t: signed(t, {"kid": 7}), "kid is no string"),
    "alg-none": (lambda t: f"{b64({'alg': 'none', 'typ': 'at+jwt'})}.{signed(t).split('.')[1]}.", "three parts"),
    "alg-NoNe": (lambda t: f"{b64({'alg': 'NoNe'})}.{signed(t).split('.')[1]}.AA", "algorithm not allowed"),
    "alg-list": (lambda t: signed(t, {"alg": ["ES256"]}), "algorithm not allowed"),
    "alg-swapped": (lambda t: signed(t, {"alg": "RS256"}), "known key"),
    "hs256-public-key": (lambda t: hs256(t), "algorithm not allowed"),
    "other-key": (lambda t: mint(KEY, PAT_A, HERE, AT), "known key"),
    "stripped": (lambda t: signed(t).rsplit(".", 1)[0] + ".", "three parts"),
    "cut": (lambda t: signed(t).rsplit(".", 1)[0] + "." + b64(bytes(60)), "known key"),
    "five-parts": (lambda t: "e30.e30.e30.e30.e30", "three parts"),
    "garbage": (lambda t: "garbage", "three parts"),
    "not-ascii": (lambda t: "é.é.é", "three parts"),
    "surrogate": (lambda t: "\udc80", "three parts"),
    "empty": (lambda t: "", "three parts"),
    "huge": (lambda t: signed(t, padding="x" * 20_000), "three parts"),
    "nested": (lambda t: f"{b64(b'[' * 9_000)}.e30.AAAA", "not a JSON object"),
    "twice-sub": (lambda t: twice(t), "not a JSON object"),
    "padded": (lambda t: signed(t) + "=", "three parts"),
    "trailing-newline": (lambda t: signed(t) + "\n", "three parts"),
}


def hs256(ours: Tokens) -> str:
    """Signed with our public key as if it were a shared secret."""
    secret = OctKey.import_key(json.dumps(ours.ring.jwks()["keys"][0]))
    head = {"alg": "HS256", "kid": ours.ring.signer.kid}
    return jwt.encode(head, claims_of(signed(ours)), secret, algorithms=["HS256"])


def twice(ours: Tokens) -> str:
    head, claims = jose.peek(signed(ours))
    return sealed(ours, head, json.dumps(claims).replace("{", '{"sub": "eve", ', 1).encode())


@pytest.mark.parametrize("name", DEFECTS)
async def test_a_token_with_one_defect_is_refused(ours: Tokens, name: str) -> None:
    make, why = DEFECTS[name]
    assert why in await refusal(ours, make(ours))


async def test_the_same_token_without_a_defect_is_believed(ours: Tokens) -> None:
    assert await ours.verify(signed(ours), AT) == PAT_A
    assert await ours.verify(signed(ours, aud=["https://other.example", HERE]), AT) == PAT_A
    assert (await ours.verify(signed(ours, exp=NOW - 30), AT)).jti == "t-1"  # another clock may be a minute off
    assert await refusal(ours, signed(ours, exp=NOW - 30), AT + timedelta(seconds=31)) == "expired"


def test_a_request_without_a_token_is_told_to_sign_in() -> None:
    assert tokens.bearer("bearer abc") == "abc"
    for nothing in (None, "", "Bearer", "Bearer ", "Basic YTpi", "abc"):
        with pytest.raises(Problem) as refused:
            tokens.bearer(nothing)
        assert refused.value.status == 401 and refused.value.headers["WWW-Authenticate"].startswith("Bearer")


# -- remembered, and forgotten in time --------------------------------------------------------------------------------


async def test_a_remembered_token_ends_when_it_ends(ours: Tokens) -> None:
    token = signed(ours, exp=NOW + 10)
    assert await ours.verify(token, AT)
    assert await ours.verify(token, AT + timedelta(seconds=69))  # leeway
    assert await refusal(ours, token, AT + timedelta(seconds=71)) == "expired"


async def test_a_revoked_token_ends_at_once_here_and_within_a_second_elsewhere(store: Any, ours: Tokens) -> None:
    elsewhere, token = Tokens(store, HERE, US), signed(ours)
    assert await ours.verify(token, AT) and await elsewhere.verify(token, AT)
    await ours.revoke({PAT_A.jti: PAT_A.expires})
    await refusal(ours, token)
    await refusal(elsewhere, token)


async def test_revoking_a_grant_ends_every_token_of_it_and_no_other(ours: Tokens) -> None:
    under, other = signed(ours, jti="t-2"), signed(ours, jti="t-3", grant="grant-2")
    await ours.verify(under, AT)
    await ours.revoke({"grant-1": PAT_A.expires})
    await refusal(ours, under)
    await refusal(ours, signed(ours, jti="t-4"))
    assert await ours.verify(other, AT)


async def test_rotation_goes_unnoticed_and_the_old_key_ends_after_the_overlap(store: Any, ours: Tokens) -> None:
    elsewhere, old = Tokens(store, HERE, US), signed(ours, exp=NOW + 86_400)
    assert await elsewhere.verify(old, AT)
    kid = await keys.rotate(store, AT, "ES384")
    soon = AT + timedelta(seconds=1)
    new = await ours.issue(PAT_A, soon)
    assert jose.peek(new)[0] == {"alg": "ES384", "kid": kid, "typ": "at+jwt"}
    assert await elsewhere.verify(new, soon) and await elsewhere.verify(old, soon) and await ours.verify(old, soon)
    late = AT + keys.OVERLAP
    assert await refusal(elsewhere, old, late) == await refusal(ours, old, late) == "not signed by a known key"


async def test_a_withdrawn_key_takes_every_token_it_signed_with_it(store: Any, ours: Tokens) -> None:
    old_kid, old = ours.ring.signer.kid, signed(ours)
    assert await ours.verify(old, AT)
    await keys.rotate(store, AT)
    await keys.withdraw(store, old_kid)
    assert await refusal(ours, old, AT + timedelta(seconds=1)) == "not signed by a known key"


async def test_published_keys_have_no_private_half(ours: Tokens) -> None:
    (published,) = ours.ring.jwks()["keys"]
    assert set(published) == {"kty", "crv", "x", "y", "kid", "alg", "use"}


async def test_two_houses_never_have_the_same_key(store: Any, tmp_path: Path) -> None:
    other = await sqlite.open(tmp_path / "other.sqlite")
    assert (await keys.ring(store, AT)).signer.kid != (await keys.ring(other, AT)).signer.kid
    secret = await keys.secret(store, "pages", AT)
    assert secret == await keys.secret(store, "pages", AT) != await keys.secret(other, "pages", AT)
    await other.close()


# -- demo people ------------------------------------------------------------------------------------------------------


async def test_a_demo_token_is_an_ordinary_token(store: Any, ours: Tokens) -> None:
    account = people.Account("gp", "Practitioner/gp", "Dr Green", "Organization/s", roles=("clinician",))
    await people.add(store, account, "long enough")
    jwks = {"keys": [ECKey.generate_key("P-384").as_dict(private=False)]}
    await clients.add(store, clients.Client("hospital", "system", jwks=jwks, scopes="system/*.cruds", contributor=True))
    token, said = await demo_token(store, "GP", issuer=US, audience=HERE, at=AT, jti="j")
    caller = await ours.verify(token, AT)
    assert (caller.fhir_user, caller.kind) == ("Practitioner/gp", "professional")
    assert caller.scopes == "openid fhirUser user/*.cruds"
    assert caller.expires == said.expires == AT + timedelta(hours=1)
    token, _ = await demo_token(store, "hospital", issuer=US, audience=HERE, at=AT, jti="k")
    caller = await ours.verify(token, AT)
    assert (caller.fhir_user, caller.kind, caller.roles) == ("Device/hospital", "system", frozenset({"contributor"}))
    with pytest.raises(LookupError):
        await demo_token(store, "nobody", issuer=US, audience=HERE, at=AT, jti="l")


# -- an external issuer -----------------------------------------------------------------------------------------------


class Issuer:
    """An OpenID Connect issuer on loopback: a discovery document, keys, a count of what was asked."""

    def __init__(self) -> None:
        self.keys = [RSAKey.generate_key(2048, {"kid": "one"})]
        self.asked: list[str] = []
        self.redirect, self.says = "", ""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                if issuer.redirect and self.path.endswith("/jwks"):
                    self.send_response(302)
                    self.send_header("Location", issuer.redirect)
                    self.end_headers()
                    return
                about = {"issuer": issuer.says or issuer.name, "jwks_uri": f"{issuer.name}/jwks"}
                jwks = {"keys": [k.as_dict(private=False) for k in issuer.keys]}
                body = json.dumps(jwks if self.path.endswith("/jwks") else about).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.name = f"http://127.0.0.1:{self.server.server_port}/realms/care"

    def token(self, header: dict[str, Any] | None = None, **changed: Any) -> str:
        claims = {
            "iss": self.name, "sub": "8f2", "aud": ["account", HERE], "azp": "their-app", "exp": NOW + 300, "iat": NOW,
            "jti": "e1", "typ": "Bearer", "scope": "openid user/*.rs", "fhirUser": f"{HERE}/Practitioner/p7",
            "ods": "A81001", "acr": "AAL3", "realm_access": {"roles": ["gp", "offline_access"]},
        } | changed  # fmt: skip
        key = self.keys[-1]
        head = {"alg": "RS256", "kid": key.kid, "typ": "JWT"} | (header or {})
        said = json.dumps({k: v for k, v in claims.items() if v is not None})  # as escapes, whatever they hold
        return jws.serialize_compact(head, said.encode(), key, algorithms=["RS256", "PS256"])


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    running = Issuer()
    thread = threading.Thread(target=running.server.serve_forever, args=(0.01,))
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


def trusting(store: Any, issuer: Issuer, **claims: Any) -> Tokens:
    mapped = external.Claims(organisation="ods", roles_claim="realm_access.roles", roles={"gp": frozenset({"clinician"})}, **claims)
    return Tokens(store, HERE, US, external.External(issuer.name, external.fetch_from(issuer.name), HERE, mapped))


async def test_an_external_token_says_who_in_our_words(store: Any, issuer: Issuer) -> None:
    verifier = trusting(store, issuer)
    caller = await verifier.verify(issuer.token(), AT)
    assert caller == Caller(
        "8f2", "their-app", "Practitioner/p7", "professional", "openid user/*.rs", issuer.name, "e1", AT + 5 * MINUTE,
        "", "A81001", None, None, frozenset({"clinician"}), "AAL3",
    )  # fmt: skip
    assert await verifier.verify(issuer.token({"alg": "PS256"}), AT) == caller
    assert issuer.asked == ["/realms/care/.well-known/openid-configuration", "/realms/care/jwks"]  # once


def settled(issuer: Issuer, **more: Any) -> Settings:
    return Settings(issuer=issuer.name, audience=HERE, base_url=HERE.removesuffix("/fhir"), issuer_organisation_claim="ods", **more)


async def test_their_roles_mean_nothing_until_settings_say_so(store: Any, issuer: Issuer) -> None:
    verifier = Tokens(store, HERE, US, external.discover(settled(issuer)))
    assert (await verifier.verify(issuer.token(roles=["operator", "privacy-officer"]), AT)).roles == frozenset()


async def test_settings_say_which_claims_and_words_mean_what(store: Any, issuer: Issuer) -> None:
    words = "privacy-officer=IG Lead; clinician=CN=Doctor,OU=Trust; break-glass = CN=Doctor,OU=Trust; clinician=Nurse"
    settings = settled(
        issuer, issuer_subject_claim="uid", issuer_scopes_claim="scp", issuer_assurance_claim="nhs.level", issuer_roles_claim="groups", issuer_roles=words
    )
    verifier = Tokens(store, HERE, US, external.discover(settings))
    for groups, ours in (
        (["IG Lead", "Porter"], {"privacy-officer"}),
        (["CN=Doctor,OU=Trust"], {"clinician", "break-glass"}),
        ("Nurse", {"clinician"}),
        (["ig lead", "IG", "privacy-officer", 7, None, ["Nurse"]], set()),
        ({"Nurse": True}, set()),
        (None, set()),
    ):
        token = issuer.token(sub=None, uid="u-7", scope=None, scp=["user/Goal.rs", "openid"], acr=None, nhs={"level": "P9"}, groups=groups)
        caller = await verifier.verify(token, AT)
        assert (caller.subject, caller.scopes, caller.assurance, caller.roles) == ("u-7", "user/Goal.rs openid", "P9", frozenset(ours))
    assert await refusal(verifier, issuer.token(uid=None, scp=["user/Goal.rs"])) == "no uid"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"typ": "ID"}, "no access token"),
        ({"typ": "Refresh"}, "no access token"),
        ({"events": {}}, "no access token"),
        ({"scope": None}, "no scopes"),
        ({"fhirUser": None}, "no person"),
        ({"fhirUser": "https://evil.example/fhir/Practitioner/p7"}, "no person"),
        ({"aud": "their-app"}, "another service"),
        ({"aud": None}, "another service"),
        ({"exp": None}, "no exp"),
        ({"sub": None}, "no sub"),
        ({"azp": "\ud800"}, "JSON object"),
        ({"odd": [{"\udc00": 1}]}, "JSON object"),
    ],
)
async def test_other_external_tokens_are_refused(store: Any, issuer: Issuer, changed: dict[str, Any], why: str) -> None:
    assert why in await refusal(trusting(store, issuer), issuer.token(**changed))


async def test_an_external_issuer_may_rotate_its_keys_and_cannot_be_hammered(store: Any, issuer: Issuer) -> None:
    verifier = trusting(store, issuer)
    assert await verifier.verify(issuer.token(), AT)
    issuer.keys = [RSAKey.generate_key(2048, {"kid": "two"})]
    for _ in range(5):
        assert "known key" in await refusal(verifier, issuer.token(), AT + timedelta(seconds=10))
    assert len(issuer.asked) == 2
    assert await verifier.verify(issuer.token(), AT + timedelta(seconds=60))
    assert len(issuer.asked) == 4


async def test_an_issuer_that_never_answered_is_not_waited_for_by_every_request(store: Any, issuer: Issuer) -> None:
    verifier, issuer.says = trusting(store, issuer), "https://another.example"
    for _ in range(5):
        with pytest.raises(Problem) as away:
            await verifier.verify(issuer.token(), AT)
        assert away.value.status == 503
    assert len(issuer.asked) == 1
    issuer.says = ""
    assert await verifier.verify(issuer.token(), AT + timedelta(seconds=5))


async def test_an_external_issuer_cannot_speak_for_us_nor_we_for_it(store: Any, issuer: Issuer) -> None:
    verifier = trusting(store, issuer)
    assert "known key" in await refusal(verifier, issuer.token({"typ": "at+jwt"}, iss=US))
    await verifier.refresh(AT)
    assert "known key" in await refusal(verifier, signed(verifier, iss=issuer.name))


@pytest.mark.parametrize("how", ["redirect", "another", "elsewhere"])
async def test_keys_come_from_the_issuer_alone(store: Any, issuer: Issuer, how: str) -> None:
    verifier = trusting(store, issuer)
    sink = Issuer()
    if how == "redirect":
        issuer.redirect = f"{sink.name}/jwks"
    elif how == "another":
        issuer.says = "https://another.example"
    else:
        with pytest.raises(jose.Bad):
            await external.fetch_from(issuer.name)(f"{sink.name}/jwks")
    if how != "elsewhere":
        with pytest.raises(Problem) as unavailable:
            await verifier.verify(issuer.token(), AT)
        assert unavailable.value.status == 503
    assert sink.asked == []
    sink.server.server_close()


# -- outside vectors --------------------------------------------------------------------------------------------------


def vectors(shared: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shared / "suites" / "jose-vectors.jsonl").read_text().splitlines()]


def believed(vector: dict[str, Any]) -> bool:
    """Whether the verifier accepts the signature with the vector's keys, read as it reads an issuer's."""
    group = vector["group"]
    given = group.get("public") or group["private"]
    try:
        known = jose.public_keys(given if "keys" in given else {"keys": [given]})
        jose.open_bytes(vector["jws"], known)
    except jose.Bad:
        return False
    return True


def test_no_invalid_vector_is_believed_and_every_valid_one_we_allow_is(shared: Path) -> None:
    all_of_them = vectors(shared)
    assert len(all_of_them) == 427
    wrongly = [v["name"] for v in all_of_them if v["result"] == "invalid" and believed(v)]
    assert wrongly == []
    ours = [v for v in all_of_them if v["result"] == "valid" and jose.ALGORITHMS & {algorithm(v)}]
    # two use PS384 with a key that says PS256: a key's own `alg` is part of our allow-list (RFC 8725 3.1)
    assert [v["name"] for v in ours if not believed(v)] == ["jws-10-346", "jws-14-350"]
    assert len(ours) == 27


def algorithm(vector: dict[str, Any]) -> str:
    head = vector["jws"].split(".")[0]
    return str(json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["alg"])


def test_a_role_of_a_foreign_issuer_counts_at_a_running_gateway_as_its_file_says(issuer: Issuer, tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(
        f'issuer = "{issuer.name}"\naudience = "{HERE}"\nissuer_organisation_claim = "ods"\nissuer_roles_claim = "realm_access.roles"\n'
        '[issuer_roles]\nbreak-glass = ["ED Consultant", "ED Registrar"]\nclinician = "ED Consultant"\n'
    )
    with gateway(tmp_path, "--demo", GATEWAY_CONFIG=str(config)) as g:
        now, sam = int(datetime.now(UTC).timestamp()), g.persona("stranger")["fhirUser"]

        def breaks(*words: str) -> int:
            claims = {"fhirUser": sam, "ods": "D82999", "exp": now + 300, "iat": now, "auth_time": now, "scope": "user/*.rus", "jti": f"{words}"}
            token = issuer.token(realm_access={"roles": [*words]}, **claims)
            body = {"reason": "Found unconscious", "ground": "incapacity-vital-interest"}
            return g.call(None, "POST", f"/patients/{g.patient}/break-glass", body=body, headers={"Authorization": f"Bearer {token}"}).status_code

        assert [breaks(), breaks("Porter"), breaks("break-glass"), breaks("Porter", "ED Registrar")] == [403, 403, 403, 201]
