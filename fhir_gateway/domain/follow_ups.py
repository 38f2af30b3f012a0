"""Questions that somebody is asked to answer from a day on: a Task, as Structured Data Capture has it. Pure. docs/questionnaires.md

https://hl7.org/fhir/uv/sdc/CodeSystem-temp.html; which day a Task is for: https://hl7.org/fhir/R4/task.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from .forms.items import answers as given
from .forms.items import every, value

SDC: Final = "http://hl7.org/fhir/uv/sdc/CodeSystem/temp"
ASKS: Final = "complete-questionnaire"  # Task.code
FORM: Final = "questionnaire"  # Task.input.type
ANSWERS: Final = "questionnaire-response"  # Task.output.type
OPEN: Final = ("requested", "received", "accepted", "ready", "in-progress", "on-hold")
ANSWERED: Final = frozenset({"completed", "amended"})  # of a QuestionnaireResponse
MOST: Final = 24  # how often somebody is asked the same in one go
WITHIN: Final = 14  # days there are to answer, where nothing else is said
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What a Task asks: the answers to which form (its address), from which day on ("": at once) and until when ("": none said)."""

    form: str
    opens: str
    until: str

    def due(self, today: date) -> bool:
        """Is it time to answer."""
        return self.opens <= today.isoformat()

    def late(self, today: date) -> bool:
        """Is the day over until which there was time."""
        return bool(self.until) and self.until < today.isoformat()


def asked_by(task: Mapping[str, Any]) -> FollowUp | None:
    """What this Task asks somebody to answer; None for any other Task."""
    form = next((str(i["valueCanonical"]) for i in _several(task, "input") if i.get("valueCanonical") and FORM in _called(i.get("type"))), "")
    if not form:
        return None
    first, last = _days(task.get("executionPeriod")), _days((task.get("restriction") or {}).get("period"))
    return FollowUp(form, first[0] or last[0], first[1] or last[1])


def still_open(task: Mapping[str, Any]) -> bool:
    return task.get("status") in OPEN


def ends_itself(task: Mapping[str, Any]) -> bool:
    """Does it say by its code that answers are all that it asks for. Any other Task with a form in it is somebody's work, and theirs to end."""
    return any(c.get("system") == SDC and c.get("code") == ASKS for c in _several(task.get("code") or {}, "coding"))


def finished(response: Mapping[str, Any]) -> bool:
    """Are these answers that were finished, with something answered in them: an empty form was looked at, and says nothing."""
    return response.get("status") in ANSWERED and any(value(a)[0] for item in every(response) for a in given(item))


def answers(response: Mapping[str, Any], task: Mapping[str, Any], today: date) -> bool:
    """Is this what the Task asked for: answers of the same person to the same form, whichever version, given from its day on."""
    asked = asked_by(task)
    if asked is None or not still_open(task) or not finished(response):
        return False
    about = (response.get("subject") or {}).get("reference")
    same = _address(str(response.get("questionnaire", ""))) == _address(asked.form) and about == (task.get("for") or {}).get("reference")
    return same and asked.due(min(today, _day(response.get("authored")) or today))


def answered(task: Mapping[str, Any], response: str) -> dict[str, Any]:
    """The Task, done by these answers (a reference)."""
    said = {"type": {"coding": [{"system": SDC, "code": ANSWERS}]}, "valueReference": {"reference": response}}
    return {**task, "status": "completed", "output": [*_several(task, "output"), said]}


def tasks(person: str, who: str, form: str, title: str, days: Sequence[date], within: int, at: str) -> Iterator[dict[str, Any]]:
    """One Task for each day on which this person (a reference) is asked; `who` asks."""
    for day in days:
        yield {
            "resourceType": "Task", "status": "requested", "intent": "order", "code": {"coding": [{"system": SDC, "code": ASKS}]}, "description": title,
            "for": {"reference": person}, "owner": {"reference": person}, "requester": {"reference": who}, "authoredOn": at,
            "executionPeriod": {"start": day.isoformat(), "end": (day + timedelta(days=within)).isoformat()},
            "input": [{"type": {"coding": [{"system": SDC, "code": FORM}]}, "valueCanonical": form}],
        }  # fmt: skip


def days(first: date, weeks: int, times: int) -> list[date]:
    """The days on which somebody is asked: once, or every so many weeks."""
    return [first + timedelta(weeks=weeks * n) for n in range(times)]


def _several(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [i for i in holder.get(name) or () if isinstance(i, Mapping)]


def _called(concept: Any) -> set[str]:
    """By which names a kind of input goes: codes, and what is said in words."""
    said = concept if isinstance(concept, Mapping) else {}
    return {str(c.get("code", "")) for c in _several(said, "coding")} | {str(said.get("text", "")).strip().lower()}


def _address(canonical: str) -> str:
    return canonical.partition("|")[0]


def _days(period: Any) -> tuple[str, str]:
    said = period if isinstance(period, Mapping) else {}
    return tuple(str(said.get(k) or "")[:10] for k in ("start", "end"))  # type: ignore[return-value]


def _day(value: Any) -> date | None:
    found = _DAY.match(str(value or ""))
    try:
        return date.fromisoformat(found[0]) if found else None
    except ValueError:
        return None


__all__ = ["ANSWERED", "ASKS", "MOST", "OPEN", "SDC", "WITHIN", "FollowUp", "answered", "answers", "asked_by", "days", "ends_itself", "finished", "still_open", "tasks"]
