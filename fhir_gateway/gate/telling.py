"""Telling people that something changed: queued in the commit that changes it, without a word of what it was.

Whoever sends it (`tell`) asks consent again, and finds the channel, the language and the safe time then.
"""

from __future__ import annotations

from typing import Literal

from ..domain.types import Op, Ref, Send

Why = Literal["break-glass", "claim", "new-access", "recall-failed"]
Whom = Literal["patient", "privacy-officer"]


def tell(why: Why, patient: str, whom: Whom = "patient") -> list[Op]:
    """Operations that queue one notice about `patient` (`Patient/…`), to be committed with what it is about."""
    return [Send(f"tell:{whom}", Ref("Patient", patient.removeprefix("Patient/")), 0, patient, why)]
