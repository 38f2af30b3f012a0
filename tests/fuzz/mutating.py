"""Small changes to an example: of its bytes, or of the JSON in it. One seed, one change; atheris and hypothesis use the same."""

from __future__ import annotations

import json
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 0.5, 1e400, [], {}, [[]], [None], [{}], {"": ""}, [1, "a"], "", " ", "a", "null",
    "\x00", "\ud800", "\u0660\u0661\u0662\u0663", "\u00b2", "\u202e", "\ufeff", "../..", "#", "#a", "urn:uuid:", "urn:oid:1", "http://", "x" * 300, "0000",
    "9999-12-31", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-02-30", "2026-11-26T24:00:00Z", "T", "1e9999", "Patient/a", "a|b", "|",
    "$", ",", "\\", "%", "{{7*7}}", "<b>", "Goal", "Consent", "resourceType", {"reference": "Patient/a"}, {"coding": [{}]}, {"resourceType": "Goal"},
)  # fmt: skip
BYTES = (
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\u0000", b"\\ud800", b"\\u003a", b"null", b"1e400", b"-0", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xff",
    b"\x00", b"\n", b"&", b"=", b"%00", b"%ED%A0%80", b".", b"-", b"<", b">", b"<![CDATA[", b"]]>", b"&#0;", b"<?a?>", b"<!--", b"xmlns=", b"'", b"(", b")", b"*a", b"&a ",
    b"<<: ", b"!!python/object:", b"? ", b"- ", b"$this", b"0", b"9" * 30, "\u0661".encode(), "\u00b2".encode(), b":not", b"_has:", b"|", b"$",
)  # fmt: skip


def mutated(data: bytes, seed: int) -> bytes:
    """`data` with one to four changes."""
    dice = Random(seed)
    for _ in range(dice.randint(1, 4)):
        data = (dice.random() < 0.6 and _in_json(data, dice)) or _in_bytes(data, dice)
    return data


def _in_bytes(data: bytes, dice: Random) -> bytes:
    at = dice.randint(0, len(data))
    to = min(len(data), at + dice.choice((0, 1, 1, 2, 4, 8, 32)))
    match dice.randrange(5):
        case 0:
            return data[:at] + data[to:]
        case 1:
            return data[:at] + data[at:to] * dice.choice((2, 3, 40)) + data[to:]
        case 2:
            return data[:at] + bytes([dice.randrange(256)]) + data[to:]
        case 3:
            other = dice.randint(0, len(data))
            return data[:at] + data[other : other + 16] + data[to:]
    return data[:at] + dice.choice(BYTES) + data[to:]


def _in_json(data: bytes, dice: Random) -> bytes | None:
    """A change of one value somewhere inside; None where there is no JSON."""
    try:
        root: Any = [json.loads(data)]
    except (ValueError, RecursionError):
        return None
    places = list(_places(root))
    holder, key = dice.choice(places)
    other = dice.choice(places)
    match dice.randrange(7):
        case 0 if len(places) > 1 and holder is not root:
            del holder[key]
        case 1:
            holder[key] = [holder[key]]
        case 2:
            holder[key] = _copy(other[0][other[1]])
        case 3 if isinstance(holder, dict):
            holder[dice.choice((f"_{key}", f"{key}x", key[:-1], "extension", "id", "modifierExtension"))] = _copy(holder[key])
        case 4 if isinstance(holder, list) and holder is not root:
            holder.insert(key, _copy(holder[key]))
        case 5 if isinstance(holder[key], str):
            text = _in_bytes(holder[key].encode("utf-8", "surrogatepass"), dice)
            holder[key] = text.decode("utf-8", "replace")
        case _:
            holder[key] = _copy(dice.choice(ODD))
    return json.dumps(root[0], ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")


def _places(node: Any) -> Any:
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, (dict, list)):
            yield from _places(value)


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value)) if isinstance(value, (dict, list)) else value
