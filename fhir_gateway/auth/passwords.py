"""Whether a stranger would guess a password: by what people really choose, not by rules about signs and capitals.

zxcvbn (https://github.com/dwolfhub/zxcvbn-python) knows the 30,000 commonest, names, words, dates, keyboard rows and how people vary them.
"""

from __future__ import annotations

OURS = ("shared", "care", "plan", "patient", "nhs", "hospital", "surgery", "password", "fhir", "gateway")
SHORTEST = 8  # characters
LONGEST_LOOKED_AT = 72  # what comes after adds to it, whatever it is
WEAK = 3  # of 0 to 4: from 3 on it stands against ten billion guesses of a slow hash


def weak(password: str, *about: str) -> bool:
    """Whether this password is too easy. `about`: names of the person and the account, which it must not be made of."""
    if len(password) < SHORTEST:
        return True
    from zxcvbn import zxcvbn  # 30 ms and 3 MB that only a new password needs

    known = [*OURS, *(word for text in about for word in (text, *text.split()) if word)]
    return int(zxcvbn(password[:LONGEST_LOOKED_AT], user_inputs=known)["score"]) < WEAK
