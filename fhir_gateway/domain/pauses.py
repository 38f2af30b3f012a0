"""How long who was wrong too often waits: longer each time, up to a limit. For passwords and for finding people alike."""

from __future__ import annotations

from datetime import timedelta


def pause(tries: int, free: int, first: timedelta, longest: timedelta) -> float:
    """Seconds to wait after so many `tries`: none for fewer than `free`, then `first`, doubled with each, at most `longest`."""
    return min(first.total_seconds() * 2 ** min(tries - free, 20), longest.total_seconds()) if tries >= free else 0.0
