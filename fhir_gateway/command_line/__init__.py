"""The command line: which words may be typed, and what each needs. `commands` does what they say.

Exit 0 done, 1 something was found wrong or an item failed, 2 wrong usage or unreadable input.
"""

# each adds its words to the line; in this order they are listed by --help
from . import serving, plans, asking, sync, keeping, registering, reviewing, people, audit  # noqa: F401, I001
from .base import app

__all__ = ["app"]
