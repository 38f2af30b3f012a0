"""Every address of the pages, and who looks at it in a real browser: add a line here for each page that you add.

LOOKED: axe has been content with it and nothing stuck out, on a screen of 1280 and on one of 320, which is 1280 enlarged to 400 % (WCAG 2.2,
1.4.10). `Reader.look` writes down what it looked at, and `test_z_every_page_browser.py` compares. NOT: why nobody can look at it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from starlette.routing import Match, Route

from fhir_gateway.web import apps, pages, smart

ANSWERS = "answers by a redirect to a page that is looked at"
PROGRAMS = "not a page: for programs"

LOOKED = """
/
/sign-in
/sign-in/first-password
/account
/account/password
/account/apps
/account/apps/open
/oauth/authorize
/my-plan
/my-plan/who-looked
/my-plan/who-looked/{row}
/my-plan/edit/{type}/{item}
/my-plan/print
/my-plan/review/{plan}
/my-plan/messages
/my-plan/results
/my-plan/sent
/my-plan/telling
/my-plan/telling/code
/my-plan/two-versions/{id}
/my-plan/drafts
/my-plan/private
/my-plan/private/{type}/{id}
/my-plan/sharing
/my-plan/sharing/new
/my-plan/sharing/hide
/my-plan/sharing/no
/my-plan/sharing/only
/my-plan/sharing/why
/my-plan/sharing/sees
/my-plan/sharing/{rule}/change
/my-plan/sharing/{rule}/stop
/my-plan/sharing/consents/{id}/end
/services
/services/{id}
/asked
/asked/{id}/link
/task-link/{token}
/forms
/forms/{form}
/forms/{form}/{answers}/check
/forms/{form}/{answers}/done
/forms/{form}/{answers}/{page}
/team
/team/telling
/team/telling/code
/team/two-versions/{id}
/team/people/{id}
/team/people/{id}/edit/{type}/{item}
/team/people/{id}/ask
/team/people/{id}/review/{plan}
/team/people/{id}/messages
/team/people/{id}/print
/team/people/{id}/in-a-hurry
/team/people/{id}/results
/team/emergency
/team/claim
/team/find
/launch/callback/{name}
/printed/{token}
/operator
/operator/partners
/operator/reports
/operator/act
/privacy
/privacy/audit
/privacy/not-recognised
/privacy/{id}/review
""".split()

NOT = {
    "/home": ANSWERS,
    "/language/{code}": ANSWERS,
    "/sign-out": ANSWERS,
    "/leave": "answers by a redirect to another website",
    "/account/sign-out-everywhere": ANSWERS,
    "/account/apps/{client}/stop": ANSWERS,
    "/forms/{form}/{answers}/throw-away": ANSWERS,
    "/my-plan/wheels/{id}/goal": ANSWERS,
    "/my-plan/drafts/{id}": ANSWERS,
    "/my-plan/private/where": ANSWERS,
    "/my-plan/claims/{id}/not-true": ANSWERS,
    "/services/{id}/ask": ANSWERS,
    "/asked/{id}/cancel": ANSWERS,
    "/asked/links/{id}/end": ANSWERS,
    "/team/tasks/{id}/accept": ANSWERS,
    "/team/tasks/{id}/plans": ANSWERS,
    "/team/people/{id}/emergency/end": ANSWERS,
    "/team/people/{id}/claim/end": ANSWERS,
    "/open/{token}": ANSWERS,
    "/launch": ANSWERS,
    "/my-plan/tasks/{id}/answer": ANSWERS,
    "/my-plan/tasks/{id}/plans": ANSWERS,
    "/questions/{id}/no": ANSWERS,
    "/team/tasks/{id}/answer": ANSWERS,
    "/privacy/not-recognised/{id}": ANSWERS,
    "/privacy/{id}/end": ANSWERS,
    "/privacy/audit/download": "not a page: a table as a file",
    "/oauth/token": PROGRAMS,
    "/oauth/introspect": PROGRAMS,
    "/oauth/revoke": PROGRAMS,
    "/oauth/jwks": PROGRAMS,
}

NOTED = os.environ.get("TEST_LOOKED", "")  # a file to which each process of one run adds what it looked at
seen: dict[str, set[int]] = {}  # by address, the widths at which it was looked at in this run


def routes() -> list[Route]:
    """What the app answers to people, from its own lists."""
    nothing, here = cast(Any, None), type("Here", (), {"elsewhere": None})
    every = [*pages.routes(nothing), *smart.routes(nothing, cast(Any, here)), *apps.routes(nothing, nothing)]
    return [r for r in every if isinstance(r, Route) and "/.well-known/" not in r.path]


_ROUTES = routes()


def address(url: str) -> str:
    """Which of them this is; "" for a page of somebody else."""
    path = urlsplit(url).path
    scope = {"type": "http", "path": path, "method": "GET", "root_path": ""}
    return next((r.path for r in _ROUTES if r.matches(scope)[0] is not Match.NONE), "")


def looked(url: str, width: int) -> None:
    """Axe was content with it at this width."""
    seen.setdefault(address(url), set()).add(width)
    if NOTED:
        with open(NOTED, "a") as file:
            file.write(f"{width} {address(url)}\n")


def by_all() -> dict[str, set[int]]:
    """What all processes of this run have looked at until now."""
    out: dict[str, set[int]] = {a: set(widths) for a, widths in seen.items()}
    for line in Path(NOTED).read_text().splitlines() if NOTED else []:
        width, _, at = line.partition(" ")
        out.setdefault(at, set()).add(int(width))
    return out
