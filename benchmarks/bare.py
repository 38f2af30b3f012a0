"""The floor: uvicorn answering the same bytes, nothing else."""

import os

BODY = b"x" * int(os.environ.get("BENCH_BYTES", "3500"))


async def app(scope, receive, send):  # type: ignore[no-untyped-def]
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/fhir+json")]})
        await send({"type": "http.response.body", "body": BODY})
