"""What must be on disk before it is acknowledged."""

from __future__ import annotations

import os
from pathlib import Path


def to_disk(name: Path) -> None:
    """Whatever was written to this file is there after a loss of power; of a folder, the names in it."""
    handle = os.open(name, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
