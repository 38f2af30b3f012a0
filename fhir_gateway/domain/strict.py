"""The strict JSON reader, and the splicer that stamps an id and a version into bytes without touching the rest.

What is stored is what was sent: whitespace, key order, escapes and the spelling of numbers stay. So the reader refuses
whatever two readers could understand differently (a name twice in one object, NaN, lone surrogates, nulls, empty arrays and objects),
and `stamp` edits text, not values. https://hl7.org/fhir/R4/json.html, https://www.rfc-editor.org/rfc/rfc8259
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from math import inf
from typing import Any, NamedTuple, NoReturn

import msgspec

from .problem import Problem

MAX_DEPTH = 64
MAX_DIGITS = 330  # a double written out without an exponent has 309 before its point
MAX_DOUBLE = 2**1024 - 2**971

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_members_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
_DIGITS = bytes(48 if chr(c) in "0123456789" else 32 for c in range(256))
_LONG = b"0" * 300
_BYTE = re.compile(r"\(byte (\d+)\)")
_SPACE = rb"[ \t\n\r]*"
_GAP = re.compile(_SPACE)
_NAME = re.compile(rb'[,{]' + _SPACE + rb'("(?:[^"\\]|\\.)*")' + _SPACE + rb":" + _SPACE, re.DOTALL)


# -- reading ----------------------------------------------------------------------------------------------------------


def read(raw: bytes) -> dict[str, Any]:
    """The one JSON object in `raw`, numbers with a fraction or exponent as exact Decimals.

    Problem `malformed`, with one sentence that says where: not JSON, not UTF-8, a byte order mark, NaN, lone surrogates,
    a name twice in one object, null, an empty array or object, more than 64 levels, text after the end, no object, a number that
    other readers cannot hold (beyond a double, either way, or of more than 330 characters).
    """
    value = _decoded(raw)
    if type(value) is not dict:
        _refuse("The body must be one JSON object, not " + _kind(value) + ".")
    # Encoded again without spaces, a name that was swallowed as a duplicate is a colon that is missing.
    # `\u003a` is a colon that appears only now; a body that spells it so is read the slow way.
    again = _encode(value)
    if raw.count(b":") != again.count(b":") or b"\\u003" in raw:
        _names_once(raw)
    # Rare as text, these are cheap to rule out as bytes; only when present is the object walked to know for certain.
    if b"null" in again or b"[]" in again or b"{}" in again:
        _no_emptiness(value)
    if _deeper_than(value, MAX_DEPTH):
        _refuse(f"The JSON is nested more than {MAX_DEPTH} levels deep.")
    return value


def deeper(raw: bytes, levels: int) -> bool:
    """Is this JSON nested more than so many levels deep? False for what is no JSON: its reader says why."""
    try:
        value = _decode(raw)
    except RecursionError:
        return True
    except (ValueError, ArithmeticError):
        return False
    return type(value) in (dict, list) and _deeper_than(value, levels)


def beyond(raw: bytes, items: int, members: int) -> str:
    """What of this JSON is too much: a list of more than `items`, more than `members` names of objects in all; "" for neither.

    Where the bytes are too few for either nothing is read. "" for what is no JSON: its reader says why.
    """
    if raw.count(b",") < items and raw.count(b":") <= members:
        return ""
    try:
        layer: list[Any] = [_decode(raw)]
    except (ValueError, ArithmeticError, RecursionError):
        return ""
    count = 0
    while layer:
        below: list[Any] = []
        for holder in layer:
            if type(holder) is dict:
                count += len(holder)
                below += holder.values()
            elif type(holder) is list:
                if len(holder) > items:
                    return f"a list of {len(holder)} items, and {items} are the most"
                below += holder
        layer = below
    return f"{count} elements, and {members} are the most" if count > members else ""


def read_list(raw: bytes) -> list[Any]:
    """The one JSON list in `raw` (a JSON Patch), as strict about names, numbers and depth; what is empty or null may stand in it."""
    value = _decoded(raw)
    if type(value) is not list:
        _refuse("The body must be a JSON list, not " + ("an object" if type(value) is dict else _kind(value)) + ".")
    if raw.count(b":") != _encode(value).count(b":") or b"\\u003" in raw:
        _names_once(raw)
    if _deeper_than(value, MAX_DEPTH):
        _refuse(f"The JSON is nested more than {MAX_DEPTH} levels deep.")
    return value


def decode(text: bytes) -> Any:
    """The value of JSON text that was read before, or that `dump` made: what is stored, numbers exact as `read` makes them.

    It takes any number that an earlier release let in: one that stands in a store must not close the record it stands in.
    """
    return _decode(text)


def dump(value: Any) -> bytes:
    """JSON text of `value` without spaces; Decimals as numbers, every digit kept."""
    return _encode(value)


def _decoded(raw: bytes) -> Any:
    if raw[:3] == b"\xef\xbb\xbf":
        _refuse("The body begins with a byte order mark; send plain UTF-8.")
    try:
        raw.decode()  # msgspec looks at the text of strings only, and reports a place inside the string
        value = _decode_new(raw)
    except UnicodeDecodeError as wrong:
        _refuse(f"The body is not valid UTF-8 ({_place(raw, wrong.start)}).")
    except Beyond as wrong:
        _refuse_number(raw, wrong.number)
    except msgspec.DecodeError as wrong:
        said = str(wrong)
        if "out of range" in said:  # a whole number of thousands of digits, which Python does not read either
            _refuse("The body holds a number that is too long to keep exactly.")
        at = _BYTE.search(said)
        place = _place(raw, int(at[1]) - ("trailing characters" in said)) if at else "at the end"
        what = said.split(":", 1)[-1].split("(byte")[0].strip()
        _refuse(f"The body is not valid JSON: {what[:1].lower()}{what[1:]} ({place}).")
    except RecursionError:
        _refuse(f"The JSON is nested more than {MAX_DEPTH} levels deep.")
    if _LONG in raw.translate(_DIGITS):
        _whole_numbers(raw, value)
    return value


class Beyond(ArithmeticError):
    """A number that no double comes near, or of more than 330 characters."""

    def __init__(self, number: str) -> None:
        super().__init__(number)
        self.number = number


def exactly(text: str) -> Decimal:
    """A number with a fraction or an exponent. Beyond, when no double comes near it: many other readers have nothing else."""
    near = float(text)
    if near in (inf, -inf) or len(text) > MAX_DIGITS:
        raise Beyond(text)
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        raise Beyond(text) from None
    if near == 0 and (number != 0 or abs(number.adjusted()) > MAX_DIGITS):
        raise Beyond(text)
    return number


def whole(text: str) -> int:
    """A number without either. Beyond, as `exactly`."""
    if len(text) > 300 and (len(text) > MAX_DIGITS or abs(int(text)) > MAX_DOUBLE):
        raise Beyond(text)
    return int(text)


_decode_new = msgspec.json.Decoder(float_hook=exactly).decode


def _whole_numbers(raw: bytes, value: Any) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is dict:
            waiting.extend(item.values())
        elif type(item) is list:
            waiting.extend(item)
        elif type(item) is int and not -MAX_DOUBLE <= item <= MAX_DOUBLE:
            _refuse_number(raw, str(item))


def _refuse_number(raw: bytes, number: str) -> NoReturn:
    at = re.search(rb"[:,\[\s]" + re.escape(number.encode()), raw)
    place = _place(raw, at.start() + 1 if at else 0)
    shown = number if len(number) <= 40 else number[:40] + "…"
    _refuse(f"The number `{shown}` is beyond what other systems can hold ({place}): at most {MAX_DIGITS} characters, and within a double.")


def _names_once(raw: bytes) -> None:
    try:
        json.loads(raw, object_pairs_hook=_once, parse_int=str)
    except RecursionError:
        _refuse(f"The JSON is nested more than {MAX_DEPTH} levels deep.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) == len(pairs):
        return out
    seen: set[str] = set()
    name = next(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]
    kind = out.get("resourceType")
    _refuse(f"The name `{name[:64]}` stands twice in the same object" + (f" (a {kind})." if isinstance(kind, str) else "."), name[:64])


def _no_emptiness(root: Any) -> None:
    """Refuse null and empty containers. A null inside an array of primitives is FHIR's own: it holds the place of an id or extension."""
    for where, value, holder in _walk(root, str(root.get("resourceType") or ""), None):
        if value is None:
            if not _placeholder(where, holder):
                _refuse(f"`{where}` is null; leave it out instead.", where)
        elif type(value) in (dict, list) and not value:
            _refuse(f"{f'`{where}`' if where else 'The object'} is empty; leave it out instead.", where)


def _placeholder(where: str, holder: Any) -> bool:
    """https://hl7.org/fhir/R4/json.html#primitive: `"code": ["au", null], "_code": [null, {...}]`, the two of one length,
    never null in both places."""
    if not isinstance(holder, _Pair):
        return False
    mine, other, at = holder
    return type(other) is list and len(other) == len(mine) and other[at] is not None


class _Pair(NamedTuple):
    mine: list[Any]
    other: Any
    at: int


def _walk(value: Any, where: str, holder: _Pair | None) -> Iterator[tuple[str, Any, _Pair | None]]:
    yield where, value, holder
    if type(value) is dict:
        for name, item in value.items():
            place = f"{where}.{name}" if where else name
            if type(item) is list:
                yield place, item, None
                twin = value.get(name[1:] if name[:1] == "_" else "_" + name)
                for i, part in enumerate(item):
                    yield from _walk(part, f"{place}[{i}]", _Pair(item, twin, i))
            else:
                yield from _walk(item, place, None)
    elif type(value) is list:  # an array in an array; the validator refuses it by name
        for i, part in enumerate(value):
            yield from _walk(part, f"{where}[{i}]", None)


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels):
        below: list[Any] = []
        for holder in layer:
            for item in holder.values() if type(holder) is dict else holder:
                if type(item) is dict or type(item) is list:
                    below.append(item)
        if not below:
            return False
        layer = below
    return True


def _place(raw: bytes, at: int) -> str:
    before = raw[:at]
    return f"line {before.count(10) + 1}, column {at - before.rfind(10)}"


def _kind(value: Any) -> str:
    return {list: "an array", str: "a string", bool: "true or false", type(None): "null"}.get(type(value), "a number")


def _refuse(text: str, where: str = "") -> NoReturn:
    raise Problem("malformed", text, where) from None


# -- splicing ---------------------------------------------------------------------------------------------------------


class _Member(NamedTuple):
    """One `"name": value` of an object: where it and its value begin and end."""

    start: int
    value: int
    end: int


def stamp(raw: bytes, *, id: str, version: str, updated: str, security: list[dict[str, Any]] | None = None) -> bytes:
    """The same bytes with `id`, `meta.versionId`, `meta.lastUpdated` and, when given, `meta.security` set.

    An empty `security` removes the labels. `raw` must be what `read` accepted.
    """
    members = _members(raw, 0)
    meta = {"versionId": version, "lastUpdated": updated, **({} if security is None else {"security": security})}
    if "meta" in members:
        whole = members["meta"]
        text = raw[whole.value : whole.end]
        for name, value in meta.items():
            text = _set(text, name, _encode(value)) if value != [] else _without(text, (name,))
        raw = raw[: whole.value] + text + raw[whole.end :]
    else:
        raw = _set(raw, "meta", _encode({k: v for k, v in meta.items() if v != []}), after=("id", "resourceType"))
    return _set(raw, "id", _encode(id), after=("resourceType",))


def unstamp(raw: bytes) -> bytes:
    """The same bytes without `id`, `meta.versionId` and `meta.lastUpdated`: what is left is the content, to be compared.

    `unstamp(stamp(raw, ...)) == unstamp(raw)` whenever no `security` was given.
    """
    whole = _members(raw, 0).get("meta")
    if whole is not None:
        meta = _without(raw[whole.value : whole.end], ("versionId", "lastUpdated"))
        raw = raw[: whole.value] + meta + raw[whole.end :]
        if not _members(meta, 0):
            raw = _without(raw, ("meta",))
    return _without(raw, ("id",))


def _members(raw: bytes, start: int) -> dict[str, _Member]:
    """The members of the object that begins at `start`, in order. Values are skipped by msgspec, not by a scanner of ours."""
    out: dict[str, _Member] = {}
    at = _GAP.match(raw, start).end()  # type: ignore[union-attr]
    for name, value in _members_of(raw).items():
        head = _NAME.match(raw, at)
        assert head is not None
        end = head.end() + len(memoryview(value))
        out[name] = _Member(head.start(1), head.end(), end)
        at = _GAP.match(raw, end).end()  # type: ignore[union-attr]
    return out


def _set(raw: bytes, name: str, value: bytes, *, after: tuple[str, ...] = ()) -> bytes:
    """Replace one member's value, or insert the member after the first of `after` that is there, else at the end."""
    members = _members(raw, 0)
    if name in members:
        return raw[: members[name].value] + value + raw[members[name].end :]
    new = _encode(name) + b":" + value
    if not members:
        brace = raw.index(b"{") + 1
        return raw[:brace] + new + raw[brace:]
    before = next((members[n] for n in after if n in members), list(members.values())[-1])
    return raw[: before.end] + b"," + new + raw[before.end :]


def _without(raw: bytes, names: tuple[str, ...]) -> bytes:
    """Take members out, each with the comma (and the space) that joined it to the one before; of the first, to the one after."""
    for name in names:
        members = _members(raw, 0)
        if name not in members:
            continue
        order = list(members)
        i, mine = order.index(name), members[name]
        if i > 0:
            raw = raw[: members[order[i - 1]].end] + raw[mine.end :]
        elif len(order) > 1:
            raw = raw[: mine.start] + raw[members[order[1]].start :]
        else:
            raw = raw[: mine.start] + raw[mine.end :]
    return raw
