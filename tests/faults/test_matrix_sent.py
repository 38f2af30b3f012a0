"""The table's rows E11 to E13: what the other server sends us, and its clock."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_gateway.domain import strict
from fhir_gateway.sync.pull import pull

from .rig import rigged
from .scripted import Body, Habits, scripted

slow = pytest.mark.slow
FEEDS: tuple[Any, ...] = ("system", "type", "search")
LABELS = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
SCRIPT = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></div>'}
SECRET = [{"system": LABELS, "code": "R"}]


@slow
@pytest.mark.parametrize("known", [True, False])
async def test_E11_hostile_resources_are_held_to_what_any_client_is(tmp_path: Path, known: bool) -> None:
    """A script, somebody else as the subject, labels of theirs, tags of ours."""
    async with rigged(tmp_path) as rig:
        other, others = rig.names["amina"], rig.her
        await rig.goal("hers")
        mine = await rig.another()
        ref = await rig.goal()
        await rig.settled()
        (copy,) = [g for g in rig.there.named("Goal") if g["description"]["text"] == "walk"]
        (hers,) = [g for g in rig.there.named("Goal") if g["description"]["text"] == "hers"]
        fresh = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "new"}, "subject": copy["subject"]}
        base = copy if known else fresh
        hostile: list[Body] = [
            {"text": SCRIPT}, {"description": {"text": "x<script>alert(1)</script>"}}, {"subject": {"reference": others}} if known else {"subject": {"reference": "Patient/../t1"}},
            {"meta": {"security": [{"system": "https://fhir-gateway.example/CodeSystem/label", "code": "no-such"}]}}, {"meta": {"tag": hers["meta"]["tag"]}},
            {"subject": {"identifier": {"system": "https://fhir-gateway.example/id/held-back", "value": other}}},
        ]  # fmt: skip
        for wrong in hostile:
            rig.there.write({**base, **wrong, **({"id": copy["id"]} if known else {})})
            await rig.round()
        await rig.settled()
        for person, texts in ((other, ["hers"]), (mine, None)):
            for stored in await rig.house.store.patient_record(person, ["Goal"]):
                body = strict.decode(stored.body or b"")
                assert "<script" not in str(body.get("text")) and body["subject"]["reference"] == person and set(stored.facts.patients) == {person}
            if texts is not None:
                assert await rig.here(person) == texts, "nothing was written into somebody else's record"
        rig.there.write({**base, **({"id": copy["id"]} if known else {}), "description": {"text": "secret"}, "meta": {**base.get("meta", {}), "security": SECRET}})
        await rig.round()
        secret = [s for s in await rig.house.store.patient_record(mine, ["Goal"]) if s.body is not None and b"secret" in s.body]
        assert all(b'"R"' in (s.body or b"") for s in secret) and len(secret) == 1, "their label is kept"
        assert await rig.link(ref) is not None
        for clone in [g for g in rig.there.named("Goal") if g["meta"].get("tag") == hers["meta"]["tag"] and g["id"] != hers["id"]]:
            rig.there.remove(f"Goal/{clone['id']}")
        await rig.settled()
        await rig.sound()


@slow
@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("next", ["itself", "twice", "elsewhere", "relative", "gone"])
async def test_E12_pages_in_a_circle_twice_gone_or_elsewhere_hide_nothing_and_lead_nowhere(tmp_path: Path, feed: str, next: str) -> None:
    async with rigged(tmp_path, Habits(feed=feed, page=3)) as rig:  # type: ignore[arg-type]
        with scripted() as elsewhere:
            rig.there.habits.elsewhere = f"{elsewhere.url}/_history?_getpages=x&_offset=0&_count=3"
            texts = {rig.theirs(f"g{n}")["description"]["text"] for n in range(10)}
            if next == "gone":
                rig.there.fault("GET", "", times=2, status=410, when=lambda a: "_getpages" in a.query)
            else:
                rig.there.habits.next = next  # type: ignore[assignment]
            rig.there.extra = [strict.dump({"fullUrl": f"{rig.there.url}/Goal/{g['id']}", "resource": g}) for g in rig.there.named("Goal")[:2]] * 2
            why = await rig.round(3)
            assert bool(why) == (next in ("itself", "elsewhere")), why
            rig.there.habits.next, rig.there.extra = "good", []
            await rig.settled()
            assert set(await rig.here()) == texts and len(await rig.here()) == 10
            assert not elsewhere.asked
            await rig.sound()


@slow
@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("minutes", [-10, 0, 10])
async def test_E13_whatever_the_clock_and_the_stamps_are_like_nothing_is_missed(tmp_path: Path, feed: str, minutes: int) -> None:
    """Equal stamps, stamps cut to the second, later rows under earlier stamps, and those of one resource going back."""
    chance = random.Random(f"{feed} {minutes}")
    habits = Habits(feed=feed, skew=timedelta(minutes=minutes), stamps=chance.choice(["ms", "s"]), page=4)  # type: ignore[arg-type]
    async with rigged(tmp_path, habits) as rig:
        names: list[Body] = []
        for turn in range(10):
            rig.now += timedelta(seconds=chance.uniform(1, 90))
            same = rig.now + habits.skew
            for n in range(chance.randint(0, 4)):
                late = timedelta(seconds=chance.choice([0, 0, chance.uniform(0, 28)]))
                names.append(rig.theirs(f"{turn}.{n}", same - late))
            if names and turn % 2:
                old = chance.choice(names)
                rig.there.write({**rig.there.held[f"Goal/{old['id']}"], "description": {"text": f"{turn}.edit"}}, same - timedelta(seconds=chance.uniform(0, 28)))
            await pull(rig.house, rig.partner)
        await rig.settled()
        await rig.same()
        assert len(await rig.here()) == len(names)
        await rig.sound()


@slow
@pytest.mark.parametrize("feed", FEEDS)
async def test_E13_a_clock_that_is_put_back_hides_nothing(tmp_path: Path, feed: str) -> None:
    """By far more than the overlap, by a little again and again, and forward in between; a worker that starts anew knows it too."""
    async with rigged(tmp_path, Habits(feed=feed, skew=timedelta(minutes=10))) as rig:  # type: ignore[arg-type]
        texts, skews = [], {4: 0, 6: 5, 7: -20, **{9 + n: -20 - n / 3 for n in range(8)}}
        for turn in range(18):
            if turn in skews:
                rig.there.habits.skew = timedelta(minutes=skews[turn])
                rig.partner = replace(rig.partner, heard={})
            rig.now += timedelta(seconds=5 if turn > 8 else 50)
            texts.append(rig.theirs(f"{turn:02}")["description"]["text"])
            await pull(rig.house, rig.partner)
        assert await rig.here() == texts
        await rig.settled()
        await rig.sound()
