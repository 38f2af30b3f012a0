"""What an app asks a person to approve, and what is kept of it until the app has its token."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from datetime import datetime

from authlib.oauth2.rfc7636 import create_s256_code_challenge

from .clients import Client
from .prompting import ANY, Prompt

VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What an app asks a person to approve. `scopes` are already no more than the app is registered for."""

    client: Client
    redirect_uri: str
    scopes: str
    challenge: str
    state: str = ""
    nonce: str = ""
    launch: str | None = None
    launch_key: str = ""  # its name in the store
    launched_by: str = ""  # the person in whose hands it works
    prompt: Prompt = ANY


@dataclass(frozen=True, slots=True)
class Code:
    client: str
    redirect_uri: str
    challenge: str
    nonce: str
    grant: str
    subject: str
    scopes: str
    launch: str | None
    signed_in: datetime
    until: datetime
    used: bool = False
    session: str = ""
    roles: tuple[str, ...] | None = None
    assurance: str | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """Whom an app is opened on: works for this app, in the hands of this person."""

    patient: str
    client: str
    subject: str


def verified(verifier: str, challenge: str) -> bool:
    if not VERIFIER.fullmatch(verifier):
        return False
    return hmac.compare_digest(create_s256_code_challenge(verifier), challenge)
