"""Every issue of a resource against R4: shape, cardinality, primitives, codes, references, invariants, narrative, bundles.

`check` gives HL7's verdict; `policy` what we refuse besides. The tables are compiled to closures (`plans`), and one `run` walks
one resource by them. https://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .. import narrative
from ..modifiers import unknown
from ..problem import Issue, few
from ..profile import Definitions, Judge
from ..r4 import R4
from .plans import plans_of
from .run import Enough, Node, Path, Run, render


def check(
    resource: Node, r4: R4, *, questionnaire: Node | None = None, definitions: Definitions | None = None, profiles: Sequence[str] = ()
) -> list[Issue]:
    """Every issue of `resource`, worst first as found, each with a FHIRPath expression. Empty or only warnings: valid.

    `questionnaire` is the one a QuestionnaireResponse answers, where it is known. `definitions` are the profiles and value sets that
    are known besides R4: what a resource declares in `meta.profile` is checked where it is among them, and so are `profiles`.
    Never raises for any JSON object. After 200 errors it ends, and says so: the verdict is settled.
    """
    run = Run(r4, resource, questionnaire, plans_of(r4))
    if definitions is not None:
        run.judge = Judge(definitions, resource, render, profiles)
    ended = False
    try:
        run.resource(resource, (None, "", -1))
    except Enough:
        ended = True
    return few(run.issues if run.judge is None else run.issues + run.judge.issues, more=ended)


def policy(resource: Node, r4: R4) -> list[Issue]:
    """What we refuse though FHIR allows it: modifier extensions nobody here knows, narrative that could act, text of spaces alone."""
    return few(_policy(resource, (None, str(resource.get("resourceType") or ""), -1), r4))


def _policy(node: Any, path: Path, r4: R4) -> Iterator[Issue]:
    for name, value in node.items():
        items = value if type(value) is list else [value]
        for i, item in enumerate(items):
            if type(item) is dict:
                here = (path, name, i if type(value) is list else -1)
                if name == "modifierExtension":
                    yield unknown(item, render(here))
                yield from _policy(item, here, r4)
            elif type(item) is str and item.isspace():
                said = f"`{name[:64]}` has spaces only: leave it out, or say something."
                yield Issue("error", "value", render((path, name, i if type(value) is list else -1)), said, "blank")
            elif name == "div" and type(item) is str and path[1] == "text":
                for said in narrative.active(item):
                    yield Issue("error", "security", render((path, name, -1)), said, "active-narrative")
