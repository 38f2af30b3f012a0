"""The strict reader and the splicer: what is stored is what was sent."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.domain import strict
from fhir_gateway.domain.problem import Problem

# FHIR's JSON: no null, nothing empty, numbers exact.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
LEAVES = (
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.decimals(allow_nan=False, allow_infinity=False).filter(lambda d: abs(d.adjusted()) < 300 and len(str(d)) < 320)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, min_size=1, max_size=4) | st.dictionaries(NAMES, inner, min_size=1, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=6)
SPACES = st.sampled_from(["", " ", "\n  ", "\t"])


def _refused(raw: bytes) -> str:
    with pytest.raises(Problem) as caught:
        strict.read(raw)
    assert caught.value.kind == "malformed"
    return caught.value.text


@given(OBJECTS)
def test_what_is_dumped_is_read_back_to_the_last_digit(value: dict[str, Any]) -> None:
    again = strict.read(strict.dump(value))
    assert again == value
    assert strict.dump(again) == strict.dump(value)  # 1.0 is not 1.00


@pytest.mark.parametrize("number", ["1.50", "0.1000000000000000000000000001", "1e3", "-0.0", "100000000000000000000000", "1.0E-9"])
def test_decimals_keep_their_digits(number: str) -> None:
    value = strict.read(b'{"n":' + number.encode() + b"}")["n"]
    assert Decimal(str(value)) == Decimal(number)
    assert strict.read(strict.dump({"n": value}))["n"] == value


@given(OBJECTS, st.data())
def test_a_name_twice_at_any_depth_is_refused(value: dict[str, Any], data: st.DataObject) -> None:
    raw = strict.dump(value).decode()
    objects = [i for i, c in enumerate(raw) if c == "{" and not _in_string(raw, i)]
    at = data.draw(st.sampled_from(objects)) + 1
    first = json.JSONDecoder().raw_decode(raw, at)[0]
    spelled = data.draw(st.sampled_from([json.dumps(first, ensure_ascii=False), _escaped(first)]))
    doubled = raw[:at] + spelled + ':"\\u003a",' + raw[at:]
    assert "twice" in _refused(doubled.encode())


def _in_string(text: str, at: int) -> bool:
    inside = escaped = False
    for c in text[:at]:
        if escaped:
            escaped = False
        elif c == "\\":
            escaped = inside
        elif c == '"':
            inside = not inside
    return inside


def _escaped(name: str) -> str:
    units = name.encode("utf-16-be")
    return '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2)) + '"'


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"a":{"b":1,"b":2}}', "`b` stands twice"),
        (b'{"resourceType":"Goal","id":"1","id":"1"}', "`id` stands twice in the same object (a Goal)"),
        (b'{"a":1,"\\u0061":2}', "`a` stands twice"),
        (b'{"a":NaN}', "line 1, column 6"),
        (b'{"a":-Infinity}', "not valid JSON"),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark"),
        (b'{"a":"\xff"}', "not valid UTF-8 (line 1, column 7)"),
        (b'{"a":"\\ud800"}', "not valid JSON"),
        (b'{"a":"\\udc00x"}', "not valid JSON"),
        (b'{"name":[{"given":null}]}', "`name[0].given` is null"),
        (b'{"resourceType":"Patient","given":["a",null]}', "`Patient.given[1]` is null"),
        (b'{"given":[null],"_given":[null]}', "is null"),
        (b'{"a":{}}', "`a` is empty"),
        (b'{"a":[{"b":[ ]}]}', "`a[0].b` is empty"),
        (b"{}", "is empty"),
        (b'{"a":1} x', "line 1, column 9"),
        (b'{"a":1}{"b":2}', "line 1, column 8"),
        (b'{"a":1,\n "b" 2}', "line 2, column 6"),
        (b"[1]", "one JSON object, not an array"),
        (b'"a"', "not a string"),
        (b"null", "not null"),
        (b"", "not valid JSON"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "64 levels"),
        (b'{"a":' * 100_000, "64 levels"),
        (b'{"a":1e99999999999999999999}', "beyond what other systems can hold"),
        (b'{"a":[1,\n  1e309]}', "The number `1e309` is beyond what other systems can hold (line 2, column 3)"),
        (b'{"a":-1.8E+308}', "beyond"),
        (b'{"a":4e-400}', "beyond"),
        (b'{"a":0.' + b"1" * 330 + b"}", "beyond"),
        (b'{"a":' + b"9" * 309 + b"}", "beyond"),
        (b'{"a":' + b"9" * 5000 + b"}", "too long"),
    ],
)
def test_what_two_readers_could_understand_differently_is_refused_in_one_sentence(raw: bytes, said: str) -> None:
    assert said in _refused(raw)


@pytest.mark.parametrize("number", ["1.7976931348623157e308", "-1e308", "5e-324", "9" * 308, "0." + "1" * 300, "0e0"])
def test_what_a_double_comes_near_is_read(number: str) -> None:
    assert strict.dump(strict.read(b'{"a":' + number.encode() + b"}")) == strict.dump({"a": Decimal(number) if set(number) & set(".e") else int(number)})


def test_long_runs_of_digits_in_text_are_no_number() -> None:
    assert strict.read(b'{"a":"' + b"9" * 5000 + b'"}')["a"] == "9" * 5000


def test_what_stands_in_a_store_is_read_whatever_its_numbers() -> None:
    assert strict.decode(b'{"a":1e400}')["a"] == Decimal("1e400")


def test_sixty_four_levels_are_read() -> None:
    assert strict.read(b'{"a":' * 64 + b"1" + b"}" * 64)


def test_a_null_that_holds_the_place_of_an_extension_is_kept() -> None:
    raw = b'{"given":["a",null],"_given":[null,{"id":"x"}]}'
    assert strict.read(raw)["given"] == ["a", None]


def test_brackets_nulls_and_colons_in_strings_mislead_nobody() -> None:
    raw = rb'{"a":"null {} [] : \u003a \"a\":1, [[[[","b":"\\"}'
    assert strict.dump(strict.read(raw)) == rb'{"a":"null {} [] : : \"a\":1, [[[[","b":"\\"}'


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_never_anything_else(raw: bytes) -> None:
    try:
        strict.read(raw)
    except Problem as problem:
        assert problem.status == 400 and problem.text.endswith(".")


def test_the_json_parsing_suite(shared: Path) -> None:
    """Every `reject` refused; every `accept` that is one object accepted, but for what FHIR forbids: names twice, nothing inside."""
    refused_on_purpose = set()
    for line in (shared / "suites" / "json-parsing.jsonl").read_text().splitlines():
        case = json.loads(line)
        raw = base64.b64decode(case["b64"])
        try:
            strict.read(raw)
            assert case["expect"] != "reject", case["name"]
        except Problem:
            if case["expect"] == "accept" and isinstance(json.loads(raw), dict):
                refused_on_purpose.add(case["name"])
    assert refused_on_purpose == {
        "y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json", "y_object_empty.json", "y_object_simple.json",
    }  # fmt: skip


def test_naughty_strings_come_back_byte_for_byte(shared: Path) -> None:
    for text in json.loads((shared / "suites" / "naughty-strings.json").read_text()):
        for raw in (json.dumps({"a": text}).encode(), json.dumps({"a": text}, ensure_ascii=False).encode()):
            assert strict.read(raw) == {"a": text}
            assert strict.unstamp(strict.stamp(raw, id="1", version="1", updated="2026-01-01T00:00:00Z")) == raw


# -- splicing ---------------------------------------------------------------------------------------------------------


@st.composite
def spaced(draw: st.DrawFn) -> bytes:
    """One resource as somebody may write it: any order, spaces, escapes; with or without id and meta."""
    content = draw(OBJECTS)
    for name in ("id", "meta", "resourceType"):
        content.pop(name, None)
    members = [("resourceType", '"Goal"'), *((n, strict.dump(v).decode()) for n, v in content.items())]
    if draw(st.booleans()):
        members.append(("id", '"old"'))
    if draw(st.booleans()):
        meta = draw(st.lists(st.sampled_from(["versionId", "lastUpdated", "profile", "security"]), min_size=1, unique=True))
        gap = draw(SPACES)
        inside = f",{gap}".join(f'"{n}"{gap}:{gap}' + ('["x"]' if n in ("profile", "security") else '"7"') for n in meta)
        members.append(("meta", "{" + gap + inside + gap + "}"))
    members = draw(st.permutations(members))
    a, b = draw(SPACES), draw(SPACES)
    text = f",{a}".join(f"{json.dumps(n, ensure_ascii=draw(st.booleans()))}{b}:{a}{v}" for n, v in members)
    return f"{b}{{{a}{text}{b}}}{a}".encode()


def _stamped(raw: bytes, **more: Any) -> bytes:
    return strict.stamp(raw, id="i-1", version="3", updated="2026-01-02T03:04:05.678Z", **more)


@given(spaced())
def test_a_stamp_sets_what_it_says_and_nothing_else(raw: bytes) -> None:
    before, after = strict.read(raw), strict.read(_stamped(raw))
    assert after["id"] == "i-1"
    assert after["meta"] == {**before.get("meta", {}), "versionId": "3", "lastUpdated": "2026-01-02T03:04:05.678Z"}
    rest = ("id", "meta")
    assert {k: v for k, v in after.items() if k not in rest} == {k: v for k, v in before.items() if k not in rest}


@given(spaced())
def test_unstamping_a_stamped_resource_gives_its_content_byte_for_byte(raw: bytes) -> None:
    assert strict.unstamp(_stamped(raw)) == strict.unstamp(raw)


@given(spaced())
def test_stamping_twice_is_stamping_once(raw: bytes) -> None:
    assert _stamped(_stamped(raw)) == _stamped(raw)


@given(spaced(), st.lists(st.sampled_from(["N", "R", "V"]), max_size=2))
def test_labels_are_set_or_taken_away_whole(raw: bytes, codes: list[str]) -> None:
    labels = [{"system": "s", "code": c} for c in codes]
    after = strict.read(_stamped(raw, security=labels))
    assert after["meta"].get("security", []) == labels
    assert _stamped(_stamped(raw, security=labels), security=labels) == _stamped(raw, security=labels)


def test_spelling_is_kept() -> None:
    raw = b'{ "resourceType":"Goal" ,\n  "n" : 1.500e+2,"t":"\\u0041\\/"\t}\n'
    assert _stamped(raw) == (
        b'{ "resourceType":"Goal","id":"i-1","meta":{"versionId":"3","lastUpdated":"2026-01-02T03:04:05.678Z"} ,\n'
        b'  "n" : 1.500e+2,"t":"\\u0041\\/"\t}\n'
    )


def test_members_with_names_that_look_like_syntax_are_found() -> None:
    raw = rb'{"a\"b":"{\"id\":1}","\u0069d":"old","z":[{"id":"inner"}]}'
    assert strict.read(_stamped(raw))["id"] == "i-1"
    assert strict.unstamp(raw) == rb'{"a\"b":"{\"id\":1}","z":[{"id":"inner"}]}'
