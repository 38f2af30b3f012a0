"""What a reader gets of who the person is and where they live, in words: it differs from reader to reader. Pure.

`views` are bits of `types.CONTACT` and `PLACES`, one for each way the reader can sign in (`gate.details`).
"""

from __future__ import annotations

from collections.abc import Collection

from ...domain.types import CONTACT, PLACES
from .words import _

OFFER = (
    "My NHS number, date of birth, address and all my other details",
    "Health and social care staff see them without this. Others see only your name, your language and one way to reach you. "
    "With this, a person or place that you name also sees where you live, even if you keep that secret.",
)
ALL = 0
LISTED: dict[int, str] = {  # in the list and on the summary
    ALL: "Your details: name, date of birth, NHS number, address, phone, language, ethnic group and GP practice, as far as they are written down",
    CONTACT: "Of your details only your name, your language and one way to reach you. Not your NHS number, date of birth or address",
    PLACES: "Your details, such as your name, date of birth and NHS number. Not where you live, your phone or your GP practice",
    CONTACT | PLACES: "Of your details only your name and your language",
}
LISTED_MIXED = "Your details. Those who work in health or social care see them. Others see only your name, your language and one way to reach you"
LISTED_SECRET = "Your details, but not where you live. Those who do not work in health or social care see only your name and your language"
SAID: dict[int, str] = {  # in the sentence that is kept with the choice
    ALL: "They will also see your details, such as your NHS number, address and phone.",
    CONTACT: "They will also see your name and one way to reach you, but not your NHS number, date of birth or address.",
    PLACES: "They will also see your details, such as your NHS number, but not where you live or your phone.",
    CONTACT | PLACES: "They will also see your name, but not your NHS number, date of birth, phone or where you live.",
}
SAID_MIXED = "Those of them who work in health or social care will also see your details, such as your NHS number, address and phone. The others will see your name and one way to reach you."
SAID_SECRET = "Those of them who work in health or social care will also see your details, but not where you live. The others will see your name."


def listed(views: Collection[int]) -> str:
    """A line of the list of what they can see."""
    return _(_one(views, LISTED, LISTED_MIXED, LISTED_SECRET))


def sentence(views: Collection[int]) -> str:
    """The sentence about it that the person reads before saving."""
    return _(_one(views, SAID, SAID_MIXED, SAID_SECRET))


def _one(views: Collection[int], words: dict[int, str], mixed: str, secret: str) -> str:
    """Of several ways to sign in that differ nothing is left unsaid."""
    if len(views) == 1:
        return words[next(iter(views))]
    if not views:
        return words[ALL]
    return secret if all(v & PLACES for v in views) else mixed


__all__ = ["LISTED", "OFFER", "SAID", "listed", "sentence"]
