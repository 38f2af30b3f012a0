"""What a Subscription asks for is honoured, or refused in words: extensions, media types, numbers and headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_gateway import gate
from fhir_gateway.domain import strict, topics
from fhir_gateway.domain.problem import Problem
from fhir_gateway.domain.types import Ref

from .subscribing import Listened, listened, subscription


@pytest_asyncio.fixture
async def here(tmp_path: Path) -> AsyncIterator[Listened]:
    async with listened(tmp_path) as place:
        yield place


def extended(*urls: str) -> dict[str, Any]:
    return {"extension": [{"url": url, "valueCode": "empty"} for url in urls]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channel", "where"),
    [
        ({"_type": extended(f"{topics.GUIDE}/StructureDefinition/backport-channel-type")}, "Subscription.channel.type.extension"),
        ({"_payload": extended(topics.CONTENT, topics.CONTENT)}, "Subscription.channel.payload.extension"),
        ({"extension": [{"url": "urn:x:more", "valueInteger": 1}]}, "Subscription.channel.extension"),
        ({"extension": [{"url": topics.MOST, "valuePositiveInt": n} for n in (1, 2)]}, "Subscription.channel.extension"),
        ({"_endpoint": extended("urn:x:more")}, "Subscription.channel.endpoint.extension"),
        ({"payload": "application/fhir+xml"}, "Subscription.channel.payload"),
    ],
)
async def test_an_extension_that_is_not_known_is_refused_in_words_and_never_left_out(here: Listened, channel: dict[str, Any], where: str) -> None:
    """It may narrow what is asked for, or mean another channel."""
    body = subscription(f"http://{here.hook.place}/told", **{k: v for k, v in channel.items() if k == "extension"})
    body["channel"] |= channel
    with pytest.raises(Problem) as wrong:
        await gate.create(await here.as_system(), "Subscription", strict.dump(body))
    assert wrong.value.status == 422 and wrong.value.issues[0].where == where and here.hook.came == []


@pytest.mark.slow
async def test_what_is_told_bears_the_media_type_that_was_asked_for(here: Listened) -> None:
    await here.subscribe(payload="application/json")
    await here.subscribe()
    assert [h["content-type"] for _, h, _ in here.hook.came] == ["application/json", "application/fhir+json"]


@pytest.mark.slow
async def test_a_subscriber_reads_the_numbers_that_hold(here: Listened) -> None:
    asked = [{"url": topics.TIMEOUT, "valueUnsignedInt": 60}, {"url": topics.MOST, "valuePositiveInt": 500}, {"url": topics.HEARTBEAT, "valueUnsignedInt": 60}]
    id = await here.subscribe(extension=asked)
    read = strict.decode((await gate.read(await here.as_system(), Ref("Subscription", id))).body)
    assert [e for e in read["channel"]["extension"]] == [{**asked[0], "valueUnsignedInt": 10}, {**asked[1], "valuePositiveInt": 20}, asked[2]]


@pytest.mark.slow
async def test_a_header_without_a_value_takes_the_headers_away(here: Listened) -> None:
    id = await here.subscribe(header=["Authorization: Bearer old"])
    ref, ctx = Ref("Subscription", id), await here.as_system()
    body = strict.decode((await gate.read(ctx, ref)).body)
    await gate.update(ctx, ref, strict.dump({**body, "channel": {**body["channel"], "header": ["Authorization:"]}}))
    here.now += timedelta(seconds=11)
    await here.tell()
    assert [h.get("authorization") for _, h, _ in here.hook.came] == ["Bearer old", None]
