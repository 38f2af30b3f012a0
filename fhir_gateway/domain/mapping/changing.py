"""How a partner writes one value, and the plan: words, dates, numbers, lists in one text. Exact both ways, or not at all: a value that
would not come back as it was written stays beside, but for words and dates that are `lossy`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from .paths import MISSING
from .primitives import is_date

CHANGES: Final = ("words", "date", "number", "text", "split")
_PARTS: Final = {"YYYY": r"(?P<y>\d{4})", "MM": r"(?P<m>\d{2})", "DD": r"(?P<d>\d{2})", "M": r"(?P<m>\d{1,2})", "D": r"(?P<d>\d{1,2})"}
_SHORT: Final = {"MM": "M", "DD": "D"}
_WHOLE: Final = re.compile(r"-?[1-9][0-9]{0,17}|0")


class Change(NamedTuple):
    """`into` gives the plan's value or MISSING; `back` gives theirs, or the value as it is."""

    into: Callable[[Any], Any]
    back: Callable[[Any], Any]


def change(row: Mapping[str, Any]) -> Change | None:
    """What this row of a partner's mapping asks for; None where values are taken as they are. ValueError says what is wrong."""
    asked = [name for name in CHANGES if name in row]
    if not asked:
        return None
    if len(asked) > 1:
        raise ValueError(f"`{asked[0]}` and `{asked[1]}` do not go together")
    given = row[asked[0]]
    match asked[0]:
        case "words":
            return _words(given, row.get("lossy") is True)
        case "date":
            return _dates(given, row.get("lossy") is True)
        case "number":
            if given is not True:
                raise ValueError("`number` is `true`")
            return _exactly(_number, str)
        case "text":
            if given is not True:
                raise ValueError("`text` is `true`")
            return Change(_as_text, lambda value: int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value)
        case _:
            if not isinstance(given, str) or not given:
                raise ValueError("`split` is the text between two things, like `; `")
            return _exactly(lambda text: text.split(given), lambda things: given.join(things))


def _exactly(into: Callable[[str], Any], back: Callable[[Any], str], lossy: bool = False) -> Change:
    """Only what would come back as it is written; `lossy`: also what comes back as they write it elsewhere."""

    def there(value: Any) -> Any:
        made = into(value) if isinstance(value, str) else MISSING
        return made if made is not MISSING and (lossy or again(made) == value) else MISSING

    def again(value: Any) -> Any:
        try:
            return back(value)
        except (TypeError, ValueError):
            return value

    return Change(there, again)


def _words(given: Any, lossy: bool) -> Change:
    if not isinstance(given, Mapping) or not all(isinstance(k, str) and isinstance(v, (str, bool)) for k, v in given.items()):
        raise ValueError("`words` gives each of their words one of ours, as text (quote yes, no and on)")
    into: dict[str, Any] = dict(given)
    back: dict[tuple[type, Any], str] = {}
    for theirs, ours in into.items():
        if (type(ours), ours) in back and not lossy:
            raise ValueError(f"`{theirs}` and `{back[type(ours), ours]}` both become `{ours}`: say `lossy: true`")
        back.setdefault((type(ours), ours), theirs)
    return Change(
        lambda value: into.get(value, MISSING) if isinstance(value, str) else MISSING,
        lambda value: back.get((type(value), value), value) if isinstance(value, (str, bool)) else value,
    )


def _dates(given: Any, lossy: bool) -> Change:
    """`DD/MM/YYYY` and its like: each of the three once, and what stands between; `D/M/YYYY` is without zeros. `lossy` takes days with and without."""
    spelled = re.split(r"(YYYY|MM|DD|M|D)", given) if isinstance(given, str) else []
    if sorted(p[0] for p in spelled[1::2]) != ["D", "M", "Y"]:
        raise ValueError("`date` says how they write a day, like DD/MM/YYYY")
    read = [_SHORT.get(p, p) for p in spelled] if lossy else spelled
    if {"D", "M"} & {*read} and any(not between or between[0].isdigit() or between[-1].isdigit() for between in (spelled[2], spelled[4])):
        raise ValueError("`date` without zeros (D/M/YYYY, or `lossy`) needs something between day, month and year")
    pattern = re.compile("".join(_PARTS.get(p) or re.escape(p) for p in read) + r"\Z", re.ASCII)

    def into(text: str) -> Any:
        m = pattern.match(text)
        day = f"{m['y']}-{m['m']:0>2}-{m['d']:0>2}" if m else ""
        return day if is_date(day) else MISSING

    def back(day: str) -> str:
        if not is_date(day) or len(day) != 10:
            raise ValueError(day)
        said = {"YYYY": day[:4], "MM": day[5:7], "DD": day[8:], "M": day[5:7].lstrip("0"), "D": day[8:].lstrip("0")}
        return "".join(said.get(p, p) for p in spelled)

    return _exactly(into, back, lossy)


def _as_text(value: Any) -> Any:
    """A whole number of theirs where the plan has a text: 9990000018."""
    return text if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18 and _WHOLE.fullmatch(text := str(value)) else MISSING


def _number(text: str) -> Any:
    if re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        return int(text)
    try:
        return Decimal(text) if re.fullmatch(r"-?\d{1,9}\.\d{1,9}", text, re.ASCII) else MISSING
    except InvalidOperation:
        return MISSING
