"""A simulation of sync that can be replayed: `python -m tests.sim --seed N`. See `tests/sim/story.py`."""
