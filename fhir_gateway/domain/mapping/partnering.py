"""A partner's document to a plan and back, by the rows of a mapping file (`partner`)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .paths import MISSING

if TYPE_CHECKING:
    from .partner import Constants, Partner, PartnerRow

Dry = list[dict[str, str]]


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
        there = _get(plan, row.plan)
        path, to = at + ".".join(row.theirs), plan_at + ".".join(row.plan)
        made = _made(value, row, beside, path, to, dry, len(there) if isinstance(there, list) else 0)
        if made is not MISSING:
            _take(rest, row.theirs)
            _put(plan, row.plan, [*there, *made] if isinstance(there, list) else made)
            if not row.rows:
                dry.append({"path": path, "to": to, "why": ""})
    if rest:
        plan[beside] = rest
        dry += [{"path": at + p, "to": f"{plan_at}{beside}", "why": "no row; kept beside"} for p in _leaves(rest)]
    return plan


def _made(value: Any, row: PartnerRow, beside: str, path: str, to: str, dry: Dry, after: int) -> Any:
    """The value as the plan has it; MISSING where it cannot be one and has to stay beside. `after`: how many the list has already."""
    if row.shape == "each":
        if not isinstance(value, list) or any(not isinstance(v, Mapping) for v in value) or (row.joined and not value):
            return MISSING
        return [_thing(v, row, beside, f"{path}[{n}].", f"{to}[{n + after}].", dry) for n, v in enumerate(value)]
    if row.shape == "one":
        return [_thing(value, row, beside, f"{path}.", f"{to}[{after}].", dry)] if isinstance(value, Mapping) else MISSING
    if row.shape == "pairs":
        key, said = row.pairs
        if not isinstance(value, Mapping) or not value or not all(isinstance(v, (str, int, Decimal)) for v in value.values()):
            return MISSING
        return [{key: k, said: v} for k, v in value.items()]
    return row.change.into(value) if row.change is not None else copy.deepcopy(value)


def _thing(theirs: Mapping[str, Any], row: PartnerRow, beside: str, at: str, plan_at: str, dry: Dry) -> dict[str, Any]:
    out = _into(theirs, row.rows, beside, at, plan_at, dry)
    for path, value in row.always:
        _put(out, path, copy.deepcopy(value))
    return out


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
    told: dict[tuple[str, ...], set[int]] = {}
    for row in rows:
        value = _get(plan, row.plan)
        if value is MISSING:
            continue
        path, to = at + ".".join(row.plan), their_at + ".".join(row.theirs)
        if row.rows and isinstance(value, list) and all(isinstance(v, Mapping) for v in value):
            mine = [n for n, v in enumerate(value) if _is_so(v, row.always) and n not in told.get(row.plan, ())]
            mine = mine[:1] if row.shape == "one" else mine
            told.setdefault(row.plan, set()).update(mine)
            if mine or not (row.joined or value or row.shape == "one"):
                many = [_out(_without(value[n], row.always), row.rows, beside, f"{path}[{n}].", f"{to}[{i}].", dry) for i, n in enumerate(mine)]
                _put(out, row.theirs, many[0] if row.shape == "one" else many, over=False)
            continue
        if row.joined or row.shape == "one":
            continue
        _take(rest, row.plan)
        _put(out, row.theirs, _said(value, row), over=False)
        dry.append({"path": path, "to": to, "why": ""})
    for where, taken in told.items():
        left = [v for n, v in enumerate(_get(plan, where)) if n not in taken]
        _put(rest, where, left)
        if not left:
            _take(rest, where)
    dry += [{"path": at + p, "to": "", "why": "they have no place for it"} for p in _leaves(rest)]
    return out


def _said(value: Any, row: PartnerRow) -> Any:
    """The plan's value as they write it; as it is where they cannot."""
    if row.shape == "pairs":
        key, said = row.pairs
        fits = isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) and v.keys() == {key, said} and isinstance(v[key], str) for v in value)
        if fits and len({v[key] for v in value}) == len(value):
            return {v[key]: copy.deepcopy(v[said]) for v in value}
    elif row.change is not None:
        return row.change.back(value)
    return copy.deepcopy(value)


def _is_so(thing: Mapping[str, Any], always: Constants) -> bool:
    return all(type(said := _get(thing, path)) is type(value) and said == value for path, value in always)


def _without(thing: Mapping[str, Any], always: Constants) -> dict[str, Any]:
    out: dict[str, Any] = copy.deepcopy(dict(thing))
    for path, _ in always:
        _take(out, path)
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
