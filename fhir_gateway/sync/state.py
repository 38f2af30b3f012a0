"""How it goes with a partner, kept in the store so that every process knows: two circuit breakers, for what goes out and what comes in.

A breaker opens after five failures in a row, and at once where the server asks us to wait or does not know us. Half open it lets one look
at that server through, then one entry. docs/sync.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
import structlog

from ..domain.types import Keep
from ..gate import House
from ..remote.client import Down, Locked, Unknown
from ..store.base import StoreError
from .partner import Partner

log = structlog.get_logger()
KIND = "remote-state"  # kept: `<remote> push` and `<remote> pull`; `<remote> abilities` and `<remote> identity-search`
Way = Literal["push", "pull"]
WAYS: Final[tuple[Way, Way]] = ("push", "pull")
OPENS_AFTER = 5
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0  # seconds
WIDEST: Final = 64  # entries under way: more than any `concurrency`
LOCKED_WAIT = 30.0  # the first, where our credentials are not good: nobody is to be hammered
LONG_AWAY = timedelta(minutes=15)  # and an alarm is raised
EXACT = timedelta(seconds=10)  # so exact is the time of the last success: not every round writes


class State(msgspec.Struct, frozen=True):
    """`kind` is empty while it goes well; `since` the first failure of those in a row, `until` when it is tried next."""

    kind: Literal["", "away", "asked-to-wait", "locked"] = ""
    why: str = ""
    since: datetime | None = None
    until: datetime | None = None
    failures: int = 0
    good: datetime | None = None
    told: bool = False  # the alarm was raised


def spread(house: House, seconds: float) -> float:
    """A quarter more or less, and never more than LONGEST_WAIT: so that not everybody comes again at the same moment."""
    return min(seconds, LONGEST_WAIT / 1.25) * (0.75 + house.chance() / 2)


async def read(house: House, remote: str, way: Way) -> State:
    raw = await house.store.kept(KIND, f"{remote} {way}", house.clock())
    return State() if raw is None else msgspec.json.decode(raw, type=State)


async def keep_abilities(house: House, partner: Partner) -> None:
    """What that server said it can do, for whoever looks: kept when it is met and when it changes."""
    if partner.abilities is None or partner.abilities == partner.told:
        return
    said = msgspec.json.encode(partner.abilities.describe())
    await house.store.commit(Keep(KIND, f"{partner.name} abilities", said))
    partner.told = partner.abilities


async def abilities(house: House, remote: str) -> dict[str, Any] | None:
    """`{software, feed, types, by_type_history, conditional_create, unversioned}` as it was met last; None before that."""
    raw = await house.store.kept(KIND, f"{remote} abilities", house.clock())
    found: dict[str, Any] | None = msgspec.json.decode(raw) if raw is not None else None
    return found


async def keep_identity_search(house: House, partner: Partner, asked: bool) -> None:
    """Whether that server can be asked who has an NHS number, for whoever looks: kept when it is found out and when it changes."""
    if partner.identity_search != asked:
        await house.store.commit(Keep(KIND, f"{partner.name} identity-search", msgspec.json.encode(asked)))
        partner.identity_search = asked


async def identity_search(house: House, remote: str) -> bool | None:
    """None: it was not asked yet."""
    raw = await house.store.kept(KIND, f"{remote} identity-search", house.clock())
    return msgspec.json.decode(raw, type=bool) if raw is not None else None


@dataclass
class Breaker:
    """One way to one partner. `width`: so many entries may be under way; one until a first went well, then twice as many each round."""

    house: House
    remote: str
    way: Way
    state: State = field(default_factory=State)
    width: int = 1

    @property
    def open(self) -> bool:
        return self.state.failures >= OPENS_AFTER or self.state.kind in ("asked-to-wait", "locked")

    @property
    def probes(self) -> bool:
        """Is /metadata asked first? Not where we are not known: it says nothing of credentials."""
        return self.open and self.state.kind != "locked"

    def wait(self) -> float:
        """Seconds until it may be tried; never longer than the longest wait, whatever the clock did."""
        if self.state.until is None:
            return 0.0
        return min(max(0.0, (self.state.until - self.house.clock()).total_seconds()), 900.0)

    async def look(self) -> None:
        """Take over what is kept: of an earlier process, or of another that found it well again."""
        self.state = await read(self.house, self.remote, self.way)

    async def went(self) -> None:
        """That server answered as it should."""
        before, now = self.state, self.house.clock()
        self.width = min(self.width * 2, WIDEST)
        if before.kind:
            log.info("remote-back", remote=self.remote, way=self.way, away_s=round((now - (before.since or now)).total_seconds()))
        elif before.good is not None and timedelta(0) <= now - before.good < EXACT:
            return
        await self._keep(State(good=now))

    async def failed(self, e: Exception) -> None:
        """Down, Unknown, Locked, or a fault of ours."""
        now, before = self.house.clock(), self.state
        self.width = 1
        failures = before.failures + 1
        first = LOCKED_WAIT if isinstance(e, Locked) else FIRST_WAIT
        wait = spread(self.house, first * 2.0 ** min(failures - 1, 20))
        kind: Literal["away", "asked-to-wait", "locked"] = "away"
        why = str(e) if isinstance(e, (Down, Unknown, Locked)) else f"a fault here ({type(e).__name__})"
        if isinstance(e, Locked):
            kind = "locked"
        elif isinstance(e, Down) and e.wait is not None:
            kind, wait = "asked-to-wait", e.wait
        since = before.since or now
        log.warning("remote-away", remote=self.remote, way=self.way, kind=kind, why=why, pause_s=round(wait, 1))
        told = before.told and kind == before.kind
        if kind == "locked" and not told:
            log.error("alarm", what=f"The server of {self.remote} does not know us ({self.way}: {why}). Nothing goes until its credentials are good.")
            told = True
        elif kind != "locked" and not told and now - since >= LONG_AWAY:
            log.error("alarm", what=f"The server of {self.remote} has been away for {(now - since).total_seconds() / 60:.0f} minutes ({self.way}: {why}).")
            told = True
        await self._keep(State(kind, why, since, now + timedelta(seconds=wait), failures, before.good, told))

    async def hold(self, until: datetime, why: str) -> None:
        """That server asked us to wait, the other way."""
        if self.state.until is None or self.state.until < until:
            s = self.state
            await self._keep(State("asked-to-wait", why, s.since or self.house.clock(), until, max(s.failures, 1), s.good, s.told))
            self.width = 1

    async def _keep(self, state: State) -> None:
        self.state = state
        try:
            await self.house.store.commit(Keep(KIND, f"{self.remote} {self.way}", msgspec.json.encode(state)))
        except StoreError as wrong:  # it is known here all the same
            log.warning("remote-state-not-kept", remote=self.remote, why=type(wrong).__name__)


@dataclass
class Breakers:
    """Both ways: a page that cannot be read does not hold the recalls, and what a server asks for holds for both."""

    push: Breaker
    pull: Breaker

    @classmethod
    async def of(cls, house: House, remote: str) -> Breakers:
        both = cls(Breaker(house, remote, "push"), Breaker(house, remote, "pull"))
        await both.push.look()
        await both.pull.look()
        return both

    async def failed(self, breaker: Breaker, e: Exception) -> None:
        await breaker.failed(e)
        if breaker.state.kind == "asked-to-wait" and breaker.state.until is not None:
            await (self.pull if breaker is self.push else self.push).hold(breaker.state.until, breaker.state.why)
