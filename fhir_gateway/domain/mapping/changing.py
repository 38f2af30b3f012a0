"""How a partner writes one value, and the plan: words, dates, numbers, lists in one text. Exact both ways, or not at all: a value that
would not come back as it was written stays beside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

from .paths import MISSING
from .primitives import is_date

CHANGES: Final = ("words", "date", "number", "split")
_PARTS: Final = {"YYYY": r"(?P<y>\d{4})", "MM": r"(?P<m>\d{2})", "DD": r"(?P<d>\d{2})"}


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
            return _dates(given)
        case "number":
            if given is not True:
                raise ValueError("`number` is `true`")
            return _exactly(_number, str)
        case _:
            if not isinstance(given, str) or not given:
                raise ValueError("`split` is the text between two things, like `; `")
            return _exactly(lambda text: text.split(given), lambda things: given.join(things))


def _exactly(into: Callable[[str], Any], back: Callable[[Any], str]) -> Change:
    """Only what would come back as it is written."""

    def there(value: Any) -> Any:
        made = into(value) if isinstance(value, str) else MISSING
        return made if made is not MISSING and again(made) == value else MISSING

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


def _dates(given: Any) -> Change:
    """`DD/MM/YYYY` and its like: each of the three once, and what stands between."""
    if not isinstance(given, str) or sorted(re.findall(r"YYYY|MM|DD", given)) != ["DD", "MM", "YYYY"]:
        raise ValueError("`date` says how they write a day, like DD/MM/YYYY")
    spelled = re.split(r"(YYYY|MM|DD)", given)
    pattern = re.compile("".join(_PARTS.get(p) or re.escape(p) for p in spelled) + r"\Z", re.ASCII)

    def into(text: str) -> Any:
        m = pattern.match(text)
        day = f"{m['y']}-{m['m']}-{m['d']}" if m else ""
        return day if is_date(day) else MISSING

    def back(day: str) -> str:
        if not is_date(day) or len(day) != 10:
            raise ValueError(day)
        return given.replace("YYYY", day[:4]).replace("MM", day[5:7]).replace("DD", day[8:])

    return _exactly(into, back)


def _number(text: str) -> Any:
    if re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        return int(text)
    try:
        return Decimal(text) if re.fullmatch(r"-?\d{1,9}\.\d{1,9}", text, re.ASCII) else MISSING
    except InvalidOperation:
        return MISSING
