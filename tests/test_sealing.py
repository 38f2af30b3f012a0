"""Each thing that a head, a segment or a proof says is looked at: one of them wrong, the rest right. `domain/sealing.py`"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from fhir_gateway.auth import seals
from fhir_gateway.domain.merkle import Peaks
from fhir_gateway.domain.sealing import TYPE, Chain, Head, Segment, TrailRow, closed, compared, examined, proof_of


def rows(of: int, count: int = 3) -> list[TrailRow]:
    return [TrailRow(of * 100 + i, f"{of}-{i}", "Patient/ann", "Practitioner/gp", b'{"n":%d}' % i) for i in range(count)]


def trail(segments: int = 3) -> list[tuple[str, Head, Segment]]:
    out: list[tuple[str, Head, Segment]] = []
    peaks = Peaks()
    for n in range(1, segments + 1):
        before = out[-1] if out else None
        head, listed = closed(rows(n), before[1] if before else None, before[0] if before else "", peaks, n)
        out.append((f"signed-{n}", head, Segment(n, 3, f"signed-{n}", listed)))
    return out


def followed(heads: list[tuple[str, Head]]) -> list[str]:
    chain = Chain()
    return [w.text for n, (signed, head) in enumerate(heads, 1) for w in chain.follow(n, signed, head)]


def test_a_chain_that_is_whole_is_whole() -> None:
    assert followed([(signed, head) for signed, head, _ in trail()]) == []


@pytest.mark.parametrize(
    "changed, said",
    [({"number": 7}, "says that it is segment 7"), ({"total": 8}, "counts other rows"), ({"previous": "0" * 64}, "does not follow"), ({"log": "0" * 64}, "does not speak of"), ({"rows": 4}, "counts other rows")],
)  # fmt: skip
def test_a_head_that_says_one_thing_wrong_is_found_by_it(changed: dict[str, Any], said: str) -> None:
    heads = [(signed, head) for signed, head, _ in trail()]
    heads[-1] = (heads[-1][0], msgspec.structs.replace(heads[-1][1], **changed))
    assert any(said in text for text in followed(heads))


def test_rows_that_are_there_twice_or_are_not_as_many_as_sealed_are_found() -> None:
    _, head, segment = trail(1)[0]
    here = rows(1)
    assert list(compared(segment, head, here)) == []
    again = TrailRow(*here[0])
    assert [(w.what, w.row) for w in compared(segment, head, [*here, again])] == [("inserted", "1-0")]
    assert [w.what for w in compared(segment._replace(rows=4), msgspec.structs.replace(head, rows=4), here)] == ["segment"]


def test_a_proof_beside_another_head_of_the_same_number_is_wrong() -> None:
    made = trail()
    proof = proof_of("Patient/ann", [(s, h) for s, h, _ in made], {1: (made[0][2], rows(1))})
    last = made[-1][1]
    assert list(examined(proof, last, {3: last})) == []
    assert [w.what for w in examined(proof, last, {3: msgspec.structs.replace(last, sealed=99)})] == ["head"]


def test_what_the_key_of_the_trail_signed_as_something_else_is_no_head() -> None:
    key = ECKey.generate_key("P-256", private=True)
    value = {"kid": "k", "alg": "ES256", "made": datetime(2026, 5, 4, tzinfo=UTC).timestamp(), "jwk": key.as_dict(private=True)}
    ours, head = seals.Seals((value,)), trail(1)[0][1]
    assert seals.opened(ours.sign(head), ours.public) == head
    for typ in ({}, {"typ": "JWT"}, {"typ": TYPE.upper()}):
        other = jws.serialize_compact({"alg": "ES256", "kid": "k"} | typ, msgspec.json.encode(head), key, algorithms=["ES256"])
        assert seals.opened(other, ours.public) is None
