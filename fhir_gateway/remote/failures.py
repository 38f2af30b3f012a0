"""What may become of a request to another FHIR server, other than an answer."""

from __future__ import annotations

from typing import Any, Final

from ..domain.reasons import reason
from .replies import names_in, unsupported

NAMELESS: Final = ("its name is not known", "the name service did not answer")  # as `outbound` says it


class Down(Exception):
    """Not reachable, overloaded or failing. `wait` is what it asked for, in seconds. A write was not applied for sure only where
    it did not arrive (`arrived` False)."""

    def __init__(self, text: str, wait: float | None = None, *, arrived: bool = True) -> None:
        super().__init__(text)
        self.wait, self.arrived = wait, arrived


class Elsewhere(Down):
    """Nothing was asked: this name has stood for a server at another address, `first`, and `now` is not it."""

    def __init__(self, first: str, now: str) -> None:
        super().__init__(f"has another address in the settings than the server that we were in step with, which is {first}", arrived=False)
        self.first, self.now = first, now


class Unknown(Exception):
    """The request left and no answer came that can be believed: it may have been applied. Ask before trying again."""


class Garbled(Unknown):
    """The resource that was asked for, and in a shape that cannot be kept. `etag` names what is there, "" where it does not say."""

    def __init__(self, text: str, etag: str) -> None:
        super().__init__(text)
        self.etag = etag


class Plain(Unknown):
    """404 or 410 of one resource, in words that are no FHIR. `how`: their content type, and the words but for the id."""

    def __init__(self, status: int, how: tuple[str, str]) -> None:
        super().__init__(f"it answered {status} with something that is no FHIR")
        self.status, self.how = status, how


class Locked(Exception):
    """401, or 403 to /metadata, to a feed, to a search of a type, or to what we write of several people and to delete what is not there: our
    credentials are not good there. Not 403 to what we read, or write of one person: it may be kept from us, as many as there are of it; nor to
    what it says that it does not support."""


class Refusal(Exception):
    """The server will not take this: 400, 403, 404, 405, 409, 410, 412, 422.

    As a string it is its status, issue codes and element names, or `text` where that is ours; a status of 0 is nobody's but ours. With an `outcome` `text` is theirs and may quote
    a record: it stands nowhere but in what is kept for a person to look at.
    """

    def __init__(self, status: int, text: str, outcome: dict[str, Any] | None = None) -> None:
        super().__init__(reason(status, outcome) if outcome is not None else f"{status}: {text}" if status else text)
        self.status, self.text, self.outcome = status, text, outcome

    @property
    def unsupported(self) -> bool:
        """Does that server say that it does not offer this at all."""
        return self.status in (405, 501) or unsupported(self.outcome)

    @property
    def names(self) -> frozenset[str]:
        """Every `Type/id` that their words name: HAPI says so what points to that which it does not delete."""
        return names_in(self.outcome)


class Forbidden(Refusal):
    """403 to a write, but for one that is not supported."""


def unreached(e: Exception) -> str:
    """Why nobody could be asked, in plain words: of an error of connecting."""
    said, kind = str(e), type(e).__name__
    if said in NAMELESS:
        return said
    if "CERTIFICATE" in said.upper():
        return "its certificate is not good"
    if kind == "PoolTimeout":
        return "too many requests wait for it already"
    return "nobody answered in time" if kind.endswith("Timeout") else "nobody answers at its address"


__all__ = ["Down", "Elsewhere", "Forbidden", "Garbled", "Locked", "Plain", "Refusal", "Unknown", "unreached"]
