"""What each field of an ADT message comes to, found by changing it and looking at what changes: no second table that could say otherwise. Pure.

Nobody's record is read: against a record that has everything otherwise, so that all that the person would be asked about is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from . import adt
from .er7 import Field, Message
from .identity import is_nhs_number
from .problem import Problem

WHOM, FORMER, STAY, ASKED = "Patient", "former Patient", "Encounter", "Task (check-details)"
READ: Final = "the message itself"
ACKNOWLEDGED: Final = "the acknowledgement"
_SENDER: Final = "client"  # stands for the name of the registered system
_OTHERWISE: Final = {"name": [{"given": ["somebody else"]}], "gender": "-"}  # a Patient that has all otherwise
_WHY: Final = {
    WHOM: "says who it is: compared with the record, never written into it", FORMER: "says whose record is the same person's: an operator decides on the merge",
    STAY: "", ASKED: "where the record has it otherwise the person is asked; nothing is written into it",
}  # fmt: skip
_SOMETIMES: Final = {  # fields that come to something by some values only
    ("PV1", "10"): ("Encounter.meta.security", "only where the service says by itself what somebody is in for"),
    ("PID", "30"): (f"{ASKED}: death", "only where it says that they died"),
}
_HEAD: Final = "what it is, from whom and when: decides whether and how it is taken"
_AGAIN: Final = "how long it counts: what was recorded before the stay ended, and comes after, changes nothing"
_NOT_TAKEN: Final = "an admission notice needs no diagnoses, procedures, allergies, kin, insurance or observations, and Z segments mean what each sender likes: clinical content comes as a document"
_OTHER_NUMBER: Final = "only the NHS number says who it is: a number of somebody else's is not taken"
_AUTHORITY: Final = "says that it is the NHS number"
_NUMBERS: Final = frozenset({("PID", "2"), ("PID", "3"), ("MRG", "1"), ("MRG", "4")})
_HEADER: Final = frozenset("3 4 7 9 11 12 18".split())  # of MSH
_NOTHING: Final = "nothing is made of it here"

Change = Callable[[Callable[[str], str]], Message]  # the message with one text changed in a way
Made = dict[str, str]  # every leaf of what a message comes to, by its place


def rows(m: Message) -> list[dict[str, str]]:
    """Each field of a message: `path` (`PV1-3.9`), `to` ("" where it has no home) and `why`. Problem where the message would be refused."""
    adt.event(m)
    made = _made(m)
    return [{"path": path, **_landing(m, made, path, change)} for path, change in fields(m)]


def bundle(m: Message) -> dict[str, Any]:
    """The transaction that a message comes to: its Encounter, or nothing for a merge, which an operator decides, and for an A08 of the person alone. Problem as the gate's."""
    entries = []
    if adt.event(m) != adt.MERGE:
        numbers = adt.person(m)["identifier"]
    if adt.event(m) != adt.MERGE and not adt.of_no_stay(m):
        stay = adt.stay(m, "", None, _SENDER, None) | {
            "subject": {"type": "Patient", **({"identifier": numbers[0]} if numbers else {})}
        }
        system, value = adt.visit(m, _SENDER)
        entries.append({"resource": stay, "request": {"method": "PUT", "url": f"Encounter?identifier={system}|{value}"}})
    return {"resourceType": "Bundle", "type": "transaction"} | ({"entry": entries} if entries else {})


def _made(m: Message) -> Made:
    if adt.event(m) == adt.MERGE:
        return {k: v for p in adt.pairs(m) for top, who in ((WHOM, p.kept), (FORMER, p.gone or {})) for k, v in _leaves(f"{top}[{p.nth}]", who)}
    out = dict(_leaves(WHOM, adt.person(m)))
    out |= {} if adt.of_no_stay(m) else dict(_leaves(STAY, adt.stay(m, "", None, _SENDER, None)))
    return out | {f"{ASKED}: {o.what}": o.theirs for o in adt.otherwise(m, _OTHERWISE)}


def _leaves(at: str, node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(f"{at}.{key}", value)
    elif isinstance(node, list):
        for n, value in enumerate(node):
            yield from _leaves(f"{at}[{n}]", value)
    else:
        yield at, str(node)


# -- one field --------------------------------------------------------------------------------------------------------


def _landing(m: Message, made: Made, path: str, change: Change) -> dict[str, str]:
    segment, field = re.match(r"(\w+)(?:\[\d+\])?-(\d+)", path).groups()  # type: ignore[union-attr]
    if (segment, field) == ("MSH", "10"):
        return {"to": ACKNOWLEDGED, "why": "names the message: the same again is answered as before"}
    if segment == "MSH":
        return {"to": READ, "why": _HEAD} if field in _HEADER else {"to": "", "why": _NOTHING}
    if (segment, field) == ("PV1", "2") and adt.of_no_stay(m):
        return {"to": READ, "why": "`N`, or no number of a stay: an update of the person alone"}
    places, refused = _changes(made, change)
    if places:
        top = next(t for t in (FORMER, WHOM, STAY, ASKED) if any(p.startswith(t) for p in places))
        return {"to": ", ".join(_shortest(places)), "why": _WHY[top]}
    if (segment, field) in _SOMETIMES:
        to, why = _SOMETIMES[segment, field]
        return {"to": to, "why": why}
    if segment == "EVN":
        return {"to": READ, "why": _AGAIN if field == "2" else _HEAD}
    if refused:
        return {"to": READ, "why": _HEAD}
    if (segment, field) in _NUMBERS:
        return _authority(m, made, path)
    return {"to": "", "why": _NOTHING if segment in ("PID", "PV1", "MRG") else _NOT_TAKEN}


def _authority(m: Message, made: Made, path: str) -> dict[str, str]:
    """Of one number whose it is may be said twice, so that neither makes a difference alone."""
    number, _, part = path.rpartition(".")
    counts = part in ("4", "5") and any(p == f"{number}.1" and _changes(made, c)[0] for p, c in fields(m))
    return {"to": READ, "why": _AUTHORITY} if counts else {"to": "", "why": _OTHER_NUMBER}


def _changes(made: Made, change: Change) -> tuple[list[str], bool]:
    """What becomes other where a field says something else, or nothing; and whether the message would be refused then."""
    refusals = False
    for how in (_longer, _next, _another, _nothing):
        places, refused = _differing(made, change(how))
        refusals = refusals or refused
        if places:
            return places, refusals
    return [], refusals


def _longer(text: str) -> str:
    return f"{text}x"


def _next(text: str) -> str:
    return text[:-1] + str((int(text[-1]) + 1) % 10) if text[-1:].isascii() and text[-1:].isdigit() else text


def _another(text: str) -> str:
    """Another NHS number, where it is one."""
    bare = text.replace(" ", "").replace("-", "")
    return next((n for d in range(1, 100) if is_nhs_number(n := f"{int(bare) + d:010}")), text) if is_nhs_number(bare) else text


def _nothing(_text: str) -> str:
    return ""


def _differing(made: Made, changed: Message) -> tuple[list[str], bool]:
    """The places that differ, without their numbers, and whether it would be refused."""
    try:
        now = _made(changed)
    except Problem:
        return [], True
    places = sorted(k for k in {**made, **now} if made.get(k) != now.get(k))
    return list(dict.fromkeys(re.sub(r"\[\d+\]", "", p) for p in places)), False


def _shortest(places: list[str]) -> list[str]:
    """Several parts of one element are that element: `Encounter.class` for its system, code and display."""
    above = {p: p.rpartition(".")[0] for p in places}
    together = {a for a in above.values() if "." in a and sum(a == b for b in above.values()) > 1}
    return list(dict.fromkeys(above[p] if above[p] in together else p for p in places))


def fields(m: Message) -> Iterator[tuple[str, Change]]:
    """Every text that a message has, by its place, and the message with another there."""
    seen: dict[str, int] = {}
    for s, (name, fields) in enumerate(m.segments):
        seen[name] = nth = seen.get(name, 0) + 1
        for f, field in enumerate(fields):
            if f == 0 or (name == "MSH" and f < 3):
                continue
            for (r, c, sub), _text in _texts(field):
                at = f"{name}{f'[{nth}]' if nth > 1 else ''}-{f}{f'[{r + 1}]' if r else ''}"
                at += f".{c + 1}" if len(field[r]) > 1 else ""
                yield at + (f".{sub + 1}" if len(field[r][c]) > 1 else ""), _changing(m, s, f, (r, c, sub))


def _texts(field: Field) -> Iterator[tuple[tuple[int, int, int], str]]:
    for r, repetition in enumerate(field):
        for c, component in enumerate(repetition):
            for sub, text in enumerate(component):
                if text:
                    yield (r, c, sub), text


def _changing(m: Message, s: int, f: int, at: tuple[int, int, int]) -> Change:
    def changed(how: Callable[[str], str]) -> Message:
        name, fields = m.segments[s]
        field = [
            [[how(t) if (r, c, n) == at else t for n, t in enumerate(cs)] for c, cs in enumerate(rs)]
            for r, rs in enumerate(fields[f])
        ]
        segment = (name, (*fields[:f], field, *fields[f + 1 :]))
        return replace(m, segments=(*m.segments[:s], segment, *m.segments[s + 1 :]))

    return changed


__all__ = ["ACKNOWLEDGED", "ASKED", "READ", "bundle", "fields", "rows"]
