"""A partner's own format to the plan and back, from a mapping file alone: `compile_partner(name, data, ...)`.

    partner: ward-actions            the file's name for itself
    version: 1
    about: What the ward's list holds.
    rows:
      - {theirs: patient.number, plan: person.nhs_number}          one field, one field
      - {theirs: state, plan: status, words: {todo: ready}}        a word by a list of words, one-to-one unless `lossy: true`
      - {theirs: tasks, plan: actions, each: [...]}                a list of things, with rows of its own
    always: {id: ward-plan}                                        what the plan needs and they do not say

What has no row stays beside, under `x_<partner>` of the object it was found in, and comes back with `from_plan`. Values are data.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .paths import MISSING
from .tables import TableError

WORDS: Final = frozenset({"theirs", "plan", "words", "lossy", "each", "about"})
MOST_KEYS: Final = 30  # of a path: a resource is nested 64 levels at most
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}\Z")

Dry = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class PartnerRow:
    """One field: `theirs` and `plan` are paths of keys; `words` (both ways) and `each` where the row has them."""

    theirs: tuple[str, ...]
    plan: tuple[str, ...]
    into: Mapping[str, Any] | None
    back: Mapping[str, str] | None
    each: tuple[PartnerRow, ...] | None


@dataclass(frozen=True, slots=True)
class Partner:
    """A compiled mapping file of a partner."""

    name: str
    about: str
    rows: tuple[PartnerRow, ...]
    always: Mapping[str, Any]

    @property
    def beside(self) -> str:
        """The key under which what has no row travels."""
        return f"x_{self.name.replace('-', '_')}"


# -- loading ----------------------------------------------------------------------------------------------------------


def compile_partner(file: str, data: Any, known: Collection[str]) -> Partner:
    """`known`: the keys a plan may begin with. TableError names file and row."""
    if not isinstance(data, Mapping) or not {"partner", "rows"} <= data.keys():
        raise TableError(f"{file}: a partner's mapping needs `partner` and `rows`")
    if not _NAME.match(str(data["partner"])):
        raise TableError(f"{file}: `partner` is a short name in small letters, like `ward-actions`")
    unknown = data.keys() - {"partner", "version", "about", "rows", "always"}
    if unknown:
        raise TableError(f"{file}: `{sorted(map(str, unknown))[0]}` is not a word for a partner's mapping")
    rows = _rows(file, data["rows"], known, "")
    always = data.get("always") or {}
    if not isinstance(always, Mapping):
        raise TableError(f"{file}: `always` is a list of keys of the plan, each with its value")
    for key in always:
        _path(file, "always", key, known)
    return Partner(str(data["partner"]), str(data.get("about", "")), rows, dict(always))


def _rows(file: str, rows: Any, known: Collection[str] | None, below: str) -> tuple[PartnerRow, ...]:
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise TableError(f"{file}: `rows`{below} must be a list of rows")
    out: list[PartnerRow] = []
    for n, row in enumerate(rows, 1):
        made = _row(file, f"row {n}{below}", row, known)
        for other in out:
            for mine, his, what in ((made.plan, other.plan, "plan"), (made.theirs, other.theirs, "theirs")):
                if mine[: len(his)] == his or his[: len(mine)] == mine:
                    raise TableError(f"{file}, row {n}{below}: `{what}: {'.'.join(mine)}` has a row already")
        out.append(made)
    return tuple(out)


def _row(file: str, where: str, row: Any, known: Collection[str] | None) -> PartnerRow:
    if not isinstance(row, Mapping) or not {"theirs", "plan"} <= row.keys():
        raise TableError(f"{file}, {where}: a row needs `theirs` and `plan`")
    unknown = row.keys() - WORDS
    if unknown:
        raise TableError(f"{file}, {where}: `{sorted(map(str, unknown))[0]}` is not a word for a row")
    plan = _path(file, where, row["plan"], known)
    each = _rows(file, row["each"], None, f" of `{row['theirs']}`") if "each" in row else None
    into, back = _both_ways(file, where, row)
    return PartnerRow(_path(file, where, row["theirs"], None), plan, into, back, each)


def _path(file: str, where: str, path: Any, known: Collection[str] | None) -> tuple[str, ...]:
    if not isinstance(path, str) or not path or any(not part for part in path.split(".")):
        raise TableError(f"{file}, {where}: `{path}` is not a path of keys, like person.name.family (quote `on`, which YAML takes for a yes)")
    keys = tuple(path.split("."))
    if len(keys) > MOST_KEYS:
        raise TableError(f"{file}, {where}: `{path[:60]}…` has {len(keys)} keys, and {MOST_KEYS} are the most")
    if known is not None and keys[0] not in known:
        raise TableError(f"{file}, {where}: a plan has no `{keys[0]}`")
    return keys


def _both_ways(file: str, where: str, row: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, Mapping[str, str] | None]:
    words = row.get("words")
    if words is None:
        return None, None
    if not isinstance(words, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in words.items()):
        raise TableError(f"{file}, {where}: `words` gives each of their words one of ours, as text (quote yes, no and on)")
    back: dict[str, str] = {}
    for theirs, ours in words.items():
        if ours in back and row.get("lossy") is not True:
            raise TableError(f"{file}, {where}: `{theirs}` and `{back[ours]}` both become `{ours}`: say `lossy: true`")
        back.setdefault(ours, theirs)
    return dict(words), back


# -- theirs to the plan -----------------------------------------------------------------------------------------------


def to_plan(theirs: Mapping[str, Any], partner: Partner) -> tuple[dict[str, Any], Dry]:
    """The plan in a partner's document, and `{path, to, why}` of each of their fields; nothing of it is lost."""
    dry: Dry = []
    plan = _into(theirs, partner.rows, partner.beside, "", "", dry)
    out: dict[str, Any] = {"plan": "1"}
    for key, value in partner.always.items():
        _put(plan, tuple(key.split(".")), value, over=False)
    return out | plan, dry


def _into(theirs: Mapping[str, Any], rows: Sequence[PartnerRow], beside: str, at: str, plan_at: str, dry: Dry) -> dict[str, Any]:
    rest: Any = copy.deepcopy(dict(theirs))
    plan: dict[str, Any] = {}
    for row in rows:
        value = _get(theirs, row.theirs)
        if value is MISSING:
            continue
        path, to = at + ".".join(row.theirs), plan_at + ".".join(row.plan)
        made = _made(value, row, beside, path, to, dry)
        if made is not MISSING:
            _take(rest, row.theirs)
            _put(plan, row.plan, made)
            if row.each is None:
                dry.append({"path": path, "to": to, "why": ""})
    if rest:
        plan[beside] = rest
        dry += [{"path": at + p, "to": f"{plan_at}{beside}", "why": "no row; kept beside"} for p in _leaves(rest)]
    return plan


def _made(value: Any, row: PartnerRow, beside: str, path: str, to: str, dry: Dry) -> Any:
    """The value as the plan has it; MISSING where it cannot be one and has to stay beside."""
    if row.each is not None:
        if not isinstance(value, list) or any(not isinstance(v, Mapping) for v in value):
            return MISSING
        return [_into(v, row.each, beside, f"{path}[{n}].", f"{to}[{n}].", dry) for n, v in enumerate(value)]
    if row.into is not None:
        return row.into.get(value, MISSING) if isinstance(value, str) else MISSING
    return copy.deepcopy(value)


# -- and back ---------------------------------------------------------------------------------------------------------


def from_plan(plan: Mapping[str, Any], partner: Partner) -> tuple[dict[str, Any], Dry]:
    """A partner's document of a plan, and `{path, to, why}` of what they have no place for."""
    dry: Dry = []
    plain = {k: v for k, v in plan.items() if k != "plan" and not (k in partner.always and partner.always[k] == v)}
    return _out(plain, partner.rows, partner.beside, "", "", dry), dry


def _out(plan: Mapping[str, Any], rows: Sequence[PartnerRow], beside: str, at: str, their_at: str, dry: Dry) -> dict[str, Any]:
    rest: Any = copy.deepcopy(dict(plan))
    kept = rest.pop(beside, None)
    out: dict[str, Any] = copy.deepcopy(dict(kept)) if isinstance(kept, Mapping) else {}
    for row in rows:
        value = _get(plan, row.plan)
        if value is MISSING:
            continue
        path, to = at + ".".join(row.plan), their_at + ".".join(row.theirs)
        if row.each is not None and isinstance(value, list) and all(isinstance(v, Mapping) for v in value):
            made: Any = [_out(v, row.each, beside, f"{path}[{n}].", f"{to}[{n}].", dry) for n, v in enumerate(value)]
        elif row.back is not None:
            made = row.back.get(value, value) if isinstance(value, str) else value
        else:
            made = copy.deepcopy(value)
        _take(rest, row.plan)
        _put(out, row.theirs, made, over=False)
        if row.each is None:
            dry.append({"path": path, "to": to, "why": ""})
    dry += [{"path": at + p, "to": "", "why": "they have no place for it"} for p in _leaves(rest)]
    return out


# -- paths of keys ----------------------------------------------------------------------------------------------------


def _get(node: Any, path: Sequence[str]) -> Any:
    for key in path:
        if not isinstance(node, Mapping) or key not in node:
            return MISSING
        node = node[key]
    return node


def _take(node: dict[str, Any], path: Sequence[str]) -> None:
    """Remove what has been told, and what it leaves empty above it."""
    if len(path) > 1:
        _take(node[path[0]], path[1:])
        if node[path[0]]:
            return
    del node[path[0]]


def _put(node: dict[str, Any], path: Sequence[str], value: Any, over: bool = True) -> None:
    for key in path[:-1]:
        below = node.setdefault(key, {})
        if not isinstance(below, dict):
            return
        node = below
    if over:
        node[path[-1]] = value
    else:
        node.setdefault(path[-1], copy.deepcopy(value))


def _leaves(node: Mapping[str, Any], at: str = "") -> list[str]:
    out: list[str] = []
    for key, value in node.items():
        out += _leaves(value, f"{at}{key}.") if isinstance(value, Mapping) and value else [f"{at}{key}"]
    return out
