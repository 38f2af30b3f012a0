"""Everything that can go wrong: one type, one table to HTTP status and issue code, one OperationOutcome.

Messages are plain words for the caller, the caller's own text in backticks, nobody else's data.
Issue codes: https://hl7.org/fhir/R4/valueset-issue-type.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Severity = Literal["fatal", "error", "warning", "information"]


class Kind(NamedTuple):
    status: int
    code: str  # OperationOutcome.issue.code


KINDS: dict[str, Kind] = {
    "malformed": Kind(400, "structure"),
    "bad-request": Kind(400, "invalid"),
    "if-match-required": Kind(400, "required"),
    "sign-in": Kind(401, "login"),
    "insufficient-scope": Kind(403, "forbidden"),
    "forbidden": Kind(403, "forbidden"),
    "not-found": Kind(404, "not-found"),
    "no-such-type": Kind(404, "not-supported"),
    "no-such-operation": Kind(404, "not-supported"),
    "not-offered": Kind(405, "not-supported"),
    "not-acceptable": Kind(406, "not-supported"),
    "too-slow": Kind(408, "timeout"),
    "conflict": Kind(409, "conflict"),
    "duplicate": Kind(409, "duplicate"),
    "gone": Kind(410, "deleted"),
    "stale": Kind(412, "conflict"),
    "several-matches": Kind(412, "multiple-matches"),
    "too-large": Kind(413, "too-long"),
    "uri-too-long": Kind(414, "too-long"),
    "unsupported-media": Kind(415, "not-supported"),
    "invalid": Kind(422, "invalid"),
    "misdirected": Kind(421, "security"),
    "business-rule": Kind(422, "business-rule"),
    "cannot-apply": Kind(422, "processing"),
    "name-used": Kind(422, "business-rule"),  # an idempotency key under which another message came
    "throttled": Kind(429, "throttled"),
    "headers-too-large": Kind(431, "too-long"),
    "not-implemented": Kind(501, "not-supported"),
    "unavailable": Kind(503, "transient"),
}


MOST_ISSUES = 200  # of one answer: nobody reads more, and a body of one megabyte can have 100,000


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong with a resource: where (FHIRPath), how bad, an issue code and a sentence."""

    severity: Severity
    code: str
    where: str
    text: str
    key: str = ""  # the rule, e.g. gol-1


def few(issues: Iterable[Issue], *, more: bool = False) -> list[Issue]:
    """All of them in their order, or the first 200, errors before all else, and a word that there is `more`."""
    errors: list[Issue] = []
    kept: list[Issue] = []
    for issue in issues:
        wrong = issue.severity in ("error", "fatal")
        if wrong and len(errors) == MOST_ISSUES:
            more = True
            break
        if wrong or len(kept) - len(errors) < MOST_ISSUES:
            kept.append(issue)
            errors += [issue] if wrong else []
        else:
            more = True
    if not more and len(kept) <= MOST_ISSUES:
        return kept
    kept.sort(key=lambda i: i.severity not in ("error", "fatal"))
    return [*kept[:MOST_ISSUES], Issue("information", "too-costly", "", f"There is more: the first {MOST_ISSUES} are told.")]


class Problem(Exception):
    """`raise Problem("invalid", "`bogus` is not a Goal lifecycleStatus", "Goal.lifecycleStatus")`"""

    def __init__(
        self,
        kind: str,
        text: str,
        where: str = "",
        *,
        issues: Sequence[Issue] = (),
        headers: dict[str, str] | None = None,
        noted: bool = False,  # it is in the trail already
    ) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.where = where
        self.issues = tuple(issues) or (Issue("error", KINDS[kind].code, where, text),)
        self.headers = headers or {}
        self.noted = noted

    @property
    def status(self) -> int:
        return KINDS[self.kind].status


NOT_FOUND = "There is nothing here by that name, or it is not for you to see."


def not_found() -> Problem:
    """Hidden and absent are one answer: same status, same words (leak list L01)."""
    return Problem("not-found", NOT_FOUND)


def outcome(issues: Iterable[Issue]) -> dict[str, Any]:
    """An OperationOutcome, https://hl7.org/fhir/R4/operationoutcome.html"""
    return {"resourceType": "OperationOutcome", "issue": [_issue(i) for i in issues]}


def _issue(i: Issue) -> dict[str, Any]:
    out: dict[str, Any] = {"severity": i.severity, "code": i.code}
    if i.key:
        out["details"] = {"coding": [{"code": i.key}]}
    out["diagnostics"] = i.text
    if i.where:
        out["expression"] = [i.where]
    return out
