"""The pages for people and their teams: server-rendered, whole without JavaScript.

`routes(pages)` gives them all; `Pages` is the one seam that `wiring` fills.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from . import (
    account,
    asking,
    editing,
    follow_ups,
    forms,
    from_wheel,
    front,
    granting,
    hiding,
    hurry,
    launch,
    leave,
    messages,
    operator,
    partners,
    patient,
    printing,
    privacy,
    private,
    referrals,
    reports,
    results,
    reviews,
    sent,
    services,
    sharing,
    team,
    telling,
    trail,
    unrecognised,
    urgent,
    versions,
    volunteers,
)
from .draft import FIELDS
from .frame import DemoPerson, Handler, Pages, Sessions, changed, error_page, framed, headers, render


class Files(StaticFiles):
    """Style sheets, pictures and one script: public, the same for everybody."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response


STATIC = Path(__file__).parent.parent / "static"


def routes(pages: Pages) -> list[BaseRoute]:
    """Every page and the files they need."""

    def at(
        path: str, handler: Handler, who: str | None = None, methods: tuple[str, ...] = ("GET",), fields: Collection[str] | None = None
    ) -> Route:
        return Route(path, framed(pages, handler, who, fields), methods=list(methods))

    both = ("GET", "POST")
    return [
        at("/", front.start),
        at("/home", front.home),
        at("/language/{code}", front.language),
        at("/sign-in", front.sign_in, methods=both),
        at("/sign-in/first-password", front.first_password, methods=("POST",)),
        at("/sign-out", front.sign_out, methods=("POST",)),
        Route("/leave", leave.leaving(pages), methods=list(both)),
        at("/account", account.account, "anybody"),
        at("/account/sign-out-everywhere", account.everywhere, "anybody", ("POST",)),
        at("/account/password", account.password, "anybody", both),
        at("/account/apps", account.apps, "anybody"),
        at("/account/apps/{client}/stop", account.stop, "anybody", ("POST",)),
        at("/my-plan", patient.my_plan, "patient"),
        at("/my-plan/who-looked", patient.who_looked, "patient"),
        at("/my-plan/who-looked/{row}", unrecognised.ask, "patient", both, unrecognised.FIELDS),
        at("/my-plan/print", printing.mine, "patient", both, printing.FIELDS),
        at("/my-plan/results", results.mine, "patient"),
        at("/my-plan/messages", messages.mine, "patient"),
        at("/my-plan/sent", sent.sent, "patient"),
        at("/my-plan/wheels/{id}/goal", from_wheel.goal, "patient", ("POST",), ("spoke",)),
        at("/my-plan/telling", telling.choose, "patient", both),
        at("/my-plan/telling/code", telling.confirm, "patient", ("POST",)),
        at("/my-plan/two-versions/{id}", versions.look, "patient", both),
        at("/my-plan/tasks/{id}/answer", team.answer, "patient", ("POST",), team.ANSWER),
        at("/my-plan/tasks/{id}/plans", team.join_plans, "patient", ("POST",), ("how",)),
        at("/my-plan/edit/{type}/{item}", editing.mine, "patient", both),
        at("/my-plan/review/{plan}", reviews.mine, "patient", both, reviews.FIELDS),
        at("/my-plan/drafts", volunteers.drafts, "owner"),
        at("/my-plan/drafts/{id}", volunteers.answer, "owner", ("POST",), ("answer",)),
        at("/my-plan/private", private.overview, "patient"),
        at("/my-plan/private/where", private.where_i_am, "patient", ("POST",)),
        at("/my-plan/private/{type}/{id}", private.change, "patient", both),
        at("/my-plan/sharing", sharing.overview, "owner"),
        at("/my-plan/sharing/new", granting.new, "owner", both, FIELDS),
        at("/my-plan/sharing/hide", hiding.hide, "owner", both),
        at("/my-plan/sharing/no", sharing.refuse, "owner", both),
        at("/my-plan/sharing/only", sharing.only, "owner", both),
        at("/my-plan/sharing/why", asking.why, "owner"),
        at("/my-plan/sharing/sees", asking.sees, "owner"),
        at("/my-plan/claims/{id}/not-true", sharing.disown, "owner", ("POST",)),
        at("/my-plan/sharing/{rule}/change", granting.change, "owner", both, FIELDS),
        at("/my-plan/sharing/{rule}/stop", sharing.stop, "owner", both),
        at("/my-plan/sharing/consents/{id}/end", sharing.end, "owner", both),
        at("/services", services.find, "anybody"),
        at("/services/{id}", services.look, "anybody"),
        at("/services/{id}/ask", referrals.ask, "anybody", ("POST",), ("for", "why", "days", "team", "once")),
        at("/asked", referrals.asked, "anybody"),
        at("/asked/{id}/link", referrals.link, "anybody", ("POST",), ()),
        at("/asked/{id}/cancel", referrals.cancel, "anybody", ("POST",), ("for",)),
        at("/asked/links/{id}/end", referrals.end, "anybody", ("POST",), ("for",)),
        at("/task-link/{token}", referrals.open_link),
        Route("/task-link/{token}", framed(pages, referrals.answer_link, fields=("what", "words", "seen"), by_link=True), methods=["POST"]),
        at("/questions/{id}/no", follow_ups.decline, "anybody", ("POST",), ("for",)),
        at("/forms", forms.overview, "anybody"),
        at("/forms/{form}", forms.begin, "anybody", both),
        at("/forms/{form}/{answers}/check", forms.check, "anybody", both),
        at("/forms/{form}/{answers}/done", forms.done, "anybody"),
        at("/forms/{form}/{answers}/throw-away", forms.drop, "anybody", ("POST",), ()),
        at("/forms/{form}/{answers}/{page}", forms.page, "anybody", both),
        at("/team", team.team, "team"),
        at("/team/telling", telling.choose, "team", both),
        at("/team/telling/code", telling.confirm, "team", ("POST",)),
        at("/team/tasks/{id}/accept", team.accept, "team", ("POST",)),
        at("/team/tasks/{id}/answer", team.answer, "team", ("POST",), team.ANSWER),
        at("/team/tasks/{id}/plans", team.join_plans, "team", ("POST",)),
        at("/team/two-versions/{id}", versions.look, "team", both),
        at("/team/people/{id}", team.person, "team"),
        at("/team/people/{id}/edit/{type}/{item}", editing.theirs, "team", both),
        at("/team/people/{id}/review/{plan}", reviews.theirs, "team", both, reviews.FIELDS),
        at("/team/people/{id}/print", printing.theirs, "team", both, printing.FIELDS),
        at("/team/people/{id}/in-a-hurry", hurry.in_a_hurry, "team"),
        at("/team/people/{id}/ask", follow_ups.ask, "team", both, follow_ups.FIELDS),
        at("/team/people/{id}/results", results.theirs, "team"),
        at("/team/people/{id}/messages", messages.theirs, "team"),
        at("/open/{token}", hurry.opened, "team"),
        at("/launch", launch.launch),
        at("/launch/callback/{name}", launch.callback),
        at("/printed/{token}", printing.behind),
        at("/team/emergency", urgent.emergency, "team", both),
        at("/team/claim", urgent.claim, "team", both),
        at("/team/find", urgent.find, "team", both),
        at("/team/people/{id}/emergency/end", urgent.end_emergency, "team", ("POST",)),
        at("/team/people/{id}/claim/end", urgent.end_claim, "team", ("POST",)),
        at("/operator", operator.overview, "operator"),
        at("/operator/partners", partners.overview, "operator"),
        at("/operator/reports", reports.counted, "operator"),
        at("/operator/act", operator.act, "operator", ("POST",), operator.FIELDS),
        at("/privacy", privacy.emergencies, "officer"),
        at("/privacy/not-recognised", unrecognised.waiting, "officer"),
        at("/privacy/not-recognised/{id}", unrecognised.answer, "officer", ("POST",), unrecognised.ANSWER_FIELDS),
        at("/privacy/audit", trail.search, "officer"),
        at("/privacy/audit/download", trail.download, "officer"),
        at("/privacy/{id}/review", privacy.review, "officer", ("POST",)),
        at("/privacy/{id}/end", privacy.end, "officer", ("POST",)),
        Mount("/static", Files(directory=STATIC), name="static"),
    ]


__all__ = ["DemoPerson", "Pages", "Sessions", "changed", "error_page", "headers", "render", "routes"]
