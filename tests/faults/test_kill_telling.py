"""A gateway killed between the mail server's taking a message and our writing it down: it comes again under the same name."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from ..conftest import gateway
from ..telling.servers import mail_server
from ..telling.test_page import choose
from ..web.test_doors import as_, share

pytestmark = pytest.mark.slow


def test_a_kill_amid_the_sending_loses_no_notice(tmp_path: Path) -> None:
    with mail_server() as post:
        env = {"GATEWAY_TELL_SMTP": f"smtp://127.0.0.1:{post.port}", "GATEWAY_TELL_FROM": "plans@gateway.example", "GATEWAY_TELL_GATHER_SECONDS": "0"}
        with gateway(tmp_path, "--demo", **env) as g:
            choose(g, post=post, channel="email", email="amina@mail.example")
            post.taken_then = ["late"]
            v = as_(g, "patient")
            share(v)
            v.send("/my-plan/sharing/new", go="save")
            wait_for(post.letters, 1, 20)
            g.stop(signal.SIGKILL)
            g.start("--demo")
            wait_for(post.letters, 2, 90)  # when the lease of the dead one has ended
            assert len({m["Message-ID"] for m in post.letters}) == 1
            end = time.monotonic() + 20
            while "Sent by email" not in as_(g, "patient").get("/my-plan/telling").text:
                assert time.monotonic() < end
                time.sleep(0.2)
            assert len(post.letters) == 2


def wait_for(letters: list, count: int, seconds: float) -> None:  # type: ignore[type-arg]
    end = time.monotonic() + seconds
    while len(letters) < count:
        assert time.monotonic() < end, f"{len(letters)} letters"
        time.sleep(0.05)
