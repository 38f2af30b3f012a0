"""What `_include` and `_revinclude` ask to bring along; the gate fetches it under the same predicate as everything else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..problem import Problem
from ..r4 import R4
from ..types import Ref
from .indexing import references, searchable
from .query import Include, Query, Term, Value
from .values import local

AT_ONCE = 100  # values of one parameter


def include_refs(includes: Sequence[Include], resources: Sequence[dict[str, Any]], r4: R4) -> list[Ref]:
    """The resources of this server that `_include` follows from these ones, each once, in the order they are named."""
    out: dict[Ref, None] = {}
    for resource in resources:
        type = resource["resourceType"]
        mine = [i for i in includes if not i.reverse and i.source in (type, "*")]
        if not mine:
            continue
        names = None if any(i.name == "*" for i in mine) else {i.name for i in mine}
        for k in references(resource, names, r4):
            if local(k.text):
                ref = Ref(*k.text.split("/"))
                if any(i.name in ("*", k.name) and i.target in ("", ref.type) for i in mine):
                    out[ref] = None
    return list(out)


def reference_names(include: Include, r4: R4) -> list[str]:
    """The reference parameters that a `_revinclude` goes by."""
    if include.name != "*":
        return [include.name]
    return [n for n, p in r4.search_parameters(include.source).items() if p.type == "reference" and searchable(p)]


def reverse_queries(include: Include, refs: Iterable[Ref], r4: R4) -> list[Query]:
    """A `_revinclude` as searches: what refers to these. Only targets of `Include.target`, where it names a type."""
    wanted = [Value(text=str(r)) for r in refs if include.target in ("", r.type)]
    chunks = [tuple(wanted[i : i + AT_ONCE]) for i in range(0, len(wanted), AT_ONCE)]
    names = reference_names(include, r4)
    return [_referring((include.source,), names, chunk) for chunk in chunks if names]


def _referring(types: tuple[str, ...], names: Sequence[str], values: tuple[Value, ...]) -> Query:
    terms = [Term(name, "reference", values=values) for name in names]
    if len(terms) == 1:
        return Query(types, (terms[0],))
    return Query(types, (Term("_in", "special", any=tuple(Query((), (t,)) for t in terms)),))


def points(resource: dict[str, Any], refs: Iterable[Ref], r4: R4) -> bool:
    """Does this resource refer to one of these by any of its reference parameters: what `_revinclude=*` is about."""
    wanted = {str(r) for r in refs}
    return any(k.text in wanted for k in references(resource, None, r4))


def within(compartment: Ref, types: Sequence[str], r4: R4) -> Term:
    """What is in the compartment of this resource, by R4's table; `types` () is all that can be.

    Problem bad-request when nothing of these types ever is. https://hl7.org/fhir/R4/compartmentdefinition.html
    """
    by_name: dict[str, list[str]] = {}
    for type in types or r4.types:
        for name in r4.compartment_params(compartment.type, type):
            if searchable(r4.search_parameters(type).get(name)):
                by_name.setdefault(name, []).append(type)
    me = (Value(text=str(compartment)),)
    ways = [Query(tuple(of), (Term(name, "reference", values=me),)) for name, of in by_name.items()]
    if not types or compartment.type in types:
        ways.append(Query((compartment.type,), (Term("_id", "token", values=(Value(text=compartment.id),)),)))
    if not ways:
        raise Problem("bad-request", f"{' and '.join(types)} is never in the compartment of a {compartment.type}.")
    return Term("_in", "special", any=tuple(ways))
