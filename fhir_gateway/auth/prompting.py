"""What an app says of how the person is asked: `prompt` and `max_age`; and what it may not say here.

https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from ..domain.primitives import whole
from .refusal import Refusal

PROMPTS: Final = ("none", "login", "consent", "select_account")  # consent is asked for in any case
BEGAN: Final = "began"  # ours: when a request was first sent on to the sign-in page, in seconds since 1970
LONGEST_WAY: Final = timedelta(minutes=30)  # from there back: whoever takes longer signs in again
_ELSEWHERE: Final = {name: f"{name}_not_supported" for name in ("request", "request_uri", "registration")}


@dataclass(frozen=True, slots=True)
class Prompt:
    """`quiet`: nobody may be disturbed. `anew`: the person signs in for this, however long ago they did. `max_age` in seconds."""

    quiet: bool = False
    anew: bool = False
    max_age: int | None = None
    began: datetime | None = None

    @property
    def fresh(self) -> bool:
        """Does it matter when the person signed in."""
        return self.anew or self.max_age is not None

    def proven(self, signed_in: datetime | None, at: datetime) -> bool:
        """Need a person who signed in then (a whole second) not sign in again: they did so for this very request, or late enough."""
        if not self.fresh:
            return True
        if signed_in is None:
            return False
        if self.began is not None and self.began <= signed_in and at - self.began <= LONGEST_WAY:
            return True
        return not self.anew and self.max_age is not None and (at - signed_in).total_seconds() <= self.max_age


ANY: Final = Prompt()


def understood(given: Mapping[str, str]) -> Prompt:
    """What an authorization request says of it. Refusal for what contradicts itself, is unknown, or is not offered."""
    for name, error in _ELSEWHERE.items():
        if name in given:
            raise Refusal(error, f"`{name}` is not offered here: send each parameter by itself.")
    if given.get("response_mode", "query") != "query":
        raise Refusal("invalid_request", "Only response_mode=query is offered.")
    said = given.get("prompt", "").split(" ") if given.get("prompt") else []
    if not set(said) <= set(PROMPTS):
        raise Refusal("invalid_request", f"prompt is among {', '.join(PROMPTS)}.")
    if "none" in said and len(said) > 1:
        raise Refusal("invalid_request", "prompt=none stands alone.")
    max_age = whole(given["max_age"]) if "max_age" in given else None
    if "max_age" in given and max_age is None:
        raise Refusal("invalid_request", "max_age is a whole number of seconds.")
    began = whole(given.get(BEGAN, ""), 11)
    return Prompt(
        "none" in said, bool({"login", "select_account"} & set(said)) or max_age == 0, max_age,
        datetime.fromtimestamp(began, UTC) if began is not None else None,
    )  # fmt: skip
