"""A goal from a spoke of the person's own wheel: the form of one goal, begun with what the wheel says. docs/questionnaires.md"""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ... import gate
from ...around import forms as keeping
from ...domain import strict
from ...domain.problem import not_found
from ...domain.results import one_spoke
from ...domain.types import Ref
from ...gate import Context
from . import forms
from .frame import Pages, go
from .names import own_id, own_ids

FORM: Final = "goal-from-wheel"
ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}\Z")
PLACE: Final = re.compile(r"[0-9]{1,3}\Z")


async def goal(pages: Pages, request: Request, ctx: Context) -> Response:
    """Begins the form; nothing is in the plan before the person sends it. Problem not-found for what is no spoke of a wheel of theirs."""
    id, place = str(request.path_params["id"]), str(request.state.form.get("spoke", ""))
    if not ID.match(id) or not PLACE.match(place):
        raise not_found()
    wheel = strict.decode((await gate.read(ctx, Ref("Observation", id))).body)
    spoke = one_spoke(wheel, int(place))
    if spoke is None or wheel.get("subject", {}).get("reference") not in {f"Patient/{mine}" for mine in own_ids(ctx).split(",")}:
        raise not_found()
    return go(await forms.started(ctx, await keeping.by_id(ctx, FORM), own_id(ctx), {"spoke": spoke}))


__all__ = ["goal"]
