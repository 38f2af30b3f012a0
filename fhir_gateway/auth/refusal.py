"""What an OAuth server says when it does not do what it was asked. RFC 6749 4.1.2.1 and 5.2."""

from __future__ import annotations

from collections.abc import Iterable


class Refusal(Exception):
    """An OAuth error answer (RFC 6749 5.2): the code, a sentence, a status."""

    def __init__(self, error: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.error, self.text, self.status = error, text, status


class SentBack(Exception):
    """An error that the app itself may hear: where the browser goes."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.location = location


def once(params: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Parameters by name; Refusal when one is given twice (RFC 6749 3.1)."""
    out: dict[str, str] = {}
    for name, value in params:
        if name in out:
            raise Refusal("invalid_request", f"`{name[:40]}` is given twice.")
        out[name] = value
    return out


def unknown_client(text: str) -> Refusal:
    return Refusal("invalid_client", text, 401)
