"""What this authorization server offers, for programs to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from . import assertions
from .keys import ID_TOKENS
from .prompting import PROMPTS

OFFERED_SCOPES = [
    "openid", "fhirUser", "launch", "launch/patient", "offline_access", "online_access", "patient/*.cruds",
    "user/*.cruds", "system/*.cruds",
]  # fmt: skip


RELAYED: Final = (
    "issuer", "authorization_endpoint", "token_endpoint", "introspection_endpoint", "revocation_endpoint", "jwks_uri", "grant_types_supported",
    "response_types_supported", "scopes_supported", "code_challenge_methods_supported", "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
)  # fmt: skip
TAKEN: Final = ["permission-patient", "permission-user", "permission-v1", "permission-v2"]  # what scopes of any issuer mean here


def of_another(about: Mapping[str, Any]) -> dict[str, Any]:
    """`/fhir/.well-known/smart-configuration` where people sign in elsewhere, from the discovery document there: its own words, and what
    its scopes mean here. Which SMART launches it offers is said only if it says so itself."""
    said = {name: about[name] for name in RELAYED if name in about}
    own = about.get("capabilities")
    return said | {"capabilities": sorted({*TAKEN, *(c for c in own if isinstance(c, str))} if isinstance(own, list) else TAKEN)}


def smart_configuration(base: str) -> dict[str, Any]:
    """`/fhir/.well-known/smart-configuration`, https://hl7.org/fhir/smart-app-launch/conformance.html"""
    return openid_configuration(base) | {
        "management_endpoint": f"{base}/account/apps",
        "capabilities": [
            "launch-ehr", "launch-standalone", "authorize-post", "client-public", "client-confidential-asymmetric", "sso-openid-connect",
            "context-banner", "context-ehr-patient", "context-standalone-patient", "permission-offline", "permission-online",
            "permission-patient", "permission-user", "permission-v2", "permission-v1",
        ],
    }  # fmt: skip


def openid_configuration(base: str) -> dict[str, Any]:
    """`/.well-known/openid-configuration` and the OAuth metadata (RFC 8414)."""
    return {
        "issuer": base,
        "authorization_endpoint": f"{base}/oauth/authorize",
        "token_endpoint": f"{base}/oauth/token",
        "introspection_endpoint": f"{base}/oauth/introspect",
        "revocation_endpoint": f"{base}/oauth/revoke",
        "jwks_uri": f"{base}/oauth/jwks",
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "scopes_supported": OFFERED_SCOPES,
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
        "token_endpoint_auth_signing_alg_values_supported": list(assertions.ALGORITHMS),
        # RFC 8414 takes a shared secret for granted where these two are silent
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": list(assertions.ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": list(assertions.ALGORITHMS),
        "id_token_signing_alg_values_supported": [ID_TOKENS],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "acr", "fhirUser", "nonce"],
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,  # the default is true
        "claims_parameter_supported": False,
        "prompt_values_supported": list(PROMPTS),
        "authorization_response_iss_parameter_supported": True,
    }
