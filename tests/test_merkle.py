"""Trees of RFC 9162: their laws, and the same roots and proofs as a library that others wrote."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.domain.merkle import EMPTY, Peaks, consistency, consistent, included, leaf, node, path, root

entries = st.lists(st.binary(max_size=5), min_size=1, max_size=70, unique=True)
chance = st.randoms(use_true_random=False)


def hashed(data: list[bytes]) -> list[bytes]:
    return [leaf(d) for d in data]


def test_the_roots_are_those_of_the_rfc_text() -> None:
    a, b, c = hashed([b"a", b"b", b"c"])
    assert a == sha256(b"\x00a").digest() and root([]) == EMPTY == sha256().digest()
    assert root([a]) == a and root([a, b]) == sha256(b"\x01" + a + b).digest() and root([a, b, c]) == node(node(a, b), c)


@given(entries, chance)
def test_each_leaf_is_proved_and_no_other_in_its_place(data: list[bytes], random: Any) -> None:
    leaves = hashed(data)
    i, whole = random.randrange(len(leaves)), root(leaves)
    proof = path(leaves, i)
    assert included(leaves[i], i, len(leaves), proof, whole)
    assert not included(leaf(b"another!"), i, len(leaves), proof, whole)
    j = random.randrange(len(leaves))
    assert included(leaves[i], j, len(leaves), proof, whole) == (i == j)
    assert not included(leaves[i], i, len(leaves), [*proof, EMPTY], whole)
    assert not proof or not included(leaves[i], i, len(leaves), proof[:-1], whole)
    assert not included(leaves[i], len(leaves), len(leaves), proof, whole) and not included(leaves[i], -1, len(leaves), proof, whole)


@given(entries, chance)
def test_a_tree_is_the_beginning_of_what_it_grew_to_and_of_nothing_else(data: list[bytes], random: Any) -> None:
    leaves = hashed(data)
    m, n = random.randint(1, len(leaves)), len(leaves)
    proof = consistency(leaves, m)
    assert consistent(m, root(leaves[:m]), n, root(leaves), proof)
    other = [leaf(b"another!"), *leaves[1:]]
    assert not consistent(m, root(other[:m]), n, root(leaves), proof)
    assert not consistent(m, root(leaves[:m]), n, root(other), proof)
    assert not consistent(m, root(leaves[:m]), n, root(leaves), [*proof, EMPTY])
    assert not consistent(0, EMPTY, n, root(leaves), proof) and not consistent(n + 1, root(leaves), n, root(leaves), proof)


@given(entries, entries)
def test_a_growing_tree_has_the_root_of_the_whole(first: list[bytes], more: list[bytes]) -> None:
    grown = Peaks().with_all(hashed(first))
    kept = Peaks(grown.size, grown.hashes).with_all(hashed(more))
    assert kept.root == root(hashed(first + more)) and kept.size == len(first) + len(more)
    assert Peaks().root == EMPTY


def test_what_is_not_there_has_no_proof() -> None:
    for nothing in (lambda: path([], 0), lambda: path([EMPTY], 1), lambda: consistency([EMPTY], 2), lambda: consistency([EMPTY], 0)):
        with pytest.raises(IndexError):
            nothing()


@given(entries)
def test_the_roots_and_proofs_are_those_of_pymerkle(data: list[bytes]) -> None:
    """https://pypi.org/project/pymerkle/ follows RFC 9162."""
    theirs = pytest.importorskip("pymerkle").InmemoryTree(algorithm="sha256")
    for entry in data:
        theirs.append_entry(entry)
    leaves, n = hashed(data), len(data)
    assert theirs.get_root() == root(leaves)
    for i in {1, (n + 1) // 2, n}:
        assert theirs.get_root(i) == root(leaves[:i])
        proof = theirs.prove_inclusion(i, n)
        assert [bytes(h) for h in proof.path][1:] == path(leaves, i - 1), "theirs begins with the leaf itself"
